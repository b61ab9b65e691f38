"""Every pocketvlm command in the scheduler's and the container's files is one of today's."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.scripts import ROOT
from tests.docs.commands import NAME, arguments, check, simple_commands

DEPLOY = ROOT / "deploy"


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of each pocketvlm in a shell script, in its comments too."""
    plain = re.sub(r"^ *# ?", "", text, flags=re.MULTILINE)
    lines = [line for line in plain.replace("\\\n", " ").splitlines() if NAME in line]
    for line in lines:
        try:
            found = list(simple_commands(line))
        except ValueError:  # a comment's apostrophe
            continue
        for words in found:
            if words[:2] == ["docker", "run"]:
                words = words[words.index(NAME) :]
            if (given := arguments(words)) is not None:
                yield given


@pytest.mark.parametrize(
    "name, count", [("pocketvlm.slurm", 2), ("skypilot.yaml", 1), ("Dockerfile", 1)]
)
def test_the_commands_exist(name: str, count: int, tmp_path: Path) -> None:
    text = (DEPLOY / name).read_text()
    found = list(commands(yaml.safe_load(text)["run"] if name.endswith("yaml") else text))
    assert len(found) == count
    for given in found:
        check(given, tmp_path)


def test_what_slurm_is_asked_for() -> None:
    """Options stand before the first command, or Slurm does not see them; the signal is the one
    that the script waits for."""
    head, _, body = (DEPLOY / "pocketvlm.slurm").read_text().partition("\nset -euo")
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(\S*)", head, re.MULTILINE))
    assert "#SBATCH" not in body
    assert all(line.startswith("#") or not line for line in head.splitlines())
    assert asked["signal"] == "B:USR1@300" and "' USR1\n" in body
    assert "requeue" in asked and asked["export"] == "NONE" and asked["gpus"] == "1"
