"""The torchrun lines of deploy/README.md, with real launchers and processes on the processor."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pocketvlm.student.tiny import save_tiny
from tests.deploy.scripts import ROOT
from tests.student.children import prepare
from tests.student.conftest import COLOURS
from tests.student.test_ranks import PLAIN, same

PAGE = (ROOT / "deploy" / "README.md").read_text()


def lines() -> list[list[str]]:
    """Their words: the one of one machine, the one of two."""
    found = re.findall(r"^\.venv/bin/torchrun (.+)$", PAGE.replace("\\\n", " "), re.MULTILINE)
    return [shlex.split(line) for line in found]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def started(words: list[str], config: Path) -> "subprocess.Popen[str]":
    """The line in this environment's torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", *words[:-1], str(config), "--json"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )


@pytest.mark.slow
@pytest.mark.parametrize("machines", [1, 2])
def test_a_line_trains_as_one_process_does(tmp_path: Path, machines: int) -> None:
    """Two processes: of one launcher, or of two launchers that meet at an address."""
    save_tiny(tmp_path / "base", words=[*COLOURS, "Is", "this", "or"], side=64)
    project = prepare(tmp_path / "project", tmp_path / "base", **PLAIN)
    words = lines()[machines - 1]
    assert words[-1] == "my-project/pocketvlm.yaml"
    words[words.index("--nproc-per-node") + 1] = str(2 // machines)
    port = free_port()
    words = [word.replace("$HOST:29500", f"localhost:{port}") for word in words]
    config = project.workspace.root / "pocketvlm.yaml"
    launchers = [started(words, config) for _ in range(machines)]
    said = [launcher.communicate(timeout=300) for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0] * machines, said
    figures = [json.loads(line) for out, _ in said for line in out.splitlines() if line[:1] == "{"]
    assert [row["epochs"] for row in figures] == [2]
    assert sum(error.count("Training on 2 processes") for _, error in said) == 1
    same(project, tmp_path / "base")
