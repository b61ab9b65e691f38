"""Where the pre-trained student comes from, and that its tokenizer is SmolVLM's."""

import os
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

from pocketvlm.base import (
    LARGE,
    RECORD,
    BaseUnreachable,
    check_labels,
    encoder,
    find_base,
    load_tokenizer,
)
from pocketvlm.config import parse_config
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.project import Project
from pocketvlm.sections import ELEMENTS
from pocketvlm.workspace import sha256_file, write_json


def project(root: Path, model: str, **task: object) -> Project:
    """A project on some base."""
    return Project.of(parse_config({"base": {"model": model}, "task": task}), root)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with a small tokenizer of SmolVLM's kind and invented weights."""
    from pocketvlm.student.tiny import tiny_tokenizer

    folder = tmp_path / "base"
    folder.mkdir()
    tiny_tokenizer(ELEMENTS).save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_a_local_base_is_known_by_its_files(tmp_path: Path, base: Path) -> None:
    found = find_base(project(tmp_path, "base"))
    assert found.folder == base
    names = ("model.safetensors", "tokenizer.json", "tokenizer_config.json")
    hashes = {name: sha256_file(base / name) for name in names}
    assert found.record == {"model": "base", "revision": None, "sha256": hashes}


def test_large_weights_are_read_once(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base / "model.safetensors").write_bytes(bytes(LARGE))
    made = project(tmp_path, "base")
    first = find_base(made).record
    read = list[Path]()

    def reading(path: Path) -> str:
        read.append(path)
        return sha256_file(path)

    monkeypatch.setattr("pocketvlm.base.sha256_file", reading)
    assert find_base(made).record == first
    assert {path.name for path in read} == {"tokenizer.json", "tokenizer_config.json"}


@pytest.mark.parametrize("size", [7, LARGE])
def test_weights_that_change_are_noticed(tmp_path: Path, base: Path, size: int) -> None:
    """Also when neither size nor modification time tell, as after `cp --preserve`."""
    weights = base / "model.safetensors"
    weights.write_bytes(bytes(size))
    made, facts = project(tmp_path, "base"), weights.stat()
    before = find_base(made).record["sha256"]["model.safetensors"]
    weights.write_bytes(b"x" * size)
    os.utime(weights, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    after = find_base(made).record["sha256"]["model.safetensors"]
    assert before != after == sha256_file(weights)


def test_a_tokenizer_that_was_cut_short_is_named(tmp_path: Path, base: Path) -> None:
    (base / "tokenizer.json").write_text("{")
    with pytest.raises(PocketError, match=r"tokenizer\.json is no tokenizer"):
        load_tokenizer(base)


def test_a_name_that_is_neither_folder_nor_hub_id(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"base\.model: 'no/such/folder' is neither a folder"):
        find_base(project(tmp_path, "no/such/folder"))


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub is out of reach; its cache, in a folder of its own, holds two commits."""
    from huggingface_hub import constants

    cache = tmp_path / "cache"
    repo = cache / "models--maker--student"
    for commit in ("a" * 40, "b" * 40):
        (repo / "snapshots" / commit).mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("b" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return repo / "snapshots"


def test_a_base_that_is_not_cached_needs_the_hub(tmp_path: Path, offline: Path) -> None:
    with pytest.raises(
        BaseUnreachable, match=r"connect once, or set base\.model to a local folder"
    ):
        find_base(project(tmp_path, "maker/other"))


def test_a_branch_becomes_a_commit(tmp_path: Path, offline: Path) -> None:
    found = find_base(project(tmp_path, "maker/student"))
    assert found.folder == offline / ("b" * 40)
    assert found.record == {"model": "maker/student", "revision": "main", "commit": "b" * 40}


def test_the_commit_of_the_first_load_is_kept(tmp_path: Path, offline: Path) -> None:
    made = project(tmp_path, "maker/student")
    first = find_base(made).record
    (offline.parent / "refs" / "main").write_text("a" * 40)
    assert find_base(made).record == first
    other = Project.of(
        parse_config({"base": {"model": "maker/student", "revision": "a" * 40}}), tmp_path
    )
    assert find_base(other).record["commit"] == "a" * 40


def test_the_adapters_commit_is_kept_when_the_branch_moves(tmp_path: Path, offline: Path) -> None:
    made = project(tmp_path, "maker/student")
    known = {"model": "maker/student", "revision": "main", "commit": "a" * 40}
    write_json(made.workspace.adapter / RECORD, known)
    assert find_base(made).record == known
    write_json(made.workspace.adapter / RECORD, known | {"model": "maker/another"})
    assert find_base(made).record["commit"] == "b" * 40


def test_special_tokens_are_parsed_and_none_added(base: Path) -> None:
    tokenizer = load_tokenizer(base)
    start = ("<|im_start|>", tokenizer.token_to_id("<|im_start|>"))
    template = TemplateProcessing(single="<|im_start|> $A", special_tokens=[start])
    tokenizer.post_processor = template  # as tokenizers that begin every text do
    encode = encoder(tokenizer)
    assert len(encode("<image>")) == len(encode("<end_of_utterance>")) == 1
    assert encode("<image>\n\n") == encode("<image>") + encode("\n\n")
    assert len(encode("\n\n")) == 1
    assert encode("") == []


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(PocketError, match=r"tokenizer\.json does not exist"):
        load_tokenizer(tmp_path)


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    Tokenizer(WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(PocketError, match="has no token <image>: it is not SmolVLM's"):
        load_tokenizer(tmp_path)


def test_labels_are_checked_with_the_bases_own_tokenizer(tmp_path: Path, base: Path) -> None:
    check_labels(project(tmp_path, "base"))
    labels = {"zqx": "x", "zqxzqx": "y"}
    with pytest.raises(ConfigError, match="tokens of 'zqxzqx' begin with those of 'zqx'"):
        check_labels(project(tmp_path, "base", question="Which?", labels=labels))
