"""Writing in pieces: every row once, whole heads together, the same bytes."""

from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.errors import PocketError
from pocketvlm.export import export_text, export_vision, writer
from pocketvlm.export.about import About
from pocketvlm.export.text import draft_text
from pocketvlm.export.writer import PIECE, Tensor, quantised


@given(heads=st.integers(1, 3000), together=st.integers(1, 80), width=st.integers(1, 2000))
def test_pieces_are_whole_heads_and_every_row_once(heads: int, together: int, width: int) -> None:
    tensor = Tensor("x", "y", (heads * together, width), together=together)
    pieces = list(tensor.pieces())
    assert pieces[0][0] == 0
    assert pieces[-1][1] == heads * together
    assert all(one[1] == other[0] for one, other in pairwise(pieces))
    for start, stop in pieces:
        assert (stop - start) % together == 0
        assert (stop - start) * width <= max(PIECE, together * width)


def test_a_tensor_of_another_shape_is_one_piece() -> None:
    tensor = Tensor("x", "y", (16, PIECE), source_shape=(64, PIECE))
    assert list(tensor.pieces()) == [(0, 64)]


@pytest.mark.parametrize("type", ["F32", "F16", "Q8_0"])
def test_small_pieces_give_the_same_file(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type: str
) -> None:
    files = []
    for size in (PIECE, 640):
        monkeypatch.setattr(writer, "PIECE", size)
        text, vision = tmp_path / f"{size}-text.gguf", tmp_path / f"{size}-vision.gguf"
        export_text(pristine, text, type)
        export_vision(pristine, vision, type, 256)
        files.append((text.read_bytes(), vision.read_bytes()))
    assert files[0] == files[1]


@given(rows=st.integers(1, 40), blocks=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_arithmetic_is_gguf_s(rows: int, blocks: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.standard_normal((rows, 32 * blocks)).astype(np.float32)
    values[0] = 0
    for kind in (GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0):
        assert quantised(values, kind).tobytes() == gguf.quants.quantize(values, kind).tobytes()


def test_a_hollow_file_is_as_long_and_takes_no_room(pristine: Path, tmp_path: Path) -> None:
    draft = draft_text(pristine, "F32", About())
    draft.hollow(tmp_path / "hollow.gguf")
    draft.write(tmp_path / "whole.gguf")
    hollow, whole = (tmp_path / f"{name}.gguf" for name in ("hollow", "whole"))
    assert hollow.stat().st_size == whole.stat().st_size == draft.size
    assert hollow.read_bytes()[: len(draft.head)] == whole.read_bytes()[: len(draft.head)]
    assert 512 * hollow.stat().st_blocks < len(draft.head) + 8192


def test_what_cannot_be_written_leaves_nothing(pristine: Path, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises((PocketError, OSError)):
        export_text(pristine, tmp_path / "a file" / "out.gguf", "F16")
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]
