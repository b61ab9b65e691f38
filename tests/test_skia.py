"""The device bitmap against the real Skia, which scales Android's bitmaps on the processor.

Skia scales in one of two ways (SkBlitter::UseLegacyBlitter): in floats, or, in its native order of
bytes, with weights of sixteenths. Android's order is RGBA, a desktop's mostly BGRA; so here RGBA is
drawn in floats, and the native order shows what a phone's ARGB_8888 bitmap goes through, by
Android's sources (SkUserConfigManual.h turns neither way off); no phone was asked.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pocketvlm.config import parse_config
from pocketvlm.contract import Contract
from pocketvlm.pictures import Bitmap

skia: Any = pytest.importorskip("skia", reason="skia-python is missing: install the dev extra")

NATIVE = skia.ImageInfo.MakeN32Premul(1, 1).colorType()
OTHER = ({skia.kRGBA_8888_ColorType, skia.kBGRA_8888_ColorType} - {NATIVE}).pop()
LINEAR = skia.SamplingOptions(skia.FilterMode.kLinear, skia.MipmapMode.kNone)

RUN = 127
"""Skia computes the place of every 127th pixel of a row anew; between them it adds up steps."""

SIZES = [
    (1, 1, 256),
    (1, 300, 256),
    (300, 1, 256),
    (20, 30, 256),
    (64, 64, 256),
    (100, 37, 256),
    (256, 256, 256),
    (257, 255, 256),
    (480, 640, 256),
    (640, 480, 256),
    (640, 480, 384),
    (641, 479, 512),
    (1080, 1920, 256),
    (3000, 4000, 256),
    (4000, 3000, 256),
    (4000, 3000, 512),
]
"""Width, height, side of the device: upscaling, one pixel wide, equal, up to 12 megapixels."""


class Apart(NamedTuple):
    """How far two bitmaps are apart, of 255."""

    worst: int
    mean: float

    @classmethod
    def of(cls, one: Bitmap, other: Bitmap) -> "Apart":
        distance = np.abs(one.astype(np.int16) - other)
        return cls(int(distance.max()), float(distance.mean()))


def contract(side: int) -> Contract:
    """The default task on a device of another side."""
    return Contract.of(parse_config({"device": {"side": side}}))


def inner(width: int, height: int, side: int) -> tuple[int, int]:
    """Size inside the padding as an app writes it: whole numbers, cut off."""
    longer = max(width, height)
    return max(1, width * side // longer), max(1, height * side // longer)


def swapped(pixels: NDArray[np.uint8], order: Any) -> NDArray[np.uint8]:
    """RGBA to this order of bytes, or back."""
    return pixels if order == skia.kRGBA_8888_ColorType else pixels[..., [2, 1, 0, 3]]


def image(pixels: Bitmap, order: Any) -> Any:
    """An opaque Skia image, which refers to a copy of the pixels."""
    height, width = pixels.shape[:2]
    opaque = np.full((height, width, 1), 255, np.uint8)
    memory = np.ascontiguousarray(swapped(np.concatenate((pixels, opaque), axis=2), order))
    info = skia.ImageInfo.Make(width, height, order, skia.kOpaque_AlphaType)
    bitmap = skia.Bitmap()
    bitmap.allocPixels(info)
    assert bitmap.writePixels(skia.Pixmap(info, memory, width * 4))
    return skia.Image.MakeFromBitmap(bitmap)


def surface(width: int, height: int, order: Any) -> tuple[Any, NDArray[np.uint8]]:
    """A canvas and the memory that it draws into."""
    memory = np.zeros((height, width, 4), np.uint8)
    info = skia.ImageInfo.Make(width, height, order, skia.kPremul_AlphaType)
    return skia.Surface.MakeRasterDirect(info, memory), memory


def scaled(source: Any, width: int, height: int, order: Any) -> Any:
    """Bitmap.createScaledBitmap(source, width, height, true): a matrix of two 32-bit floats, then
    Canvas.drawBitmap with the whole picture as both rectangles (Bitmap.java, SkiaCanvas.cpp)."""
    target, _ = surface(width, height, order)
    whole = skia.Rect.MakeWH(source.width(), source.height())
    across = np.float32(width) / np.float32(source.width())
    down = np.float32(height) / np.float32(source.height())
    with target as canvas:
        canvas.scale(float(across), float(down))
        fast = skia.Canvas.kFast_SrcRectConstraint
        canvas.drawImageRect(source, whole, whole, LINEAR, skia.Paint(), fast)
    return target.makeImageSnapshot()


def drawn(pixels: Bitmap, side: int, order: Any) -> Bitmap:
    """What an app hands over: the scaled bitmap drawn into the middle of a black one."""
    source = image(pixels, order)
    width, height = inner(source.width(), source.height(), side)
    same = (width, height) == (source.width(), source.height())
    inside = source if same else scaled(source, width, height, order)
    target, memory = surface(side, side, order)
    with target as canvas:
        canvas.drawColor(skia.ColorBLACK)
        canvas.drawImage(inside, (side - width) // 2, (side - height) // 2)
    return swapped(memory, order)[..., :3]


def cropped(bitmap: Bitmap, width: int, height: int) -> Bitmap:
    """The bitmap of a picture of this size without its padding, which would flatter the mean."""
    side = len(bitmap)
    across, down = inner(width, height, side)
    top, left = (side - down) // 2, (side - across) // 2
    return bitmap[top : top + down, left : left + across]


def noise(width: int, height: int, seed: int = 0) -> Bitmap:
    """The hardest picture: every neighbour is another."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def photo(width: int, height: int) -> Bitmap:
    """Large soft shapes, smaller ones within them and a little grain, as a camera gives them."""

    def shapes(across: int, down: int) -> NDArray[np.uint16]:
        small = Image.fromarray(noise(across, down))
        return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.uint16)

    soft = shapes(9, 7) * 5 + shapes(width // 8 + 1, height // 8 + 1) * 2
    return (soft + noise(width, height) >> 3).astype(np.uint8)


def bars(width: int, height: int) -> Bitmap:
    """Black and white by turns, one pixel each: the longest way from one to the next."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, ::2] = 255
    return picture


def sixteenths(pixels: Bitmap, width: int, height: int) -> Bitmap:
    """Skia's scaling in its native order of bytes, in whole numbers: the four high bits of the
    fraction are the weight, the sum is cut off (SkBitmapProcState_matrixProcs.cpp,
    SkBitmapProcState_opts.h). Sides of 16384 pixels and more it does not filter at all."""
    left, right, across = taps(pixels.shape[1], width, RUN)
    top, bottom, down = taps(pixels.shape[0], height, 1)
    across, down = across[None, :, None], down[:, None, None]
    upper, lower = pixels[top].astype(np.int32), pixels[bottom].astype(np.int32)
    upper = upper[:, left] * (16 - across) + upper[:, right] * across
    lower = lower[:, left] * (16 - across) + lower[:, right] * across
    mixed: Bitmap = (upper * (16 - down) + lower * down >> 8).astype(np.uint8)
    return mixed


def taps(source: int, target: int, run: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """For each new pixel: the two old ones and the second's weight in sixteenths. Places are
    fixed-point numbers, 32 bits after the point; where a run begins they come from a float."""
    step = np.float32(1) / (np.float32(target) / np.float32(source))
    at = np.arange(target)
    start = (at // run * run).astype(np.float32)
    place = ((start + np.float32(0.5)) * step).astype(np.float64) * 2**32
    fixed = place.astype(np.int64) - 2**31 + at % run * int(float(step) * 2**32) >> 16
    first = fixed >> 16
    last = source - 1
    return first.clip(0, last), (first + 1).clip(0, last), (fixed >> 12 & 15).astype(np.int32)


@pytest.mark.parametrize("content", [noise, photo])
@pytest.mark.parametrize(("width", "height", "side"), SIZES)
def test_the_bitmap_is_skias_in_floats(width: int, height: int, side: int, content: Any) -> None:
    picture = content(width, height)
    ours, theirs = contract(side).bitmap(picture), drawn(picture, side, OTHER)
    apart = Apart.of(cropped(ours, width, height), cropped(theirs, width, height))
    assert apart.worst <= 1, f"{width}x{height} to {side}: {apart}"
    assert apart.mean <= 0.05, f"{width}x{height} to {side}: {apart}"
    assert Apart.of(ours, theirs).worst == apart.worst  # so the padding is equal


@pytest.mark.parametrize(("width", "height", "side"), SIZES)
def test_bars_are_skias_in_floats_but_for_halves(width: int, height: int, side: int) -> None:
    """In bars whole columns can be halves, which 32-bit floats and doubles round to other sides:
    the mean is then up to 0.4, the worst still 1."""
    picture = bars(width, height)
    apart = Apart.of(contract(side).bitmap(picture), drawn(picture, side, OTHER))
    assert apart.worst <= 1, f"{width}x{height} to {side}: {apart}"


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    side=st.sampled_from([64, 128, 256]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_size_is_skias_in_floats(width: int, height: int, side: int, seed: int) -> None:
    picture = noise(width, height, seed)
    ours, theirs = contract(side).bitmap(picture), drawn(picture, side, OTHER)
    apart = Apart.of(ours, theirs)
    assert apart.worst <= 1, apart
    assert apart.mean <= 0.05, apart


@pytest.mark.parametrize("order", [NATIVE, OTHER])
def test_a_picture_of_the_devices_size_is_skias_byte_for_byte(order: Any) -> None:
    picture = noise(256, 256)
    assert np.array_equal(drawn(picture, 256, order), picture)
    assert np.array_equal(contract(256).bitmap(picture), picture)


@pytest.mark.parametrize(("width", "height", "side"), SIZES)
def test_the_native_order_is_scaled_in_sixteenths(width: int, height: int, side: int) -> None:
    """Not one byte differs: the way of an ARGB_8888 bitmap is known exactly."""
    picture = noise(width, height)
    theirs = cropped(drawn(picture, side, NATIVE), width, height)
    same = (width, height) == inner(width, height, side)
    ours = picture if same else sixteenths(picture, *inner(width, height, side))
    assert np.array_equal(ours, theirs), Apart.of(ours, theirs)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 2**32 - 1))
def test_any_size_of_the_native_order_is_scaled_in_sixteenths(
    width: int, height: int, seed: int
) -> None:
    picture = noise(width, height, seed)
    theirs = cropped(drawn(picture, 256, NATIVE), width, height)
    if max(width, height) != 256:
        assert np.array_equal(sixteenths(picture, *inner(width, height, 256)), theirs)


@pytest.mark.parametrize(("content", "mean"), [(photo, 1.5), (noise, 7.0)])
def test_sixteenths_are_near_the_floats_but_not_within_one(content: Any, mean: float) -> None:
    """Each weight is up to a sixteenth too small, and the sum is cut off, half of 255 darker."""
    picture = content(1080, 1920)
    ours, theirs = contract(256).bitmap(picture), drawn(picture, 256, NATIVE)
    apart = Apart.of(cropped(ours, 1080, 1920), cropped(theirs, 1080, 1920))
    assert 1 < apart.worst <= 32, apart
    assert 0.4 < apart.mean < mean, apart


def lanczos(pixels: Bitmap) -> Bitmap:
    """What training code usually does."""
    small = Image.fromarray(pixels).resize((256, 192), Image.Resampling.LANCZOS)
    return np.pad(np.asarray(small), ((32, 32), (0, 0), (0, 0)))


@pytest.mark.parametrize("content", [noise, photo])
@pytest.mark.parametrize("order", [NATIVE, OTHER])
def test_another_filter_channel_or_place_is_far_outside(content: Any, order: Any) -> None:
    picture = content(640, 480)
    theirs = drawn(picture, 256, order)
    ours = contract(256).bitmap(picture)
    for wrong in (lanczos(picture), ours[..., ::-1], np.roll(ours, 1, 0), np.roll(ours, 1, 1)):
        apart = Apart.of(wrong, theirs)
        assert apart.worst >= 8, apart
        assert apart.mean >= 2, apart
