"""The device bitmap: its size, place, colours and pixels for a picture of any size."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pocketvlm.config import parse_config
from pocketvlm.contract import Contract
from pocketvlm.pictures import RESIZERS, Bitmap, bilinear

METHODS = sorted(RESIZERS)
sides = st.integers(1, 300)
small = st.integers(1, 9)


def contract(side: int = 64, resize: str = "bilinear") -> Contract:
    """The default task under a device of another side."""
    return Contract.of(parse_config({"device": {"side": side, "resize": resize}}))


def flat(width: int, height: int, colour: tuple[int, int, int]) -> Bitmap:
    """A picture of one colour."""
    return np.full((height, width, 3), colour, np.uint8)


@settings(max_examples=150, deadline=None)
@given(width=sides, height=sides, side=st.sampled_from([64, 128]), resize=st.sampled_from(METHODS))
def test_size_centring_and_padding(width: int, height: int, side: int, resize: str) -> None:
    bitmap = contract(side, resize).bitmap(flat(width, height, (200, 100, 50)))
    assert bitmap.shape == (side, side, 3)
    assert bitmap.dtype == np.uint8
    longer = max(width, height)
    inner = (max(1, height * side // longer), max(1, width * side // longer))
    assert side in inner
    filled = (bitmap == (200, 100, 50)).all(axis=2)
    rows, columns = filled.any(axis=1), filled.any(axis=0)
    assert (rows.sum(), columns.sum()) == inner
    assert (rows.argmax(), columns.argmax()) == tuple((side - one) // 2 for one in inner)
    assert filled.sum() == inner[0] * inner[1]  # one rectangle
    assert not bitmap[~filled].any()  # all else is black


def test_an_odd_rest_goes_to_the_right_and_to_the_bottom() -> None:
    tall = contract().bitmap(flat(33, 64, (255, 255, 255)))  # 31 columns are left
    assert np.flatnonzero(tall[0, :, 0]).tolist() == list(range(15, 48))
    wide = contract().bitmap(flat(64, 33, (255, 255, 255)))
    assert np.flatnonzero(wide[:, 0, 0]).tolist() == list(range(15, 48))


def test_channels_stay_red_green_blue() -> None:
    picture = flat(20, 20, (255, 0, 0))
    picture[:, 10:] = (0, 0, 255)
    bitmap = contract().bitmap(picture)
    assert bitmap[32, 0].tolist() == [255, 0, 0]
    assert bitmap[32, -1].tolist() == [0, 0, 255]


@given(arrays(np.uint8, (64, 64, 3)), st.sampled_from(METHODS))
@settings(max_examples=20, deadline=None)
def test_a_picture_of_the_devices_size_is_copied(picture: Bitmap, resize: str) -> None:
    assert np.array_equal(contract(64, resize).bitmap(picture), picture)


def test_the_callers_picture_is_left_as_it_was() -> None:
    picture = flat(64, 64, (9, 9, 9))
    contract().bitmap(picture)[:] = 77
    assert (picture == 9).all()


def naive(pixels: Bitmap, width: int, height: int) -> list[list[list[int]]]:
    """Bilinear pixel by pixel, as an app would write it."""
    source_height, source_width = pixels.shape[:2]

    def taps(at: int, source: int, target: int) -> tuple[int, int, float]:
        centre = min(max((at + 0.5) * (source / target) - 0.5, 0.0), source - 1.0)
        first = math.floor(centre)
        return first, min(first + 1, source - 1), centre - first

    out = []
    for y in range(height):
        top, bottom, fy = taps(y, source_height, height)
        row = []
        for x in range(width):
            left, right, fx = taps(x, source_width, width)
            pixel = []
            for channel in range(3):
                a, b = float(pixels[top, left, channel]), float(pixels[top, right, channel])
                c, d = float(pixels[bottom, left, channel]), float(pixels[bottom, right, channel])
                upper, lower = a + (b - a) * fx, c + (d - c) * fx
                pixel.append(math.floor(upper + (lower - upper) * fy + 0.5))
            row.append(pixel)
        out.append(row)
    return out


@settings(max_examples=80, deadline=None)
@given(st.data(), small, small, small, small)
def test_bilinear_is_the_scalar_formula(
    data: st.DataObject, width: int, height: int, new_width: int, new_height: int
) -> None:
    picture = data.draw(arrays(np.uint8, (height, width, 3)))
    expected = naive(picture, new_width, new_height)
    assert bilinear(picture, new_width, new_height).tolist() == expected


def test_bilinear_by_hand() -> None:
    """Two pixels to four: centres at -0.25, 0.25, 0.75, 1.25; halves are rounded up."""
    picture = np.array([[[0] * 3, [10] * 3]], np.uint8)
    assert bilinear(picture, 4, 1)[0, :, 0].tolist() == [0, 3, 8, 10]  # 2.5 and 7.5


def test_bilinear_does_not_average_what_it_skips() -> None:
    """Shrinking by eight reads two pixels of eight: Android does no antialiasing."""
    picture = flat(8, 1, (0, 0, 0))
    picture[0, [0, 1, 2, 5, 6, 7]] = 255
    assert bilinear(picture, 1, 1).tolist() == [[[0, 0, 0]]]


@pytest.mark.parametrize("change", [{"side": 128}, {"resize": "area"}])
def test_the_hash_names_the_contract(change: dict[str, object]) -> None:
    other = parse_config({"device": {"side": 64, "resize": "bilinear"} | change})
    assert contract().hash == contract().hash
    assert Contract.of(other).hash != contract().hash


def test_describe_is_plain_and_complete() -> None:
    told = contract().describe()
    assert told["side"] == told["vision_size"] == 64
    assert told["prompt"].startswith("<__media__>\nWhich natural element")
    assert told["prompt"].endswith("\n\nElement:")
    assert told["labels"] == ["water", "land", "fire", "wood", "metal"]
    assert (told["max_new_tokens"], told["sampling"]) == (32, "greedy")
