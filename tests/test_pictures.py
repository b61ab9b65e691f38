"""Reading picture files: every mode, orientation and kind of damage."""

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pocketvlm.errors import PocketError
from pocketvlm.pictures import open_picture


def saved(path: Path, picture: Image.Image, **options: Any) -> Path:
    """The picture as a file."""
    picture.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("mode", "colour", "suffix", "expected"),
    [
        ("RGB", (10, 20, 30), ".png", (10, 20, 30)),
        ("L", 90, ".png", (90, 90, 90)),
        ("1", 1, ".png", (255, 255, 255)),
        ("I;16", 0x80FF, ".png", (128, 128, 128)),
        ("I;16", 0x80FF, ".tif", (128, 128, 128)),
        ("I;16B", 0x80FF, ".tif", (128, 128, 128)),
        ("RGBA", (200, 100, 0, 255), ".png", (200, 100, 0)),
        ("RGBA", (200, 100, 50, 0), ".png", (0, 0, 0)),
        ("LA", (200, 0), ".png", (0, 0, 0)),
        ("CMYK", (0, 0, 0, 0), ".tif", (255, 255, 255)),
    ],
)
def test_every_mode_becomes_rgb(
    tmp_path: Path, mode: str, colour: Any, suffix: str, expected: tuple[int, int, int]
) -> None:
    pixels = open_picture(saved(tmp_path / f"a{suffix}", Image.new(mode, (5, 4), colour)))
    assert pixels.shape == (4, 5, 3)
    assert (pixels == expected).all()


def test_a_transparent_palette_lies_over_black(tmp_path: Path) -> None:
    picture = Image.new("P", (3, 3), 1)
    picture.putpalette([0, 0, 0, 250, 250, 250])
    path = saved(tmp_path / "a.png", picture, transparency=1)
    assert not open_picture(path).any()


def test_half_transparent_is_half_as_bright(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGBA", (3, 3), (200, 100, 0, 128)))
    assert abs(open_picture(path)[0, 0].astype(int) - (100, 50, 0)).max() <= 1


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    picture = Image.new("RGB", (6, 2), (0, 0, 0))
    picture.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # the app turns it clockwise
    path = saved(tmp_path / "a.png", picture, exif=exif)
    pixels = open_picture(path)
    assert pixels.shape == (6, 2, 3)
    assert np.argwhere(pixels[..., 0]).tolist() == [[0, 1]]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PocketError, match=r"gone\.png does not exist"):
        open_picture(tmp_path / "gone.png")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\0" * 999])
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(PocketError, match="is no picture that can be read"):
        open_picture(path)


def test_formats_that_run_programs_are_not_let_near_a_file(tmp_path: Path) -> None:
    eps = saved(tmp_path / "a.eps", Image.new("RGB", (40, 40)))
    with pytest.raises(PocketError, match="is no picture that can be read"):
        open_picture(eps.rename(tmp_path / "a.png"))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".bmp", ".tif"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    path = saved(tmp_path / f"a{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PocketError, match=r"a\.\w+ (cannot be decoded|is no picture)"):
        open_picture(path)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.png", Image.new("1", (3000, 3000)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)  # Pillow refuses twice as many
    with pytest.raises(PocketError, match="decompression bomb"):
        open_picture(path)


def test_metadata_of_the_wrong_kind_are_refused(tmp_path: Path) -> None:
    """A resolution in letters: Pillow raises TypeError when it turns the picture."""
    orientation = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    resolution = struct.pack("<HHI4s", 0x011A, 2, 4, b"abc")
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + orientation + resolution + bytes(4)
    path = saved(tmp_path / "a.jpg", Image.new("RGB", (40, 30)), exif=exif)
    with pytest.raises(PocketError, match=r"a\.jpg cannot be decoded"):
        open_picture(path)


def test_a_box_that_claims_more_than_any_memory_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jp2", Image.new("RGB", (40, 30)))
    data = bytearray(path.read_bytes())
    box = data.index(b"jp2h")
    data[box - 4 : box] = struct.pack(">I", 1)  # the length follows in 64 bits
    data[box + 4 : box + 12] = struct.pack(">Q", 2**62)
    path.write_bytes(data)
    with pytest.raises(PocketError, match=r"a\.jp2 cannot be decoded"):
        open_picture(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif"])
def test_flipped_bytes_never_give_a_traceback(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(1)
    picture = Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8))
    sound = saved(tmp_path / f"a{suffix}", picture).read_bytes()
    path = tmp_path / f"b{suffix}"
    outcomes = set()
    for _ in range(150):
        damaged = bytearray(sound)
        for at in rng.integers(0, len(sound), 4):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(damaged)
        with warnings.catch_warnings(action="ignore"):  # Pillow's about odd metadata
            try:
                assert open_picture(path).shape[2] == 3
                outcomes.add("read")
            except PocketError:
                outcomes.add("refused")
    assert "refused" in outcomes
