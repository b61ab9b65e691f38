"""Pictures as the device decodes and shrinks them: files to RGB pixels, pixels to other sizes."""

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from pocketvlm.errors import PocketError

Bitmap = NDArray[np.uint8]
"""RGB pixels, shape (height, width, 3)."""

SRGB = ImageCms.createProfile("sRGB")

Taps = NDArray[np.intp]
"""Indices of source pixels, one for each target pixel."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
"""Pillow's readers that are let near a file: others run programs (EPS) or take any bytes."""

BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    RuntimeError,
    TypeError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
)
"""What these readers raise on damaged files (found by flipping bytes)."""


def open_picture(path: Path, exif: bool = True) -> Bitmap:
    """Decode a picture file as the app does: turned by its EXIF orientation if `exif`,
    transparency over black.

    PocketError when the file is missing, no picture, truncated or a decompression bomb."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            return np.asarray(rgb(srgb(ImageOps.exif_transpose(picture) if exif else picture)))
    except FileNotFoundError:
        raise PocketError(f"{path} does not exist: check the path") from None
    except UnidentifiedImageError:
        raise PocketError(
            f"{path} is no picture that can be read: give a JPEG, PNG or WebP"
        ) from None
    except BROKEN as error:
        raise PocketError(f"{path} cannot be decoded ({error}): replace the file") from None


def srgb(picture: Image.Image) -> Image.Image:
    """Colours of a picture with a profile of its own (Display P3, Adobe RGB) as sRGB, as Android's
    `Bitmap.getPixels` gives them; a profile that cannot be used is passed over."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "RGBA"):
        return picture
    if "transparency" in picture.info:  # one colour, which would be another afterwards
        picture = picture.convert("RGBA")
    try:
        turned = ImageCms.profileToProfile(picture, BytesIO(profile), SRGB, outputMode=picture.mode)
    except (ImageCms.PyCMSError, OSError):
        return picture
    return turned or picture


def rgb(picture: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB; transparent parts are laid over black, the padding's colour."""
    if picture.mode.startswith("I"):  # 16 bits, any byte order; convert() clips
        wide = np.asarray(picture, dtype=np.int64)
        return Image.fromarray((wide >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        alpha = picture.convert("RGBA")
        black = Image.new("RGBA", alpha.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, alpha).convert("RGB")
    return picture.convert("RGB")


def bilinear(pixels: Bitmap, width: int, height: int) -> Bitmap:
    """Half-pixel bilinear without antialiasing in doubles, rounded half up.

    It is Skia's linear filter in float arithmetic to within 1 of 255 (Android's createScaledBitmap
    mostly takes weights in sixteenths, see docs/contract.md), and plain IEEE arithmetic in a fixed
    order, so that Kotlin gives the same bytes."""
    left, right, fx = _taps(pixels.shape[1], width)
    top, bottom, fy = _taps(pixels.shape[0], height)
    upper = _blend(pixels[top], left, right, fx)
    lower = _blend(pixels[bottom], left, right, fx)
    return np.floor(upper + (lower - upper) * fy[:, None, None] + 0.5).astype(np.uint8)


def _blend(
    rows: Bitmap, left: Taps, right: Taps, weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Whole rows come first: gathering rows and columns at once takes twice as long."""
    first = rows.take(left, axis=1).astype(np.float64)
    return first + (rows.take(right, axis=1) - first) * weight[None, :, None]


def _taps(source: int, target: int) -> tuple[Taps, Taps, NDArray[np.float64]]:
    """For each target pixel: the two source pixels around its centre and the second's weight."""
    centre = (np.arange(target) + 0.5) * (source / target) - 0.5
    centre = centre.clip(0, source - 1)
    first = np.floor(centre).astype(np.intp)
    return first, np.minimum(first + 1, source - 1), centre - first


def pillow(method: Image.Resampling) -> Callable[[Bitmap, int, int], Bitmap]:
    """One of Pillow's own filters."""

    def resize(pixels: Bitmap, width: int, height: int) -> Bitmap:
        return np.asarray(Image.fromarray(pixels).resize((width, height), method))

    return resize


RESIZERS: dict[str, Callable[[Bitmap, int, int], Bitmap]] = {
    "bilinear": bilinear,
    "lanczos": pillow(Image.Resampling.LANCZOS),
    "area": pillow(Image.Resampling.BOX),
}
