"""The whole configuration: `pocketvlm.yaml` read, overridden, checked and written.

A project is this file and the folder it lies in. An unknown key or a wrong value is a
`ConfigError` that names the key and the fix.
"""

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import ConfigDict, Field, ValidationError

from pocketvlm.errors import ConfigError
from pocketvlm.sections import (
    Audit,
    Base,
    Collect,
    Convert,
    Device,
    Prepare,
    Section,
    Task,
    Teacher,
    Train,
    Validate,
)

NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)
"""What PyYAML raises: ValueError for a date such as 2020-99-99, RecursionError for deep nesting."""


class Config(Section):
    """pocketvlm.yaml"""

    task: Annotated[Task, Field(description="What the student learns.")] = Task()
    device: Annotated[Device, Field(description="What the app on the phone does.")] = Device()
    base: Annotated[Base, Field(description="The pre-trained student.")] = Base()
    collect: Annotated[Collect, Field(description="Where pictures come from.")] = Collect()
    teacher: Annotated[Teacher, Field(description="Who labels them.")] = Teacher()
    prepare: Annotated[Prepare, Field(description="From answers to splits.")] = Prepare()
    train: Annotated[Train, Field(description="LoRA on the text model.")] = Train()
    convert: Annotated[Convert, Field(description="The files for the phone.")] = Convert()
    validate_: Annotated[Validate, Field(alias="validate", description="The verdict.")] = Validate()
    audit: Annotated[Audit, Field(description="What may differ between torch and llama.cpp.")] = (
        Audit()
    )

    model_config = ConfigDict(populate_by_name=True)


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> Config:
    """Read `path`, apply `key.path=value` overrides and validate; ConfigError on any mistake."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: run `pocketvlm init` or give -c FILE") from None
    except NOT_YAML as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold `section: ...` lines, not {type(data).__name__}")
    data = {name: section for name, section in data.items() if section is not None}
    for override in overrides:
        _override(data, override)
    return parse_config(data, str(path))


def parse_config(data: dict[str, Any], source: str = "configuration") -> Config:
    """Validate plain data; ConfigError names each wrong key and its fix."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        lines = [_explain(dict(item)) for item in error.errors()]
        raise ConfigError(f"{source} is not valid:\n  " + "\n  ".join(lines)) from None


def _override(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    *sections, name = key.strip().split(".")
    if not equals or not name:
        raise ConfigError(f"--set {override!r}: write --set section.key=value")
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise ConfigError(f"--set {override!r}: {section} is not a section")
    try:
        data[name] = yaml.safe_load(value)
    except NOT_YAML:
        raise ConfigError(f"--set {override!r}: the value is not YAML; quote it") from None


def _explain(error: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "file"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; remove it or check its spelling (see `pocketvlm init`)"
    if error["loc"][-1] == "[key]":
        label = error["input"]
        return f"task.labels: YAML reads a label as {label!r}: put it in quotes"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{key}: {message}"


def commented_yaml(config: Config) -> str:
    """The configuration as YAML with each field's documentation above it."""
    lines = ["# PocketVLM project. Every key is optional; these are the values in force."]
    for name, field in Config.model_fields.items():
        section: Section = getattr(config, name)
        lines += ["", f"# {field.description}", f"{field.alias or name}:"]
        values = section.model_dump(mode="json")
        for key, inner in type(section).model_fields.items():
            lines += [f"  # {line}" for line in (inner.description or "").splitlines()]
            lines += [f"  {line}" for line in _yaml({key: values[key]}).splitlines()]
    return "\n".join(lines) + "\n"


class _Quoted(yaml.SafeDumper):
    """Writes text with line breaks, Unicode's too, as one double-quoted line: a prompt stays
    readable, and every break reads back as it was."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if text and text.splitlines() != [text] else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Quoted.add_representer(str, _text)


def _yaml(values: dict[str, Any]) -> str:
    return yaml.dump(values, Dumper=_Quoted, sort_keys=False, allow_unicode=True, width=200)
