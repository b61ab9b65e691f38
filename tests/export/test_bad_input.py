"""Bad input of the export: one line that names cause and mend, and nothing half-written."""

import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from pocketvlm.config import parse_config
from pocketvlm.errors import PocketError
from pocketvlm.export import convert, export_text, export_vision
from pocketvlm.project import Project

Spoil = Callable[[Path], None]
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
EMBEDDING = "model.text_model.embed_tokens.weight"
FEED_FORWARD = "model.text_model.layers.1.mlp.down_proj.weight"
TOWER = "model.vision_model.encoder.layers.1.mlp.fc1.weight"
PROJECTOR = "model.connector.modality_projection.proj.weight"


def listing(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, with what is in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def exports(model: Path, out: Path) -> list[Callable[[], object]]:
    """All ways to write the files of a model folder: text and vision in turn."""
    ways: list[Callable[[], object]] = []
    for type in ("F32", "F16", "Q8_0"):
        ways.append(partial(export_text, model, out / "text.gguf", type))
        ways.append(partial(export_vision, model, out / "vision.gguf", type, 128))
    return ways


def refused(model: Path, out: Path, which: str) -> str:
    """What the exports of `text`, `vision` or `both` say, of every type the same; nothing may be
    written."""
    said = set()
    out.mkdir(exist_ok=True)
    for number, way in enumerate(exports(model, out)):
        if which != "both" and ("text", "vision")[number % 2] != which:
            continue
        before = listing(out)
        with pytest.raises(PocketError) as caught:
            way()
        assert listing(out) == before
        said.add(str(caught.value))
    (message,) = said
    assert "\n" not in message
    return message


def change(folder: Path, how: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / WEIGHTS)
    how(weights)
    save_file(weights, folder / WEIGHTS)


def shard(folder: Path) -> list[str]:
    """Two files and an index; returns their names."""
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(weights)
    parts = {f"model-0000{n}-of-00002.safetensors": names[n - 1 :: 2] for n in (1, 2)}
    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in parts.items() for name in part}
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    return list(parts)


def edit(file: Path, how: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(file.read_text())
    how(value)
    file.write_text(json.dumps(value))


def test_a_missing_shard_is_named(model: Path, tmp_path: Path) -> None:
    second = shard(model)[1]
    (model / second).unlink()
    said = refused(model, tmp_path / "out", "both")
    assert said == f"{model / second} does not exist: run `pocketvlm merge` again"


def test_a_tensor_that_no_shard_has_is_named(model: Path, tmp_path: Path) -> None:
    first = shard(model)[0]
    edit(model / INDEX, lambda index: index["weight_map"].update({"model.of_nobody": first}))
    said = refused(model, tmp_path / "out", "both")
    assert "model.safetensors.index.json names the tensor model.of_nobody" in said
    assert f"{first} has none: " in said


def test_a_tensor_in_another_shard_than_the_index_says_is_named(
    model: Path, tmp_path: Path
) -> None:
    first, second = shard(model)
    weights = load_file(model / first)
    del weights[(name := sorted(weights)[0])]
    save_file(weights, model / first)
    said = refused(model, tmp_path / "out", "both")
    assert f"{INDEX} names the tensor {name}" in said
    assert second not in said


@pytest.mark.parametrize(
    "index",
    [
        [],
        {},
        {"weight_map": {}},
        {"weight_map": ["a"]},
        {"weight_map": {"a": 7}},
        {"weight_map": {"a": "../x"}},
    ],
)
def test_an_index_of_another_form_is_named(model: Path, tmp_path: Path, index: object) -> None:
    (model / INDEX).write_text(json.dumps(index))
    assert str(model / INDEX) in refused(model, tmp_path / "out", "both")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("which", "name"),
    [("text", EMBEDDING), ("text", FEED_FORWARD), ("vision", TOWER), ("vision", PROJECTOR)],
)
def test_weights_that_are_not_finite_are_named(
    model: Path, tmp_path: Path, which: str, name: str, dtype: torch.dtype, value: str
) -> None:
    def spoil(weights: dict[str, torch.Tensor]) -> None:
        for key, tensor in weights.items():
            weights[key] = tensor.to(dtype)
        weights[name][-1, -1] = float(value)

    change(model, spoil)
    said = refused(model, tmp_path / "out", which)
    assert f"{name} holds values that are not finite: training diverged; train again" in said


