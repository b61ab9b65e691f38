"""The whole configuration: `pocketvlm.yaml` read, overridden, checked and written.

A project is this file and the folder it lies in. An unknown key or a wrong value is a
`ConfigError` that names the key and the fix.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from pocketvlm.errors import ConfigError
from pocketvlm.prices import Price, with_known
from pocketvlm.sections import (
    Audit,
    Base,
    Device,
    Export,
    Gates,
    Prepare,
    Section,
    Task,
    Track,
    Train,
    Validate,
)
from pocketvlm.sources import Collect
from pocketvlm.teachers import Label, Teacher

NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)
"""What PyYAML raises: ValueError for a date such as 2020-99-99, RecursionError for deep nesting."""

RENAMED = {
    "teacher": "is a list: write `teachers:` with `- base_url: ...` below it",
    "train.connector": "write `train.vision: connector`",
    "train.batch": "write `train.effective_batch`, batch times accumulation",
    "convert": "write `export:`",
    "validate.min_accuracy": "write `gates.accuracy`; the lower bound has to reach it now",
    "train.accumulation": "write `train.effective_batch`, batch times accumulation",
}
"""Keys of older versions, and how they are spelt today."""


class Config(Section):
    """pocketvlm.yaml"""

    task: Annotated[Task, Field(description="What the student learns.")] = Task()
    device: Annotated[Device, Field(description="What the app on the phone does.")] = Device()
    base: Annotated[Base, Field(description="The pre-trained student.")] = Base()
    collect: Annotated[Collect, Field(description="Where pictures come from.")] = Collect()
    teachers: Annotated[
        tuple[Teacher, ...],
        Field(min_length=1, description="Who labels them; of several, the cheapest first."),
    ] = (Teacher(),)
    label: Annotated[Label, Field(description="Money and second opinions.")] = Label()
    prepare: Annotated[Prepare, Field(description="From answers to splits.")] = Prepare()
    train: Annotated[Train, Field(description="LoRA, as little of it as suffices.")] = Train()
    track: Annotated[Track, Field(description="Where a training can be watched.")] = Track()
    export: Annotated[Export, Field(description="The files for the phone.")] = Export()
    validate_: Annotated[Validate, Field(alias="validate", description="The verdict.")] = Validate()
    gates: Annotated[
        Gates, Field(description="What the shipped files must reach; empty: not judged.")
    ] = Gates()
    audit: Annotated[Audit, Field(description="What may differ between torch and llama.cpp.")] = (
        Audit()
    )

    prices: dict[str, Price] = Field(
        default_factory=dict,
        validate_default=True,
        description="What a teacher's model costs, USD a million tokens, with source and date.",
    )

    model_config = ConfigDict(populate_by_name=True)

    @field_validator("teachers")
    @classmethod
    def _different(cls, teachers: tuple[Teacher, ...]) -> tuple[Teacher, ...]:
        """One answer must not count as two opinions."""
        asked = [
            (one.model, one.temperature, one.reasoning_effort, one.max_side) for one in teachers
        ]
        if len(set(asked)) < len(asked):
            raise ValueError("two teachers would be the same model asked the same way: use repeats")
        return teachers

    @field_validator("collect")
    @classmethod
    def _sought_labels(cls, collect: Collect, info: ValidationInfo) -> Collect:
        """What is sought for a label that the task has not would never be topped up."""
        task: Task | None = info.data.get("task")  # None when it is wrong itself
        for name, (wanted, _) in collect.searched().items():
            if task and (unknown := set(wanted) - set(task.labels)):
                raise ValueError(f"{name}: {sorted(unknown)} are no labels of the task")
        return collect

    @field_validator("prices")
    @classmethod
    def _known(cls, prices: dict[str, Price]) -> dict[str, Price]:
        """Models that are known by themselves need no line."""
        return with_known(prices)


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> Config:
    """Read `path`, apply `key.path=value` overrides and validate; ConfigError on any mistake."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: run `pocketvlm init` or give -c FILE") from None
    except NOT_YAML as error:
        raise ConfigError(f"{path} is not YAML: {_where(error)}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold `section: ...` lines, not {type(data).__name__}")
    if "teachers" in data and data["teachers"] is None:
        raise ConfigError(f"{path}: teachers: is empty: name one below it, or remove the line")
    data = {name: section for name, section in data.items() if section is not None}
    for override in overrides:
        _override(data, override)
    return parse_config(data, str(path))


