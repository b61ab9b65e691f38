"""The bitmap must be what the tower takes, so that nothing is resized unasked."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pocketvlm.errors import PocketError
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import Runtime


@pytest.mark.parametrize(
    "bitmap",
    [
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((128, 64, 3), np.uint8),
        np.zeros((256, 256, 3), np.uint8),
        np.zeros((128, 128, 4), np.uint8),
        np.zeros((128, 128), np.uint8),
        np.zeros((128, 128, 3), np.float32),
    ],
)
def test_another_bitmap_is_refused_and_both_are_named(
    runtime: Runtime, bitmap: NDArray[np.uint8]
) -> None:
    with pytest.raises(PocketError) as caught:
        runtime.embeddings(bitmap)
    assert f"{bitmap.dtype} {bitmap.shape}" in str(caught.value)
    assert "clip.vision.image_size 128" in str(caught.value)


def test_the_side_is_the_file_s(runtime: Runtime) -> None:
    assert runtime.side == 128


def test_a_view_is_read_as_it_looks(runtime: Runtime, pictures: list[Bitmap]) -> None:
    flipped = pictures[0][::-1, :, ::-1]
    assert not flipped.flags.c_contiguous
    assert np.array_equal(runtime.embeddings(flipped), runtime.embeddings(flipped.copy()))
    assert not np.array_equal(runtime.embeddings(flipped), runtime.embeddings(pictures[0]))


def test_embeddings_of_another_width_are_refused(runtime: Runtime) -> None:
    with pytest.raises(ValueError, match=r"\(5, 65\), expected \(n, 64\)"):
        runtime.text_logits(np.zeros((5, 65), np.float32))
