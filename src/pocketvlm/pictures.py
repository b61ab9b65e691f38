"""Pictures as the device decodes and shrinks them: files to RGB pixels, pixels to other sizes."""

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from pocketvlm.errors import PocketError

Bitmap = NDArray[np.uint8]
"""RGB pixels, shape (height, width, 3)."""

SRGB = ImageCms.createProfile("sRGB")

Taps = NDArray[np.intp]
"""Indices of source pixels, one for each target pixel."""

Resizer = Callable[[Image.Image | Bitmap, int, int], Bitmap]
"""A decoded picture or its pixels, and the width and height it gets."""

BLOCK = 32
"""Target rows that are blended at a time, so that they stay in the processor's cache."""

FAR = 8
"""Times as high as its target a picture is of which only the needed rows are copied."""

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
    return np.asarray(in_device_colours(open_image(path, exif)))


def open_image(path: Path, exif: bool = True) -> Image.Image:
    """`open_picture` before its profile is applied and before it is numpy's: for a large picture
    that takes up to three times as long as decoding, and a resizer needs only some of the rows."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if exif:
                ImageOps.exif_transpose(picture, in_place=True)
            picture.load()
            if _is_plain(picture):
                return picture
            done = in_device_colours(picture)
            done.info.clear()  # a profile that was applied is not applied again
            return done
    except FileNotFoundError:
        raise PocketError(f"{path} does not exist: check the path") from None
    except UnidentifiedImageError:
        raise PocketError(
            f"{path} is no picture that can be read: give a JPEG, PNG or WebP"
        ) from None
    except BROKEN as error:
        raise PocketError(f"{path} cannot be decoded ({error}): replace the file") from None


def in_device_colours(picture: Image.Image) -> Image.Image:
    """A decoded picture in mode RGB. It is done pixel by pixel: of some rows it gives what it gives
    of these rows in the whole."""
    return rgb(srgb(picture))


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
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def bilinear(picture: Image.Image | Bitmap, width: int, height: int) -> Bitmap:
    """Half-pixel bilinear without antialiasing in doubles, rounded half up.

    It is Skia's linear filter in float arithmetic to within 1 of 255 (Android's createScaledBitmap
    mostly takes weights in sixteenths, see docs/contract.md), and plain IEEE arithmetic in a fixed
    order, so that Kotlin gives the same bytes. Singles where they give the same bits: weights in
    256ths, as 4:3 pictures on 256 pixels have, need 24 of them at most."""
    source_width, source_height = size_of(picture)
    left, right, fx = _taps(source_width, width)
    top, bottom, fy = _taps(source_height, height)
    rows, top, bottom = _rows(picture, top, bottom)
    kind = np.float32 if _in_256ths(fx) and _in_256ths(fy) else np.float64
    left, right = _samples(left), _samples(right)
    across, down = np.repeat(fx, 3).astype(kind), fy.astype(kind)[:, None]
    inside = np.empty((height, width * 3), np.uint8)
    for start in range(0, height, BLOCK):
        block = slice(start, start + BLOCK)
        upper = _blend(rows[top[block]], left, right, across)
        lower = _blend(rows[bottom[block]], left, right, across)
        lower -= upper
        lower *= down[block]
        lower += upper
        lower += 0.5
        inside[block] = lower  # cut off, and nothing is negative: floor
    return inside.reshape(height, width, 3)


def size_of(picture: Image.Image | Bitmap) -> tuple[int, int]:
    """Width and height."""
    if isinstance(picture, Image.Image):
        return picture.size
    return picture.shape[1], picture.shape[0]


def _rows(picture: Image.Image | Bitmap, top: Taps, bottom: Taps) -> tuple[Bitmap, Taps, Taps]:
    """Rows of samples, shape (rows, 3 x width), and where the two of each target row lie in them:
    of a picture that is far higher only these are taken."""
    height = size_of(picture)[1]
    if isinstance(picture, np.ndarray) or height < FAR * len(top) or not _is_plain(picture):
        return _pixels(picture).reshape(height, -1), top, bottom
    pairs = [picture.crop((0, y, picture.width, y + 2)).tobytes() for y in top.tolist()]
    rows = np.frombuffer(b"".join(pairs), np.uint8).reshape(2 * len(top), -1)
    if "icc_profile" in picture.info:
        image = Image.fromarray(rows.reshape(len(rows), -1, 3))
        image.info = picture.info
        rows = _pixels(image).reshape(len(rows), -1)
    first = np.arange(len(top)) * 2
    return rows, first, first + 1


def _is_plain(picture: Image.Image) -> bool:
    """Whether only a profile may stand between a picture's colours and the device's."""
    return picture.mode == "RGB" and "transparency" not in picture.info


def _pixels(picture: Image.Image | Bitmap) -> Bitmap:
    if isinstance(picture, Image.Image):
        return np.asarray(in_device_colours(picture))
    return picture


def _samples(pixels: Taps) -> Taps:
    """Indices of the samples of pixels: numpy gathers single bytes faster than threes."""
    return (pixels[:, None] * 3 + np.arange(3)).ravel()


def _in_256ths(weights: NDArray[np.float64]) -> bool:
    return bool((weights * 256 % 1 == 0).all())


def _blend(rows: Bitmap, left: Taps, right: Taps, weight: NDArray[Any]) -> NDArray[Any]:
    """Whole rows come first: gathering rows and columns at once takes twice as long. `take`, not
    an index: that would leave the result's columns, not its rows, whole in memory."""
    first = rows.take(left, axis=1, mode="clip").astype(weight.dtype)
    second = rows.take(right, axis=1, mode="clip").astype(weight.dtype)
    second -= first
    second *= weight
    second += first
    return second


def _taps(source: int, target: int) -> tuple[Taps, Taps, NDArray[np.float64]]:
    """For each target pixel: the two source pixels around its centre and the second's weight."""
    centre = (np.arange(target) + 0.5) * (source / target) - 0.5
    centre = centre.clip(0, source - 1)
    first = np.floor(centre).astype(np.intp)
    return first, np.minimum(first + 1, source - 1), centre - first


def pillow(method: Image.Resampling) -> Resizer:
    """One of Pillow's own filters."""

    def resize(picture: Image.Image | Bitmap, width: int, height: int) -> Bitmap:
        image = Image.fromarray(_pixels(picture))
        return np.asarray(image.resize((width, height), method))

    return resize


RESIZERS: dict[str, Resizer] = {
    "bilinear": bilinear,
    "lanczos": pillow(Image.Resampling.LANCZOS),
    "area": pillow(Image.Resampling.BOX),
}