@pytest.mark.parametrize("rows", [-32, 32])
def test_an_embedding_of_another_size_than_the_vocabulary_is_named(
    model: Path, tmp_path: Path, rows: int
) -> None:
    def spoil(weights: dict[str, torch.Tensor]) -> None:
        table = weights[EMBEDDING]
        weights[EMBEDDING] = torch.cat([table, table])[: len(table) + rows].contiguous()

    change(model, spoil)
    said = refused(model, tmp_path / "out", "text")
    assert f"{EMBEDDING} has the shape" in said
    assert "use the config.json that belongs to the weights" in said


@pytest.mark.parametrize("rows", [-320, 32])
def test_a_vocabulary_of_another_size_is_named(model: Path, tmp_path: Path, rows: int) -> None:
    def resize(config: dict[str, Any]) -> None:
        config["text_config"]["vocab_size"] += rows

    edit(model / "config.json", resize)
    said = refused(model, tmp_path / "out", "text")
    assert ("vocab_size is" if rows < 0 else "config.json says") in said


def other_model(folder: Path) -> None:
    """A tokenizer as of another family: one that splits by words."""
    edit(folder / "tokenizer.json", lambda t: t.update(pre_tokenizer={"type": "Whitespace"}))


def word_pieces(folder: Path) -> None:
    edit(folder / "tokenizer.json", lambda t: t["model"].update(type="WordPiece"))


def no_pre_tokenizer(folder: Path) -> None:
    edit(folder / "tokenizer.json", lambda t: t.update(pre_tokenizer=None))


def emptied(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def a_list(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("[]")


def no_vocabulary(folder: Path) -> None:
    edit(folder / "tokenizer.json", lambda t: t["model"].pop("vocab"))


def no_added_tokens(folder: Path) -> None:
    edit(folder / "tokenizer.json", lambda t: t.pop("added_tokens"))


def cut(folder: Path) -> None:
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text[: len(text) // 2])


def gone(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def no_text(folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(b"\xff\xfe\x00binary")


@pytest.mark.parametrize(
    "spoil",
    [
        other_model,
        word_pieces,
        no_pre_tokenizer,
        emptied,
        a_list,
        no_vocabulary,
        no_added_tokens,
        cut,
        gone,
        no_text,
    ],
)
def test_another_tokenizer_is_named(model: Path, tmp_path: Path, spoil: Spoil) -> None:
    spoil(model)
    said = refused(model, tmp_path / "out", "text")
    assert "tokenizer.json" in said
    assert ": " in said.removeprefix(str(model))


@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl", None, 7])
def test_another_architecture_is_named(model: Path, tmp_path: Path, kind: object) -> None:
    edit(model / "config.json", lambda config: config.update(model_type=kind))
    said = refused(model, tmp_path / "out", "both")
    assert f"model_type is {kind!r}" in said
    assert "choose a SmolVLM or SmolVLM2 as base" in said


@pytest.mark.parametrize(
    ("section", "key", "value", "which"),
    [
        ("text_config", "hidden_size", 128, "text"),
        ("text_config", "num_hidden_layers", 3, "text"),
        ("text_config", "num_hidden_layers", 1, "text"),
        ("text_config", "num_key_value_heads", 2, "text"),
        ("text_config", "head_dim", 16, "text"),
        ("text_config", "model_type", "qwen2", "both"),
        ("text_config", "hidden_act", "gelu", "both"),
        ("vision_config", "hidden_size", 128, "vision"),
        ("vision_config", "num_hidden_layers", 1, "vision"),
        ("vision_config", "patch_size", 8, "vision"),
        ("vision_config", "image_size", 256, "vision"),
        ("vision_config", "hidden_act", "relu", "both"),
    ],
)
def test_a_config_of_other_weights_is_named(
    model: Path, tmp_path: Path, section: str, key: str, value: object, which: str
) -> None:
    edit(model / "config.json", lambda config: config[section].update({key: value}))
    said = refused(model, tmp_path / "out", which)
    assert "config.json" in said or "which no SmolVLM has" in said


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("text_config", "hidden_size", "wide"),
        ("text_config", "num_attention_heads", 0),
        ("text_config", "num_hidden_layers", -1),
        ("text_config", "rope_parameters", 7),
        ("vision_config", "patch_size", 0),
        ("vision_config", "image_size", [512, 512]),
        ("vision_config", "num_hidden_layers", 1.5),
    ],
)
def test_a_config_of_odd_values_is_named(
    model: Path, tmp_path: Path, section: str, key: str, value: object
) -> None:
    edit(model / "config.json", lambda config: config[section].update({key: value}))
    which = section.removesuffix("_config")
    assert "config.json" in refused(model, tmp_path / "out", which)


@pytest.mark.parametrize("content", ["[]", "7", "null", "{", ""])
def test_a_config_of_another_form_is_named(model: Path, tmp_path: Path, content: str) -> None:
    (model / "config.json").write_text(content)
    assert str(model / "config.json") in refused(model, tmp_path / "out", "both")


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "gone") in refused(tmp_path / "gone", tmp_path / "out", "both")


@pytest.mark.parametrize("share", [0.0, 1e-5, 0.01, 0.5, 0.999])
def test_a_checkpoint_cut_short_is_named(model: Path, tmp_path: Path, share: float) -> None:
    data = (model / WEIGHTS).read_bytes()
    (model / WEIGHTS).write_bytes(data[: int(len(data) * share)])
    said = refused(model, tmp_path / "out", "both")
    assert said.startswith(f"{model / WEIGHTS} is ")
    assert said.endswith("copy it again")


def safetensors(head: object) -> bytes:
    """A file with any head, and some bytes after it."""
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + bytes(64)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 64,
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 8) + b"\xff" * 8,
        struct.pack("<Q", 8) + b"not json",
        struct.pack("<Q", 40000) + b"[" * 40000,
        safetensors([]),
        safetensors({"x": 7}),
        safetensors({"x": {"dtype": "F32"}}),
        safetensors({"x": {"dtype": "F32", "shape": 4, "data_offsets": [0, 16]}}),
        safetensors({"x": {"dtype": "F32", "shape": ["4"], "data_offsets": [0, 16]}}),
        safetensors({"x": {"dtype": "F32", "shape": [4], "data_offsets": 16}}),
        safetensors({"x": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}}),
        safetensors({"x": {"dtype": "F32", "shape": [4], "data_offsets": [-8, 8]}}),
        safetensors({"x": {"dtype": "F32", "shape": [5], "data_offsets": [0, 16]}}),
        safetensors({"x": {"dtype": ["F32"], "shape": [4], "data_offsets": [0, 16]}}),
    ],
)
def test_a_checkpoint_with_a_damaged_head_is_named(
    model: Path, tmp_path: Path, content: bytes
) -> None:
    (model / WEIGHTS).write_bytes(content)
    said = refused(model, tmp_path / "out", "both")
    assert said.startswith(f"{model / WEIGHTS} is ")
    assert said.endswith("copy it again")


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(at=st.integers(0, 3000), value=st.binary(min_size=1, max_size=4))
def test_a_flipped_head_of_a_checkpoint_is_refused_or_read(
    pristine: Path, model: Path, tmp_path: Path, at: int, value: bytes
) -> None:
    data = bytearray((pristine / WEIGHTS).read_bytes())
    data[at : at + len(value)] = value
    (model / WEIGHTS).write_bytes(data)
    out = tmp_path / "out"
    for way in exports(model, out)[2:4]:
        before = listing(out)
        try:
            way()
        except PocketError as error:
            assert "\n" not in str(error)
            assert listing(out) == before


