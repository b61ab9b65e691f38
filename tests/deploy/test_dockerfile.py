"""The image holds the program and nothing else: no key, no picture, no root."""

import re
from pathlib import Path

from tests.deploy.scripts import ROOT

TEXT = (ROOT / "deploy" / "Dockerfile").read_text()
IGNORED = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()


def copied() -> list[str]:
    """What is taken from the checkout."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", TEXT, re.MULTILINE)
    return [name for line in lines for name in line.split()[:-1]]


def test_what_is_copied_is_there_and_let_through() -> None:
    rules = [line for line in IGNORED if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert {Path(name).parts[0] for name in copied()} == allowed
    assert all((ROOT / name).exists() for name in copied())


def test_the_package_is_built_from_what_is_copied() -> None:
    """Hatchling stops where a file that pyproject.toml names is not there."""
    project = (ROOT / "pyproject.toml").read_text()
    named = {*re.findall(r'readme = "(.+)"', project), "LICENSE", "pyproject.toml"}
    assert named <= set(copied())


def test_both_stages_have_one_python() -> None:
    """A virtual environment moves only to the same interpreter at the same place."""
    versions = re.findall(r"^FROM python:([\d.]+)(?:-slim)?-(\w+)", TEXT, re.MULTILINE)
    assert len(versions) == 2 and len(set(versions)) == 1


def test_nobody_is_root_and_no_key_is_inside() -> None:
    (user,) = re.findall(r"^USER (\S+)", TEXT, re.MULTILINE)
    assert int(user) > 0
    assert not re.search(r"^(?:ARG|ENV)\b.*(?:KEY|TOKEN)", TEXT, re.MULTILINE)
