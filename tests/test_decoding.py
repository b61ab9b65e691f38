"""Decoding against Skia's decoders, which Android's BitmapFactory uses, kind by kind.

Bitmaps from equal pixels are test_skia.py's matter; here the pixels themselves are compared.
`python -m tests.test_decoding` prints the table."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from pocketvlm.pictures import Bitmap, open_picture

skia: Any = pytest.importorskip("skia", reason="skia-python is missing: install the dev extra")

WIDTH, HEIGHT = 131, 97
ORIENTATION = 0x0112


def photo(channels: int = 3) -> NDArray[np.uint8]:
    """Soft shapes with grain, odd in both sides: blocks of a JPEG do not fit."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (7, 9, channels), np.uint8)
    soft = np.asarray(cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
    grain = rng.integers(-12, 13, soft.shape)
    picture: Bitmap = np.clip(soft.astype(np.int16) + grain, 0, 255).astype(np.uint8)
    return picture


def noise(channels: int, kind: type[np.uint8] | type[np.uint16] = np.uint8) -> NDArray[Any]:
    """Any value beside any other."""
    top = int(np.iinfo(kind).max) + 1
    return np.random.default_rng(1).integers(0, top, (HEIGHT, WIDTH, channels), kind)


def every_alpha() -> NDArray[np.uint8]:
    """All values under all transparencies, RGBA."""
    values, alphas = np.meshgrid(np.arange(256), np.arange(256))
    return np.stack((values, 255 - values, values // 2, alphas), axis=2).astype(np.uint8)


def palette() -> Image.Image:
    return Image.fromarray(photo()).quantize(64)


def pillow(picture: Image.Image, **options: Any) -> Callable[[Path], None]:
    """A file as Pillow writes it."""
    return lambda path: picture.save(path, **options)


def sixteen_bits(pixels: NDArray[np.uint16]) -> Callable[[Path], None]:
    """A PNG of 16 bits a channel, which Pillow cannot write in colours."""

    def write(path: Path) -> None:
        assert cv2.imwrite(str(path), pixels)

    return write


RGB = Image.fromarray(photo())
GREY = Image.fromarray(photo()[..., 0])
RGBA = Image.fromarray(every_alpha())
CMYK = Image.frombytes("CMYK", (WIDTH, HEIGHT), photo(4).tobytes())

KINDS: dict[str, tuple[str, Callable[[Path], None], int, float]] = {
    "PNG, RGB": ("png", pillow(RGB), 0, 0),
    "PNG, RGBA, every value under every alpha": ("png", pillow(RGBA), 0, 0),
    "PNG, one colour transparent": ("png", pillow(RGB, transparency=RGB.getpixel((5, 5))), 0, 0),
    "PNG, grey": ("png", pillow(GREY), 0, 0),
    "PNG, grey, one shade transparent": ("png", pillow(GREY, transparency=100), 0, 0),
    "PNG, grey and alpha": ("png", pillow(Image.fromarray(noise(2))), 0, 0),
    "PNG, black and white": ("png", pillow(GREY.convert("1")), 0, 0),
    "PNG, palette": ("png", pillow(palette()), 0, 0),
    "PNG, palette with alphas": ("png", pillow(palette(), transparency=bytes(range(64))), 0, 0),
    "PNG, 16 bits, grey": ("png", sixteen_bits(noise(1, np.uint16)), 0, 0),
    "PNG, 16 bits, RGB": ("png", sixteen_bits(noise(3, np.uint16)), 0, 0),
    "PNG, 16 bits, RGBA": ("png", sixteen_bits(noise(4, np.uint16)), 0, 0),
    "JPEG, 4:4:4": ("jpg", pillow(RGB, quality=90, subsampling=0), 0, 0),
    "JPEG, 4:2:2": ("jpg", pillow(RGB, quality=90, subsampling=1), 0, 0),
    "JPEG, 4:2:0": ("jpg", pillow(RGB, quality=90, subsampling=2), 0, 0),
    "JPEG, 4:2:0, noise, quality 50": ("jpg", pillow(Image.fromarray(noise(3)), quality=50), 0, 0),
    "JPEG, progressive": ("jpg", pillow(RGB, quality=80, progressive=True), 0, 0),
    "JPEG, grey": ("jpg", pillow(GREY), 0, 0),
    "JPEG, CMYK without a profile": ("jpg", pillow(CMYK, quality=90), 0, 0),
    "WebP, lossy": ("webp", pillow(RGB, quality=80), 0, 0),
    "WebP, lossless": ("webp", pillow(RGB, lossless=True), 0, 0),
    # libwebp cuts off where it multiplies by alpha; PNG's path and open_picture round
    "WebP, lossless, every alpha": ("webp", pillow(RGBA, lossless=True, exact=True), 1, 0.5),
    "WebP, lossy with alpha": ("webp", pillow(RGBA, quality=80), 1, 0.5),
    "GIF": ("gif", pillow(palette()), 0, 0),
    "GIF, one colour transparent": ("gif", pillow(palette(), transparency=5), 0, 0),
    "BMP": ("bmp", pillow(RGB), 0, 0),
}
"""Name: the file's suffix, its writer, the worst and the mean difference of 255 allowed."""


def codec_of(data: bytes) -> Any:
    """Skia's decoder; it reads from `data`, which must be kept."""
    codec = skia.Codec.MakeFromData(data)
    assert codec is not None
    return codec


def decoded(path: Path, space: Any = None) -> Bitmap:
    """As BitmapFactory decodes: EXIF ignored, alpha multiplied in (which is laying over black), the
    file's own colour space unless another is given."""
    data = path.read_bytes()
    codec = codec_of(data)
    own = codec.getInfo()
    opaque = own.alphaType() == skia.kOpaque_AlphaType
    alpha = skia.kOpaque_AlphaType if opaque else skia.kPremul_AlphaType
    size = (own.width(), own.height())
    info = skia.ImageInfo.Make(*size, skia.kRGBA_8888_ColorType, alpha, space or own.colorSpace())
    pixels = np.zeros((own.height(), own.width(), 4), np.uint8)
    assert codec.getPixels(info, pixels, own.width() * 4) == skia.Codec.kSuccess
    return pixels[..., :3]


def turned(path: Path) -> Bitmap:
    """As Skia shows a file: turned by its EXIF orientation."""
    data = path.read_bytes()
    image = skia.Image.MakeFromEncoded(data)
    return np.asarray(image.toarray(colorType=skia.kRGBA_8888_ColorType))[..., :3]


def apart(one: Bitmap, other: Bitmap) -> tuple[int, float]:
    """The worst and the mean difference."""
    assert one.shape == other.shape
    distance = np.abs(one.astype(np.int16) - other)
    return int(distance.max()), float(distance.mean())


def measured(kind: str, folder: Path) -> tuple[int, float]:
    """The differences of one kind of file."""
    suffix, write, _, _ = KINDS[kind]
    path = folder / f"a.{suffix}"
    write(path)
    return apart(open_picture(path, exif=False), decoded(path))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_decoded_as_skia_does(tmp_path: Path, kind: str) -> None:
    worst, mean = measured(kind, tmp_path)
    assert worst <= KINDS[kind][2], f"{kind}: worst {worst}, mean {mean:.4f}"
    assert mean <= KINDS[kind][3], f"{kind}: worst {worst}, mean {mean:.4f}"


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_alpha_that_was_not_multiplied_in_is_laid_over_black_rounded(
    tmp_path: Path, suffix: str
) -> None:
    """An app may decode with inPremultiplied = false and multiply itself: nothing is apart then."""
    path = tmp_path / f"a.{suffix}"
    RGBA.save(path, lossless=True, exact=True)
    data = path.read_bytes()
    pixels = np.zeros((256, 256, 4), np.uint8)
    info = codec_of(data).getInfo().makeAlphaType(skia.kUnpremul_AlphaType)
    info = info.makeColorType(skia.kRGBA_8888_ColorType)
    assert codec_of(data).getPixels(info, pixels, 256 * 4) == skia.Codec.kSuccess
    wide = pixels.astype(np.int32)
    assert np.array_equal((wide[..., :3] * wide[..., 3:] + 127) // 255, open_picture(path))


def with_orientation(path: Path, orientation: int, profile: bytes | None = None) -> Path:
    """A file whose EXIF says how it was held."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    RGB.save(path, exif=exif, icc_profile=profile or b"")
    return path


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
@pytest.mark.parametrize("orientation", range(10))  # 1 to 8 mean something
def test_exif_turns_a_picture_only_if_asked(tmp_path: Path, suffix: str, orientation: int) -> None:
    """BitmapFactory never turns; what an app turns by hand is what Skia itself would show."""
    path = with_orientation(tmp_path / f"a.{suffix}", orientation)
    kept, shown = open_picture(path, exif=False), open_picture(path, exif=True)
    assert kept.shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(kept, decoded(path))
    assert shown.shape[:2] == ((WIDTH, HEIGHT) if 5 <= orientation <= 8 else (HEIGHT, WIDTH))
    assert np.array_equal(shown, turned(path))
    assert np.array_equal(shown, kept) == (orientation not in range(2, 9))


def test_skia_does_not_read_the_exif_of_a_png(tmp_path: Path) -> None:
    """Pillow does: with `exif` an app must turn PNGs by their EXIF too, which Skia leaves to it."""
    path = with_orientation(tmp_path / "a.png", 6)
    assert np.array_equal(turned(path), decoded(path))
    assert np.array_equal(open_picture(path, exif=False), decoded(path))
    assert np.array_equal(open_picture(path, exif=True), np.rot90(decoded(path), -1))


def profile(gamut: Any, curve: Any) -> bytes:
    """An ICC profile as Skia writes it into a PNG."""
    space = skia.ColorSpace.MakeRGB(curve, gamut)
    alpha = skia.kPremul_AlphaType
    info = skia.ImageInfo.Make(1, 1, skia.kRGBA_8888_ColorType, alpha, space)
    pixel = skia.Surface.MakeRasterDirect(info, np.zeros((1, 1, 4), np.uint8))
    png = bytes(pixel.makeImageSnapshot().encodeToData(skia.kPNG, 100))
    return bytes(Image.open(BytesIO(png)).info["icc_profile"])


def wide(folder: Path, gamut: Any, curve: Any) -> tuple[tuple[int, float], tuple[int, float]]:
    """Differences of a file of another colour space: as decoded, and as drawn on sRGB."""
    path = folder / "a.png"
    RGB.save(path, icc_profile=profile(gamut, curve))
    ours = open_picture(path)
    return apart(ours, decoded(path)), apart(ours, decoded(path, skia.ColorSpace.MakeSRGB()))


MATRIX, CURVE = skia.cms.Matrix3x3, skia.cms.TransferFunction
WIDE = {
    "Display P3": (MATRIX.kDisplayP3, CURVE.kSRGB),
    "Adobe RGB": (MATRIX.kAdobeRGB, CURVE.k2Dot2),
}


@pytest.mark.parametrize("space", WIDE)
def test_wide_colours_are_those_of_an_srgb_bitmap(tmp_path: Path, space: str) -> None:
    """BitmapFactory keeps the file's colour space; getPixels and an sRGB canvas give sRGB, and so
    does the contract. The numbers of the file itself are far away."""
    kept, drawn = wide(tmp_path, *WIDE[space])
    assert drawn[0] <= 1
    assert drawn[1] <= 0.05
    assert kept[0] > 50


def test_an_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    RGB.save(path, icc_profile=plain)
    assert np.array_equal(open_picture(path), decoded(path))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_profile_does_not_lose_the_orientation(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    """As every upright photograph of an iPhone has both."""
    wide_colours = profile(*WIDE["Display P3"])
    path = with_orientation(tmp_path / f"a.{suffix}", orientation, wide_colours)
    still = open_picture(path, exif=False)
    shown = np.asarray(ImageOps.exif_transpose(_held(still, orientation)))
    assert np.array_equal(open_picture(path, exif=True), shown)


def _held(pixels: Bitmap, orientation: int) -> Image.Image:
    """These pixels as a picture that was held so."""
    file = BytesIO()
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(pixels).save(file, "PNG", exif=exif)
    return Image.open(file)


def test_a_profile_does_not_lose_a_transparent_colour(tmp_path: Path) -> None:
    pixels = np.full((8, 8, 3), 200, np.uint8)
    pixels[:4] = (200, 100, 50)
    path = tmp_path / "a.png"
    picture = Image.fromarray(pixels)
    picture.save(path, transparency=(200, 100, 50), icc_profile=profile(*WIDE["Display P3"]))
    seen = open_picture(path)
    assert seen[:4].max() == 0
    assert seen[4:].min() > 150


@pytest.mark.parametrize("broken", [b"no profile", b"\0" * 200])
def test_a_broken_profile_is_passed_over(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "a.png"
    RGB.save(path, icc_profile=broken)
    assert np.array_equal(open_picture(path), np.asarray(RGB))


def table() -> str:
    """Markdown of what is measured here."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        rows = {kind: measured(kind, folder) for kind in KINDS}
        for space, (gamut, curve) in WIDE.items():
            kept, drawn = wide(folder, gamut, curve)
            rows |= {f"{space}, as decoded": kept, f"{space}, drawn on sRGB": drawn}
    lines = [f"| {kind} | {worst} | {mean:.2f} |" for kind, (worst, mean) in rows.items()]
    return "\n".join(["| file | worst of 255 | mean |", "|---|---|---|", *lines])


if __name__ == "__main__":
    print(table())