def _where(error: Exception) -> str:
    """What PyYAML found and where, without the lines that it shows: a key may stand there."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return str(error)


def parse_config(data: dict[str, Any], source: str = "configuration") -> Config:
    """Validate plain data; ConfigError names each wrong key and its fix."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        items = error.errors()
        inner = [item["loc"][:-1] for item in items]  # a list that lost an entry complains too
        lines = [_explain(dict(item)) for item in items if not _within(item["loc"], inner)]
        raise ConfigError(f"{source} is not valid:\n  " + "\n  ".join(lines)) from None


def _within(place: tuple[int | str, ...], places: Sequence[tuple[int | str, ...]]) -> bool:
    """Whether one of `places` lies at or below `place`."""
    return any(other[: len(place)] == place for other in places)


def _override(data: dict[str, Any], override: str) -> None:
    """Put one value in. No error shows it: it may be a key."""
    key, equals, value = override.partition("=")
    *sections, name = key.strip().split(".")
    if not equals or not name:
        raise ConfigError("--set: write --set section.key=value")
    if sections[:1] == ["teachers"]:
        data, sections = _teacher(data, key, sections[1:]), sections[2:]
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise ConfigError(f"--set {key}: {section} is not a section")
    try:
        data[name] = yaml.safe_load(value)
    except NOT_YAML:
        raise ConfigError(f"--set {key}: the value is not YAML; quote it") from None


def _teacher(data: dict[str, Any], key: str, place: list[str]) -> dict[str, Any]:
    """One entry of the list, counted from 0."""
    entries = data.setdefault("teachers", [{}])
    if not place or not place[0].isdecimal():
        raise ConfigError(f"--set {key}: write teachers.0.key=value; 0 is the first teacher")
    number = int(place[0])
    if not isinstance(entries, list) or number >= len(entries):
        raise ConfigError(f"--set {key}: the configuration has no teacher number {number}")
    entry = entries[number]
    if not isinstance(entry, dict):
        raise ConfigError(f"--set {key}: teachers.{number} is not a section")
    return entry


def _explain(error: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "file"
    if key in RENAMED:
        return f"{key}: {RENAMED[key]}"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; remove it or check its spelling (see `pocketvlm init`)"
    if error["loc"][0] == "task" and error["loc"][-1] == "[key]":
        label = error["input"]
        return f"task.labels: YAML reads a label as {label!r}: put it in quotes"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{key}: {message}"


def commented_yaml(config: Config) -> str:
    """The configuration as YAML with each field's documentation above it."""
    lines = ["# PocketVLM project. Every key is optional; these are the values in force."]
    for name, field in Config.model_fields.items():
        value = getattr(config, name)
        lines += ["", f"# {field.description}", f"{field.alias or name}:"]
        if isinstance(value, Section):
            lines += [f"  {line}" for line in _explained(value)]
        elif isinstance(value, tuple):
            lines += [line for entry in value for line in _entry(entry)]
        else:
            models = dict.fromkeys(teacher.model for teacher in config.teachers)
            used = [model for model in models if model in value]
            lines += [f"  {price_line(model, value[model])}" for model in used]
    return "\n".join(lines) + "\n"


def _explained(section: Section) -> list[str]:
    """The keys of a section, each below its documentation."""
    lines: list[str] = []
    values = section.model_dump(mode="json")
    for key, inner in type(section).model_fields.items():
        lines += [f"# {line}" for line in (inner.description or "").splitlines()]
        lines += _yaml({key: values[key]}).splitlines()
    return lines


def _entry(section: Section) -> list[str]:
    """The same as an entry of a list: the dash stands before the first key."""
    lines = _explained(section)
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return [
        f"  - {line}" if number == first else f"    {line}" for number, line in enumerate(lines)
    ]


def price_line(model: str, price: Price) -> str:
    """One model's price in one line: a table stays readable."""
    pair = [model, price.model_dump(mode="json")]
    key, values = (
        yaml.dump([part], Dumper=_Quoted, sort_keys=False, default_flow_style=True, width=10**6)
        for part in pair
    )
    return f"{key.strip()[1:-1]}: {values.strip()[1:-1]}"


class _Quoted(yaml.SafeDumper):
    """Writes text with line breaks, Unicode's too, as one double-quoted line: a prompt stays
    readable, and every break reads back as it was."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if text and text.splitlines() != [text] else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Quoted.add_representer(str, _text)


def _yaml(values: dict[str, Any]) -> str:
    return yaml.dump(values, Dumper=_Quoted, sort_keys=False, allow_unicode=True, width=200)