def project_of(model: Path) -> Project:
    """A workspace whose merged model is this one, with files of an older one in gguf/."""
    root = model.parent / "project"
    config = parse_config(
        {"device": {"side": 128}, "export": {"types": ["Q8_0", "Q4_0"], "mmproj": ["F16", "Q8_0"]}}
    )
    project = Project.of(config, root)
    root.mkdir()
    model.rename(project.workspace.merged)
    project.workspace.gguf.mkdir()
    for name in ("model-Q8_0.gguf", "model-F16.gguf", "mmproj-F16.gguf"):
        (project.workspace.gguf / name).write_bytes(b"older")
    return project


def diverged(folder: Path) -> None:
    change(folder, lambda weights: weights[PROJECTOR].fill_(float("nan")))


def diverged_text(folder: Path) -> None:
    change(folder, lambda weights: weights[FEED_FORWARD].fill_(float("inf")))


def llava(folder: Path) -> None:
    edit(folder / "config.json", lambda config: config.update(model_type="llava"))


def incomplete(folder: Path) -> None:
    (folder / shard(folder)[0]).unlink()


@pytest.mark.parametrize("spoil", [diverged, diverged_text, llava, incomplete, emptied])
def test_the_stage_leaves_no_half_written_file(model: Path, spoil: Spoil) -> None:
    spoil(model)
    project = project_of(model)
    before = listing(project.workspace.gguf)
    with pytest.raises(PocketError):
        convert(project)
    after = listing(project.workspace.gguf)
    assert after.keys() == before.keys()
    for name, content in after.items():
        assert content == b"older" or content.startswith(b"GGUF"), name
