"""pocketvlm.yaml: what is refused, with which words, and what `init` writes."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pocketvlm.config import Config, commented_yaml, load_config, parse_config
from pocketvlm.errors import ConfigError
from pocketvlm.sections import ELEMENTS

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"teachers": [{"modle": "x"}]}, r"teachers\.0\.modle: unknown key; remove it"),
    ({"teacher": {"model": "x"}}, r"teacher: is a list: write `teachers:`"),
    ({"colour": 1}, r"colour: unknown key"),
    ({"task": {"labels": {"fresh water": "seas", "fire": "flames"}}}, r"task\.labels: .*one word"),
    ({"task": {"labels": {"cat": "x", "dog": "y"}}}, r"task: question still asks for the five"),
    ({"task": {"labels": {True: "x", "fire": "y"}}}, r"task\.labels: .*True: put it in quotes"),
    ({"task": {"labels": {"water": "seas"}}}, r"task\.labels: .*at least two"),
    ({"task": {"labels": {"none": "x", "fire": "flames"}}}, r"task\.labels: .*rename the label"),
    ({"task": {"labels": {"None": "x", "fire": "flames"}}}, r"task\.labels: .*rename the label"),
    ({"task": {"labels": {"None.": "x", "fire": "flames"}}}, r"task\.labels: .*rename the label"),
    ({"task": {"labels": {"Fire": "x", "fire": "flames"}}}, r"task\.labels: .*'fire' .*rename one"),
    ({"task": {"labels": {"fire.": "x", "Fire": "flames"}}}, r"task\.labels: .*rename one"),
    ({"task": {"labels": {"...": "x", "fire": "flames"}}}, r"task\.labels: .*one word"),
    ({"task": {"labels": {"<b>": "x", "fire": "flames"}}}, r"task\.labels: .*one word"),
    ({"task": {"question": "What {marker}?"}}, r"task\.question: .*device\.prompt only"),
    ({"device": {"side": 200}}, r"device\.side: 200 is no multiple of 64: use 192"),
    ({"device": {"side": 0}}, r"device\.side: 0 is no multiple of 64: use 64"),
    ({"device": {"vision_size": 300}}, r"device\.vision_size: .*use 320"),
    ({"device": {"side": 256, "vision_size": 512}}, r"device: .*set both to the same"),
    ({"device": {"prompt": "{question}"}}, r"device\.prompt: .*0 markers"),
    ({"device": {"prompt": "{marker}<__media__>{question}"}}, r"device\.prompt: .*2 markers"),
    ({"device": {"prompt": "{marker}\n{question} "}}, r"device\.prompt: .*white space"),
    ({"device": {"resize": "bicubic"}}, r"device\.resize: "),
    ({"device": {"max_new_tokens": 33}}, r"device\.max_new_tokens: "),
    ({"train": {"learning_rate": float("inf")}}, r"train\.learning_rate: .*finite"),
    ({"gates": {"accuracy": float("nan")}}, r"gates\.accuracy: .*finite"),
    ({"validate": {"truth": "known"}}, r"validate: truth: known needs truth_file"),
    ({"validate": {"truth_file": "t.jsonl"}}, r"validate: truth: known needs truth_file"),
    ({"export": {"types": []}}, r"export\.types: "),
    ({"export": {"types": ["Q9"]}}, r"export\.types\.0: "),
    ({"task": None}, r"task: "),
]


@pytest.mark.parametrize(("data", "message"), WRONG)
def test_a_mistake_names_its_key(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_config(data)
    assert caught.value.exit_code == 2


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"device": {"side": 100}, "train": {"rank": 0}, "x": 1})
    assert all(key in str(caught.value) for key in ("device.side", "train.rank", "x: unknown"))


def test_the_default_is_the_five_elements() -> None:
    task = parse_config({}).task
    assert list(task.labels) == ["water", "land", "fire", "wood", "metal"]
    assert task.labels == ELEMENTS


def test_what_init_writes_reads_back_the_same(tmp_path: Path) -> None:
    config = parse_config({"device": {"prompt": "{marker}\n\n{question}\n # é:"}})
    path = tmp_path / "pocketvlm.yaml"
    path.write_text(commented_yaml(config), encoding="utf-8")
    assert load_config(path) == config


@example("\x85", "\u2028 a\x85")
@settings(max_examples=60, deadline=None)
@given(question=st.text(max_size=300), definition=st.text(max_size=300))
def test_any_text_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, question: str, definition: str
) -> None:
    config = parse_config(
        {"task": {"question": question, "labels": {"a": definition, "größe": "x: #"}}}
    )
    path = tmp_path_factory.mktemp("config") / "pocketvlm.yaml"
    path.write_bytes(commented_yaml(config).encode())
    assert load_config(path) == config


def test_what_init_writes_explains_every_key() -> None:
    lines = commented_yaml(Config()).partition("\nprices:")[0].splitlines()
    for number, line in enumerate(lines):
        if line.startswith("  ") and line[2].isalpha():
            assert lines[number - 1].startswith("  # "), line


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "pocketvlm.yaml"
    path.write_text("# nothing yet\n")
    assert load_config(path) == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"task: [", "is not YAML"),
        (b"- a\n- b\n", "must hold .* not list"),
        (b"a: \xff\xfe\n", "is not YAML"),
        (b"a: 2020-99-99\n", "is not YAML"),
        (b"a: !!int x\n", "is not YAML"),
        (b"[" * 3000, "is not YAML"),
        (b"a: !!python/object/apply:os.getcwd []\n", "is not YAML"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "pocketvlm.yaml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_an_empty_section_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "pocketvlm.yaml").write_text("train:\ndevice:\n  side: 128\n")
    assert load_config(tmp_path / "pocketvlm.yaml") == parse_config({"device": {"side": 128}})


def test_a_missing_file_names_init(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pocketvlm init"):
        load_config(tmp_path / "pocketvlm.yaml")


def test_overrides_are_yaml_and_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "pocketvlm.yaml"
    path.write_text(yaml.safe_dump({"train": {"epochs": 9}}))
    overrides = ("train.epochs=2", "export.types=[F16, Q8_0]", "teachers.0.model=a=b")
    config = load_config(path, overrides)
    assert config.train.epochs == 2
    assert config.export.types == ("F16", "Q8_0")
    assert config.teachers[0].model == "a=b"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs", "write --set section.key=value"),
        ("=2", "write --set section.key=value"),
        ("device.side.x=2", "side is not a section"),
        ("train.epochs=[", "the value is not YAML"),
        ("collect.licence=2020-99-99", "the value is not YAML"),
        ("train.epoch=2", "train.epoch: unknown key"),
    ],
)
def test_a_wrong_override(tmp_path: Path, override: str, message: str) -> None:
    path = tmp_path / "pocketvlm.yaml"
    path.write_text("device: {side: 256}\n")
    with pytest.raises(ConfigError, match=message):
        load_config(path, (override,))


@pytest.mark.parametrize("written", ["off", "'off'", "false"])
def test_off_needs_no_quotes(tmp_path: Path, written: str) -> None:
    """YAML reads a plain `off` as false."""
    path = tmp_path / "pocketvlm.yaml"
    path.write_text(f"track:\n  wandb: {written}\n")
    assert load_config(path).track.wandb == "off"
    assert load_config(path, (f"track.wandb={written}",)).track.wandb == "off"


@pytest.mark.parametrize("size", ["big", 0, -1, 1.5, True])
def test_a_wrong_batch_size_is_told_in_one_line(size: object) -> None:
    with pytest.raises(ConfigError, match=r"train\.batch_size: write auto or a number") as told:
        parse_config({"train": {"batch_size": size}})
    assert len(str(told.value).splitlines()) == 2


@pytest.mark.parametrize("name", ["", "a/b", "a b", "a:b"])
def test_a_project_that_wandb_refuses_is_refused_first(name: str) -> None:
    with pytest.raises(ConfigError, match=r"track\.project: write a name"):
        parse_config({"track": {"project": name}})


@pytest.mark.parametrize("old", ["connector", "batch", "accumulation"])
def test_older_keys_name_the_new_one(old: str) -> None:
    with pytest.raises(ConfigError, match=rf"train\.{old}: write `train\."):
        parse_config({"train": {old: 1}})
