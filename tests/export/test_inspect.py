"""What `inspect` says of GGUF files, our own and others', and what it warns of."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from pocketvlm.contract import END, IMAGE, Contract
from pocketvlm.export import export_text, export_vision
from pocketvlm.export.inspect import inspect, table
from pocketvlm.project import Project
from pocketvlm.workspace import sha256_file
from tests.export.remade import remade, version_1
from tests.test_cli import pocketvlm

Pair = tuple[Path, Path]
HASH = "0123456789abcdef"
TOKENS = "tokenizer.ggml.tokens"
TYPES = "tokenizer.ggml.token_type"


@pytest.fixture(scope="session")
def pair(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("inspect")
    files = folder / "model-Q8_0.gguf", folder / "mmproj-F16.gguf"
    export_text(pristine, files[0], "Q8_0", HASH)
    export_vision(pristine, files[1], "F16", 128, HASH)
    return files


def row(file: Path, contract: str | None = None) -> dict[str, Any]:
    """What is said of one file; it must also be JSON and a table."""
    figures = inspect([file], contract)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert str(file) in table(figures) or "error" in figures["files"][0]
    found: dict[str, Any] = figures["files"][0]
    return found


def warned(file: Path, contract: str | None = None) -> str:
    """The one warning about a file."""
    (warning,) = row(file, contract)["warnings"]
    return str(warning)


def value(file: Path, key: str) -> Any:
    return gguf.GGUFReader(file).fields[key].contents()


def without(tokens: Sequence[str], file: Path) -> list[str]:
    """The vocabulary with these tokens called otherwise."""
    return [f"was {token}" if token in tokens else token for token in value(file, TOKENS)]


def test_our_own_files_are_described_without_a_warning(pair: Pair) -> None:
    text, vision = (row(file) for file in pair)
    assert text["warnings"] == vision["warnings"] == inspect(pair)["warnings"] == []
    assert (text["kind"], text["architecture"], text["type"]) == ("text model", "llama", "Q8_0")
    assert (vision["kind"], vision["architecture"]) == ("vision file", "clip")
    for file, found in zip(pair, (text, vision), strict=True):
        reader = gguf.GGUFReader(file)
        assert found["parameters"] == sum(tensor.n_elements for tensor in reader.tensors)
        assert found["sha256"] == sha256_file(file)
        assert found["bytes"] == file.stat().st_size
        assert found["contract"] == {"hash": HASH, "of_this_project": None}
    assert text["sizes"]["embedding_length"] == 64
    assert text["tokenizer"]["names"]["eos"][1] == END
    assert text["tokenizer"]["pre"] == "smollm"
    assert text["tokenizer"]["tokens"] == len(value(pair[0], TOKENS))
    assert text["tokenizer"]["missing"] == []


def test_shares_are_those_of_the_tensors(pair: Pair) -> None:
    stored = row(pair[0])["stored"]
    assert list(stored) == ["Q8_0", "F32"]
    for name, found in stored.items():
        same = [one for one in gguf.GGUFReader(pair[0]).tensors if one.tensor_type.name == name]
        assert found["tensors"] == len(same)
        assert found["parameters"] == sum(one.n_elements for one in same)
        assert found["bytes"] == sum(one.n_bytes for one in same)
    for share in ("parameters_share", "bytes_share"):
        assert sum(found[share] for found in stored.values()) == pytest.approx(1)
    assert stored["Q8_0"]["bytes_share"] < stored["Q8_0"]["parameters_share"]


@pytest.mark.parametrize(
    ("enlarged", "tiles", "tokens"), [(64, 2, 8), (128, 2, 8), (129, 5, 20), (512, 17, 68)]
)
def test_tiles_and_image_tokens_follow_from_the_keys(
    pair: Pair, tmp_path: Path, enlarged: int, tiles: int, tokens: int
) -> None:
    """tests/runtime/test_inspected.py asks llama.cpp itself."""
    file = remade(pair[1], tmp_path / "a.gguf", {"clip.vision.preproc_image_size": enlarged})
    found = row(file)["vision"]
    assert (found["tile_tokens"], found["tiles"], found["image_tokens"]) == (4, tiles, tokens)


def test_the_table_shows_every_key_by_which_a_file_says_what_it_is(
    pair: Pair, tmp_path: Path
) -> None:
    keys = {
        "general.license": "apache-2.0",
        "general.base_model.0.name": "SmolVLM 256M Instruct",
        "general.tags": ["vision", "phone"],
        "pocketvlm.pictures.train": 4321,
        "pocketvlm.of_tomorrow": "something new\nin two lines \x1b[31m",
    }
    text = table(inspect([remade(pair[0], tmp_path / "model-Q8_0.gguf", keys)], HASH))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "license apache-2.0" in lines
    assert "base_model.0.name SmolVLM 256M Instruct" in lines
    assert "tags vision, phone" in lines
    assert "pocketvlm.pictures.train 4321" in lines
    assert "pocketvlm.of_tomorrow something new in two lines ?[31m" in lines
    assert f"pocketvlm.contract {HASH} (this project's)" in lines
    assert "file_type 7 (Q8_0)" in lines
    assert "mind:" not in text


def test_2048_pixel_tiling_is_warned_of(pristine: Path, tmp_path: Path) -> None:
    export_vision(pristine, tmp_path / "own.gguf", "F16", 512)
    stock = remade(
        tmp_path / "own.gguf", tmp_path / "a.gguf", {"clip.vision.preproc_image_size": 2048}
    )
    assert "enlarged to 2,048 px: 17 tiles, 1,088 image tokens" in warned(stock)
    assert "which writes 512" in warned(stock)
    absent = remade(
        tmp_path / "own.gguf", tmp_path / "b.gguf", {"clip.vision.preproc_image_size": None}
    )
    assert "preproc_image_size is missing" in warned(absent)
    assert "up to 5 tiles, 320 image tokens" in warned(absent)
    assert row(absent)["vision"]["tiles"] is None


def test_a_side_that_loses_pixels_is_warned_of(pair: Pair, tmp_path: Path) -> None:
    def rows(name: str, data: NDArray[Any]) -> NDArray[Any]:
        return np.resize(data, (81, data.shape[1])) if name == "v.position_embd.weight" else data

    keys = {"clip.vision.image_size": 144, "clip.vision.preproc_image_size": 144}
    odd = remade(pair[1], tmp_path / "a.gguf", keys, tensors=rows)
    assert "the tower's side 144 is no multiple of 64" in warned(odd)
    assert "set device.side to 128" in warned(odd)


@pytest.mark.parametrize("name", ["eos", "eot"])
def test_another_end_token_is_warned_of(pair: Pair, tmp_path: Path, name: str) -> None:
    end = {f"tokenizer.ggml.{name}_token_id": 2}
    other = remade(pair[0], tmp_path / "a.gguf", end)
    assert f"{name}_token_id is 2 (<|im_end|>), not that of {END}" in warned(other)
    end = {f"tokenizer.ggml.{name}_token_id": 2**31}
    outside = remade(pair[0], tmp_path / "b.gguf", end)
    assert f"{name}_token_id is 2147483648 (no token)" in warned(outside)


def test_a_missing_end_token_is_warned_of(pair: Pair, tmp_path: Path) -> None:
    absent = remade(pair[0], tmp_path / "a.gguf", {"tokenizer.ggml.eos_token_id": None})
    assert "eos_token_id is missing" in warned(absent)
    turn = remade(pair[0], tmp_path / "b.gguf", {"tokenizer.ggml.eot_token_id": None})
    assert row(turn)["warnings"] == []  # as llama.cpp's own converter writes it


@pytest.mark.parametrize(("pre", "said"), [("default", "is default"), (None, "is missing")])
def test_another_pre_tokenizer_is_warned_of(
    pair: Pair, tmp_path: Path, pre: str | None, said: str
) -> None:
    other = remade(pair[0], tmp_path / "a.gguf", {"tokenizer.ggml.pre": pre})
    assert f"tokenizer.ggml.pre {said}, not smollm" in warned(other)


def test_missing_special_tokens_are_warned_of(pair: Pair, tmp_path: Path) -> None:
    tokens = without([IMAGE, "<row_1_col_1>"], pair[0])
    other = remade(pair[0], tmp_path / "a.gguf", {TOKENS: tokens})
    assert f"the vocabulary has no <row_1_col_1>, {IMAGE}:" in warned(other)
    assert row(other)["tokenizer"]["missing"] == [IMAGE, "<row_1_col_1>"]


def test_special_tokens_that_are_plain_text_are_warned_of(pair: Pair, tmp_path: Path) -> None:
    types = value(pair[0], TYPES)
    types[value(pair[0], TOKENS).index(IMAGE)] = 1
    other = remade(pair[0], tmp_path / "a.gguf", {TYPES: types})
    assert f"{IMAGE} would be read as plain text" in warned(other)


def test_a_token_that_is_there_twice_is_warned_of(pair: Pair, tmp_path: Path) -> None:
    tokens = value(pair[0], TOKENS)
    tokens[7] = tokens[9]
    other = remade(pair[0], tmp_path / "a.gguf", {TOKENS: tokens})
    assert "twice: llama.cpp ends the app's process" in warned(other)


def test_a_name_that_misleads_is_warned_of(pair: Pair, tmp_path: Path) -> None:
    said = remade(pair[0], tmp_path / "a.gguf", {"general.file_type": 15})
    assert "general.file_type says Q4_K_M, but the weights are 100% Q8_0, 0% Q4_K" in warned(said)
    assert "do not divide into its blocks of 256" in warned(said)
    named = remade(pair[0], tmp_path / "model-q4_0.gguf")
    assert "the file's name says Q4_0, but the weights are 100% Q8_0, 0% Q4_0:" in warned(named)


@pytest.mark.parametrize("name", ["model-Q8_0", "q8_0", "SmolVLM.Q8_0", "a-q8_0-00001", "F1600"])
def test_a_name_that_fits_is_not(pair: Pair, tmp_path: Path, name: str) -> None:
    assert row(remade(pair[0], tmp_path / f"{name}.gguf"))["warnings"] == []


def test_twice_the_size_is_warned_of(pristine: Path, tmp_path: Path) -> None:
    export_text(pristine, tmp_path / "text.gguf", "F32")
    export_vision(pristine, tmp_path / "vision.gguf", "F32", 512)
    assert "F32 is twice as large as needed" in warned(tmp_path / "text.gguf")
    assert "F32 is twice as large as needed" in warned(tmp_path / "vision.gguf")


def test_another_projects_contract_is_warned_of(pair: Pair) -> None:
    assert row(pair[0], HASH)["contract"]["of_this_project"]
    assert row(pair[0], HASH)["warnings"] == []
    assert row(pair[0], "other")["contract"]["of_this_project"] is False
    assert "made for another contract" in warned(pair[0], "other")


def test_files_that_do_not_fit_together_are_warned_of(pair: Pair, tmp_path: Path) -> None:
    keys = {"clip.vision.projection_dim": 96, "pocketvlm.contract": "another"}
    other = remade(pair[1], tmp_path / "mmproj.gguf", keys)
    width, contract = inspect([other, pair[0]])["warnings"]
    assert "model-Q8_0.gguf and mmproj.gguf do not fit: embeddings of 64 and of 96" in width
    assert "were made for different contracts" in contract
    assert f"mind: {width}" in table(inspect([other, pair[0]]))
    assert inspect([other, pair[1]])["warnings"] == []


def written(path: Path, architecture: str, keys: dict[str, Any], split: int = 0) -> Path:
    """A file of another tool: two matrices under names of its own."""
    writer = gguf.GGUFWriter(None, architecture, split_max_tensors=split)
    for key, content in keys.items():
        writer.add_key_value(key, content, gguf.GGUFValueType.get_type(content))
    for name in ("x", "y", "z"):
        writer.add_tensor(name, np.ones((4, 8), np.float16))
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("architecture", "keys", "kind"),
    [
        ("qwen2", {"tokenizer.ggml.tokens": ["a", "b"], "qwen2.block_count": 1}, "text model"),
        ("bert", {"bert.pooling_type": 1}, "embedding model"),
        ("qwen3", {"qwen3.pooling_type": 3}, "embedding model"),
        ("llama", {"general.type": "adapter", "adapter.lora.alpha": 16.0}, "LoRA adapter"),
        ("clip", {"clip.projector_type": "mlp", "clip.vision.image_size": 336}, "vision file"),
        ("clip", {"clip.has_vision_encoder": False}, "audio file"),
        ("of-tomorrow", {"of-tomorrow.scale": float("nan")}, "text model"),
    ],
)
def test_files_of_other_tools_are_described(
    tmp_path: Path, architecture: str, keys: dict[str, Any], kind: str
) -> None:
    found = row(written(tmp_path / "a.gguf", architecture, keys))
    assert (found["kind"], found["architecture"]) == (kind, architecture)
    assert found["parameters"] == 96
    assert found["warnings"] == []


def test_keys_of_an_unexpected_kind_are_described(pair: Pair, tmp_path: Path) -> None:
    keys = {
        "general.file_type": "Q8_0",
        "tokenizer.ggml.tokens": 7,
        "tokenizer.ggml.eos_token_id": "two",
        "split.count": "three",
        "llama.block_count": [1, 2],
    }
    found = row(written(tmp_path / "a.gguf", "llama", keys))
    assert (found["type"], found["tokenizer"], found["part"]) == (None, None, None)


def test_older_and_foreign_forms_are_described(pair: Pair, tmp_path: Path) -> None:
    first = row(version_1(tmp_path / "first.gguf"))
    assert first["version"] == 1
    assert any("version 1: llama.cpp does not read it" in one for one in first["warnings"])
    for file in pair:
        big = remade(file, tmp_path / file.name, big_endian=True)
        assert "big-endian: phones are little-endian" in warned(big)
        assert row(big)["parameters"] == row(file)["parameters"]


def test_the_parts_of_a_split_model_are_described(tmp_path: Path) -> None:
    written(tmp_path / "a.gguf", "llama", {}, split=1)
    names = [f"a-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    rows = [row(tmp_path / name) for name in names]
    assert [found["part"] for found in rows] == [[1, 3], [2, 3], [3, 3]]
    assert all("one of 3 parts" in found["warnings"][0] for found in rows)


def test_the_command_shows_and_warns_with_exit_code_0(pair: Pair, tmp_path: Path) -> None:
    other = remade(pair[0], tmp_path / "a.gguf", {"tokenizer.ggml.pre": "default"})
    done = pocketvlm("inspect", pair[1], other, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{other}: text model (llama)" in done.stdout
    assert "mind: tokenizer.ggml.pre is default" in done.stdout


def test_the_command_names_broken_files_with_exit_code_1(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(pair[0].read_bytes()[:999])
    done = pocketvlm("inspect", tmp_path / "cut.gguf", tmp_path, pair[1], "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert "cut.gguf is damaged (cut short in" in done.stderr
    assert "is a folder" in done.stderr
    assert "Traceback" not in done.stderr
    broken, folder, whole = json.loads(done.stdout)["files"]
    assert broken.keys() == folder.keys() == {"file", "error"}
    assert whole["kind"] == "vision file"


def test_the_command_knows_the_project(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "pocketvlm.yaml").write_text(yaml.safe_dump({"device": {"side": 128}}))
    ours: Contract = Project.load(tmp_path / "pocketvlm.yaml").contract
    file = remade(pair[0], tmp_path / "a.gguf", {"pocketvlm.contract": ours.hash})
    done = pocketvlm("inspect", file, pair[1], cwd=tmp_path)
    assert f"{ours.hash} (this project's)" in done.stdout
    assert f"{HASH} (another project's)" in done.stdout
    assert "a.gguf and mmproj-F16.gguf were made for different contracts" in done.stdout
