"""Files that are no sound pictures are listed with the reason, and never end the run."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pocketvlm.collect import collect
from pocketvlm.collect.check import check
from pocketvlm.project import Project
from pocketvlm.sources import Collect
from pocketvlm.workspace import Row, read_rows

from .conftest import save


def skipped(project: Project, pictures: Path) -> dict[str, str]:
    """The reasons by name, after a run beside one sound picture."""
    save(pictures / "sound.png", 99)
    figures = collect(project)
    assert figures["pictures"] == 1
    rows: list[Row] = list(read_rows(project.workspace.originals / "skipped.jsonl"))
    assert figures["skipped"] == len(rows)
    return {row["origin"]: row["reason"] for row in rows}


def png_of(width: int, height: int) -> bytes:
    """A valid header of any size with next to no pixels behind it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def test_no_pictures(project: Project, pictures: Path) -> None:
    (pictures / "notes.txt").write_text("hello")
    (pictures / "empty.jpg").write_bytes(b"")
    (pictures / "program.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n")
    reasons = skipped(project, pictures)
    assert reasons == dict.fromkeys(("notes.txt", "empty.jpg", "program.eps"), "not a picture")


@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_truncated_pictures(project: Project, pictures: Path, suffix: str, share: float) -> None:
    path = save(pictures / f"cut{suffix}", size=(200, 150))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert list(skipped(project, pictures)) == [path.name]


def test_tiny_pictures(project: Project, pictures: Path) -> None:
    save(pictures / "icon.png", size=(31, 500))
    assert "31x500 is smaller than collect.min_side" in skipped(project, pictures)["icon.png"]


@pytest.mark.parametrize("side", [10_001, 50_000])
def test_decompression_bombs_are_told_by_their_header(
    project: Project, pictures: Path, side: int
) -> None:
    (pictures / "bomb.png").write_bytes(png_of(side, side))
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reason = skipped(project, pictures)["bomb.png"]
    assert "pixels" in reason
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_directory_or_a_dead_link_is_no_picture(project: Project, pictures: Path) -> None:
    (pictures / "folder.png").mkdir()
    (pictures / "dead.png").symlink_to(pictures / "nowhere.png")
    assert skipped(project, pictures) == {}


def encoded(suffix: str) -> bytes:
    """A small picture with EXIF that turns it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((40, 36)).convert("RGB").save(buffer, suffix, exif=exif)
    return buffer.getvalue()


FILES = {suffix: encoded(suffix) for suffix in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    suffix=st.sampled_from(sorted(FILES)),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=12),
    keep=st.floats(0.05, 1),
)
def test_damaged_files_never_end_the_run(
    tmp_path: Path, suffix: str, flips: list[tuple[float, int]], keep: float
) -> None:
    data = bytearray(FILES[suffix])
    for place, value in flips:
        data[int(place**3 * (len(data) - 1))] = value  # headers are at the beginning
    path = tmp_path / "damaged"
    path.write_bytes(data[: max(1, int(len(data) * keep))])
    found = check(path, Collect())
    assert isinstance(found, str) or found["width"] > 0
