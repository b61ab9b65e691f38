"""Near-duplicates are found, and different pictures are not taken for them."""

import io
import secrets
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from pocketvlm.duplicates import BITS, NEAR, near_groups, perceptual_hash
from pocketvlm.pictures import Bitmap


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Blurred noise: large shapes and small ones, as a photograph has."""
    random = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3))
    for cells in (3, 7, 20, 60):
        coarse = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        total += np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)) / 4
    return Image.fromarray(total.astype(np.uint8))


def again(picture: Image.Image) -> Image.Image:
    """Saved as a poor JPEG and opened."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=40)
    return Image.open(buffer).convert("RGB")


ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "quality 40": again,
    "half the size": lambda one: one.resize((one.width // 2, one.height // 2)),
    "other sides": lambda one: one.resize((300, 300)),
    "brighter": lambda one: ImageEnhance.Brightness(one).enhance(1.2),
    "grey": lambda one: one.convert("L").convert("RGB"),
    "a small mark": lambda one: marked(one),
}


def marked(picture: Image.Image) -> Image.Image:
    """With a white corner, as a watermark."""
    copy = picture.copy()
    copy.paste((255, 255, 255), (280, 220, 316, 236))
    return copy


def pixels(picture: Image.Image) -> Bitmap:
    return np.asarray(picture)


@pytest.mark.parametrize("how", ALTERED)
def test_an_altered_picture_is_the_same(how: str) -> None:
    others = [perceptual_hash(pixels(scene(seed))) for seed in range(30)]
    looks = [*others, perceptual_hash(pixels(ALTERED[how](scene(7))))]
    assert near_groups(looks) == [*range(30), 7]


def test_like_is_handed_on() -> None:
    first = 0
    second = (1 << NEAR) - 1
    third = second | ((1 << 2 * NEAR) - 1) ^ second
    far = (1 << BITS) - 1
    assert near_groups([f"{bits:064x}" for bits in (far, first, third, second)]) == [0, 1, 1, 1]
    assert near_groups([f"{bits:064x}" for bits in (first, third)]) == [0, 1]


def test_a_negative_is_another_picture() -> None:
    one = secrets.randbits(BITS)
    negative = one ^ ((1 << BITS) - 1)
    assert near_groups([f"{one:064x}", f"{negative:064x}"]) == [0, 1]


def test_what_has_no_hash_is_alone() -> None:
    look = "ab" * 32
    assert near_groups([None, look, None, look, None]) == [0, 1, 2, 1, 4]
    assert near_groups([]) == []
    assert near_groups([None, look]) == [0, 1]


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(0, 2**32))
def test_every_group_is_led_by_its_first(kinds: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    looks = {kind: random.bytes(32) for kind in set(kinds)}  # far apart: 128 bits, give or take 8
    found = near_groups([looks[kind].hex() for kind in kinds])
    assert found == [kinds.index(kind) for kind in kinds]


def test_pairs_across_blocks_are_found() -> None:
    random = np.random.default_rng(1)
    looks = [random.bytes(32).hex() for _ in range(9000)]
    looks[8999] = looks[3]
    looks[8200] = looks[17]
    expected = list(range(9000))
    expected[8999], expected[8200] = 3, 17
    assert near_groups(looks) == expected


def test_thousands_that_are_alike_are_one_group_in_little_memory() -> None:
    """Each differs from the first by a few bits of its own."""
    random = np.random.default_rng(0)
    base = secrets.randbits(BITS)
    flips = random.choice(BITS, (4000, 8)).tolist()
    some = [base ^ sum(1 << bit for bit in set(bits)) for bits in flips]
    looks = [f"{bits:064x}" for bits in some]
    tracemalloc.start()
    assert near_groups([*looks, *looks]) == [0] * 8000
    assert tracemalloc.get_traced_memory()[1] < 400e6  # 8 million pairs and what reduces them
    tracemalloc.stop()


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGB", (300, 200)),
        Image.new("RGB", (300, 200), "tomato"),
        Image.linear_gradient("L").convert("RGB"),
        Image.linear_gradient("L").rotate(90).resize((640, 480)).convert("RGB"),
    ],
)
def test_what_shows_nothing_has_no_hash(picture: Image.Image) -> None:
    assert perceptual_hash(pixels(picture)) is None
