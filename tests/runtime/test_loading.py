"""Opening files: what a wrong one says, and that llama.cpp itself says nothing."""

import os
import struct
from importlib.metadata import version
from pathlib import Path

import gguf
import numpy as np
import pytest

from pocketvlm.contract import IMAGE, Contract
from pocketvlm.errors import PocketError
from pocketvlm.export import export_vision
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import Runtime, identity
from pocketvlm.runtime.loading import cores, usual_threads
from pocketvlm.student import tiny
from tests.export.remade import remade

TOKENS = "tokenizer.ggml.tokens"


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_file_is_named(pair: tuple[Path, Path], missing: int) -> None:
    files = list(pair)
    files[missing] = files[missing].with_name("gone.gguf")
    with pytest.raises(PocketError, match=r"gone\.gguf does not exist: run `pocketvlm convert`"):
        Runtime(*files)


@pytest.mark.parametrize("wrong", [0, 1])
@pytest.mark.parametrize("content", [b"", b"GG", b"<html>not found</html>"])
def test_a_file_of_another_kind_is_named(
    pair: tuple[Path, Path], tmp_path: Path, wrong: int, content: bytes
) -> None:
    files = list(pair)
    files[wrong] = tmp_path / "page.gguf"
    files[wrong].write_bytes(content)
    with pytest.raises(PocketError, match=r"page\.gguf is no GGUF file"):
        Runtime(*files)


@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.6, 0.999])
def test_a_file_cut_short_is_named(
    pair: tuple[Path, Path], tmp_path: Path, cut: int, share: float
) -> None:
    files = list(pair)
    data = files[cut].read_bytes()
    files[cut] = tmp_path / "cut.gguf"
    files[cut].write_bytes(data[: max(8, int(len(data) * share))])
    with pytest.raises(
        PocketError, match=r"cut\.gguf (is damaged|does not load) .*\(.+\): convert"
    ):
        Runtime(*files)


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_folder_and_a_file_without_tensors_are_named(
    pair: tuple[Path, Path], tmp_path: Path, wrong: int
) -> None:
    files = list(pair)
    files[wrong] = tmp_path
    with pytest.raises(PocketError, match="is a folder: name a GGUF file"):
        Runtime(*files)
    files[wrong] = tmp_path / "empty.gguf"
    files[wrong].write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 0))
    with pytest.raises(PocketError, match="it has no tensor"):
        Runtime(*files)


def test_a_model_without_image_tokens_is_named(pair: tuple[Path, Path], tmp_path: Path) -> None:
    tokens = gguf.GGUFReader(pair[0]).fields[TOKENS].contents()
    tokens[tokens.index(IMAGE)] = "<picture>"
    other = remade(pair[0], tmp_path / "other.gguf", {TOKENS: tokens})
    with pytest.raises(PocketError, match=r"other\.gguf has no token <image>: it is no SmolVLM's"):
        Runtime(other, pair[1])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("clip.vision.projector.scale_factor", 2, "mm.model.fc.weight has the shape"),
        ("clip.vision.projector.scale_factor", 1, "scale_factor is 1"),
        ("clip.vision.attention.head_count", 0, "head_count is 0"),
        ("clip.vision.block_count", 9, "v.blk.2.ln1.weight is missing"),
        ("clip.vision.image_size", 512, "v.position_embd.weight has the shape"),
    ],
)
def test_a_vision_file_that_would_end_the_process_is_refused(
    pair: tuple[Path, Path], tmp_path: Path, key: str, value: int, message: str
) -> None:
    bad = remade(pair[1], tmp_path / "bad.gguf", {key: value})
    with pytest.raises(PocketError, match=rf"bad\.gguf does not load \(.*{message}.*\): convert"):
        Runtime(pair[0], bad)


def test_a_vocabulary_that_would_end_the_process_is_refused(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    tokens = gguf.GGUFReader(pair[0]).fields[TOKENS].contents()
    tokens[7] = tokens[9]
    bad = remade(pair[0], tmp_path / "bad.gguf", {TOKENS: tokens})
    with pytest.raises(PocketError, match=r"bad\.gguf does not load \(the vocabulary has the"):
        Runtime(bad, pair[1])


def test_swapped_files_are_told_apart(pair: tuple[Path, Path]) -> None:
    text, vision = pair
    with pytest.raises(PocketError, match="CLIP cannot be used as main model"):
        Runtime(vision, text)
    with pytest.raises(PocketError, match=f"{text.name} does not load beside"):
        Runtime(text, text)


def test_files_of_different_models_name_both_widths(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    tiny.save_tiny(tmp_path / "wider", size="demo", side=128)
    export_vision(tmp_path / "wider", tmp_path / "wider.gguf", "F16", 128)
    with pytest.raises(PocketError) as caught:
        Runtime(pair[0], tmp_path / "wider.gguf")
    reason = "error: mismatch between text model (n_embd = 64) and mmproj (n_embd = 128)"
    assert f"(mtmd_init_from_file: {reason}" in str(caught.value)
    assert str(pair[0]) in str(caught.value)
    assert str(tmp_path / "wider.gguf") in str(caught.value)


def test_llama_cpp_prints_nothing(
    pair: tuple[Path, Path],
    contract: Contract,
    pictures: list[Bitmap],
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Runtime(*pair, threads=1) as runtime:
        runtime.answer(contract.prompt, pictures[0], 2)
    with pytest.raises(PocketError):
        Runtime(pair[1], pair[0])
    assert capfd.readouterr() == ("", "")


def test_a_closed_runtime_refuses_and_closes_again(
    pair: tuple[Path, Path], contract: Contract, pictures: list[Bitmap]
) -> None:
    with Runtime(*pair, threads=1) as runtime:
        runtime.tokens("a")
    runtime.close()
    for call in (
        lambda: runtime.tokens("a"),
        lambda: runtime.text([65]),
        lambda: runtime.ids(contract.prompt, pictures[0]),
        lambda: runtime.answer(contract.prompt, pictures[0], 1),
        lambda: runtime.embeddings(pictures[0]),
        lambda: runtime.text_logits(np.zeros((1, 64), np.float32)),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_threads_are_physical_cores_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert cores() == 1


def test_a_tiny_model_gets_one_thread(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketvlm.runtime.loading.cores", lambda: 7)
    large = tmp_path / "large.gguf"
    with large.open("wb") as file:
        file.truncate(100 * 2**20)
    assert usual_threads(pair[0]) == 1
    assert usual_threads(large) == 7


def test_the_number_of_threads_changes_no_answer(
    pair: tuple[Path, Path], runtime: Runtime, contract: Contract, pictures: list[Bitmap]
) -> None:
    with Runtime(*pair, threads=2) as two:
        ours, theirs = (r.logits(contract.prompt, pictures[0]) for r in (two, runtime))
    assert np.array_equal(ours, theirs)


def test_identity_names_the_build() -> None:
    found = identity()
    assert found["package"] == f"llama-cpp-python {version('llama-cpp-python')}"
    assert len(found["library"]) == 64
    assert "CPU" in found["system"]
    assert found == identity()
