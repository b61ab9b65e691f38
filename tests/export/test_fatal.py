"""What llama.cpp would end the process over is seen before."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
from numpy.typing import NDArray

from pocketvlm.export import export_text, export_vision
from pocketvlm.export.fatal import fatal
from pocketvlm.export.header import read_header
from tests.export.remade import remade, spoiled, version_1

Data = NDArray[Any]
QUERY = "v.blk.0.attn_q.weight"


@pytest.fixture(scope="session")
def text(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fatal") / "model.gguf"
    export_text(pristine, out, "F16")
    return out


@pytest.fixture(scope="session")
def vision(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fatal") / "mmproj.gguf"
    export_vision(pristine, out, "F16", 128)
    return out


@pytest.mark.parametrize("type", ["F32", "F16", "Q8_0"])
@pytest.mark.parametrize("side", [64, 256])
def test_our_files_are_sound(pristine: Path, tmp_path: Path, type: str, side: int) -> None:
    export_text(pristine, tmp_path / "text.gguf", type)
    export_vision(pristine, tmp_path / "vision.gguf", type, side)
    assert fatal(read_header(tmp_path / "text.gguf")) is None
    assert fatal(read_header(tmp_path / "vision.gguf")) is None


def test_files_of_older_converters_are_sound(vision: Path, tmp_path: Path) -> None:
    """They named the two matrices of the feed-forward part the other way round."""
    names = {"ffn_up": "ffn_down", "ffn_down": "ffn_up"}

    def renamed(name: str) -> str:
        part = next((part for part in names if part in name), None)
        return name.replace(part, names[part]) if part else name

    swapped = remade(vision, tmp_path / "swapped.gguf", renamed=renamed)
    assert fatal(read_header(swapped)) is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("image_size", None, "clip.vision.image_size is missing"),
        ("image_size", 2**31, "v.position_embd.weight has the shape"),
        ("image_size", 256, "v.position_embd.weight has the shape (64, 64), its keys say (64, 256"),
        ("patch_size", 0, "clip.vision.patch_size is 0"),
        ("patch_size", 32, "v.position_embd.weight has the shape"),
        ("block_count", 2**31, "block_count is 2,147,483,648, which its tensors are too few for"),
        ("block_count", 3, "v.blk.2.ln1.weight is missing"),
        ("embedding_length", 128, "v.position_embd.weight has the shape"),
        ("feed_forward_length", 96, "v.blk.0.ffn_up.weight has the shape (64, 128)"),
        ("attention.head_count", 0, "clip.vision.attention.head_count is 0"),
        ("attention.head_count", 3, "width 64 does not divide into 3 heads"),
        ("attention.layer_norm_epsilon", -1.0, "layer_norm_epsilon is -1.0, not a small number"),
        ("attention.layer_norm_epsilon", None, "layer_norm_epsilon is None, not a small number"),
        ("projector.scale_factor", 1, "clip.vision.projector.scale_factor is 1"),
        ("projector.scale_factor", 2, "mm.model.fc.weight has the shape (1024, 64)"),
        ("image_mean", [0.5, 0.5], "clip.vision.image_mean is not three numbers"),
        ("image_std", None, "clip.vision.image_std is not three numbers"),
    ],
)
def test_a_key_that_does_not_fit_is_named(
    vision: Path, tmp_path: Path, key: str, value: Any, message: str
) -> None:
    bad = remade(vision, tmp_path / "bad.gguf", {f"clip.vision.{key}": value})
    assert message in (fatal(read_header(bad)) or "")


@pytest.mark.parametrize("key", ["clip.use_gelu", "clip.has_vision_encoder"])
def test_a_key_of_another_kind_is_named(vision: Path, tmp_path: Path, key: str) -> None:
    at = vision.read_bytes().index(key.encode()) + len(key)
    bad = spoiled(vision, tmp_path / "bad.gguf", at, struct.pack("<I", 0))  # UINT8
    assert fatal(read_header(bad)) == f"{key} is of the kind UINT8, not BOOL"


def without(name: str) -> Callable[[str, Data], Data | None]:
    return lambda found, data: None if found == name else data


@pytest.mark.parametrize("name", [QUERY, "v.post_ln.bias", "v.position_embd.weight"])
def test_a_tensor_that_is_missing_is_named(vision: Path, tmp_path: Path, name: str) -> None:
    bad = remade(vision, tmp_path / "bad.gguf", tensors=without(name))
    assert fatal(read_header(bad)) == f"{name} is missing"


def test_a_tensor_of_another_shape_is_named(vision: Path, tmp_path: Path) -> None:
    bad = remade(
        vision,
        tmp_path / "bad.gguf",
        tensors=lambda name, data: data[:32] if name == QUERY else data,
    )
    wanted = f"{QUERY} has the shape (64, 32), its keys say (64, 64)"
    assert fatal(read_header(bad)) == wanted


def test_a_token_that_is_there_twice_is_named(text: Path, tmp_path: Path) -> None:
    tokens = gguf.GGUFReader(text).fields["tokenizer.ggml.tokens"].contents()
    tokens[7] = tokens[9]
    bad = remade(text, tmp_path / "bad.gguf", {"tokenizer.ggml.tokens": tokens})
    assert fatal(read_header(bad)) == f"the vocabulary has the token {tokens[9]!r} twice"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("llama.block_count", 0, "llama.block_count is 0"),
        ("llama.block_count", 2**31, "llama.block_count is 2,147,483,648"),
        ("llama.attention.layer_norm_rms_epsilon", float("nan"), "is nan, not a small number"),
    ],
)
def test_a_text_models_key_that_is_deadly_is_named(
    text: Path, tmp_path: Path, key: str, value: Any, message: str
) -> None:
    bad = remade(text, tmp_path / "bad.gguf", {key: value})
    assert message in (fatal(read_header(bad)) or "")


def test_what_llama_cpp_refuses_itself_is_left_to_it(vision: Path, tmp_path: Path) -> None:
    big = remade(vision, tmp_path / "big.gguf", big_endian=True)
    other = remade(vision, tmp_path / "other.gguf", {"clip.projector_type": "mlp"})
    for file in (big, other, version_1(tmp_path / "first.gguf")):
        assert fatal(read_header(file)) is None
