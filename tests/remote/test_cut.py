"""The connection is cut: what was sent is kept, what was started goes on, nothing starts twice."""

import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketvlm.project import Project
from pocketvlm.workspace import sha256_file
from tests.remote.conftest import PYTHON
from tests.remote.sshd import Client, Sshd, needs_sshd, remote, wait_for

pytestmark = [needs_sshd, pytest.mark.slow]

LOST = "the connection broke"

UNTIL = ("--until", "prepare")


def state(server: Sshd, here: Path) -> str:
    """What `remote status --json` says."""
    code, out, said = remote(server, here, "status", "--json")
    assert code == 0, said
    return str(json.loads(out)["state"])


def ends(server: Sshd, here: Path) -> Callable[[], bool]:
    """Whether the run there is over."""
    return lambda: state(server, here) not in ("starting", "running", "setting up")


def runs(there: Path) -> int:
    """How many runs there have been."""
    return len(list((there / "logs").glob("run-*.log")))


def test_while_sending(server: Sshd, colours: Project, there: Path) -> None:
    here = colours.workspace.root
    weights = here / "base" / "more.safetensors"
    weights.write_bytes(os.urandom(10_000_000))  # does not shrink
    (server.room / "throttle").touch()
    client = Client(server, here, "run", *PYTHON, *UNTIL)
    wait_for((server.room / "reached").exists, client.said)
    server.cut()
    code, _, said = client.end()
    assert code == 1
    assert LOST in " ".join(said.split())
    kept = there / "base" / ".partial" / weights.name
    wait_for(kept.is_file, said.__str__)
    assert 0 < kept.stat().st_size < weights.stat().st_size
    assert runs(there) == 0
    code, _, said = remote(server, here, "run", *PYTHON, *UNTIL)
    assert code == 0, said
    assert sha256_file(there / "base" / weights.name) == sha256_file(weights)
    assert not kept.parent.exists()


@pytest.fixture
def held(server: Sshd) -> Path:
    """A Python on the server that sets up for as long as the file `hold` lies beside it."""
    python, hold = server.room / "python", server.room / "hold"
    hold.touch()
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *remote.pins*) touch {shlex.quote(str(server.room))}/setting-up\n'
        f"while [ -e {shlex.quote(str(hold))} ]; do sleep 0.05; done ;; esac\n"
        f'exec {shlex.quote(sys.executable)} "$@"\n'
    )
    python.chmod(0o755)
    return python


def test_while_setting_up(server: Sshd, colours: Project, there: Path, held: Path) -> None:
    here, how = colours.workspace.root, ("--python", str(held), *UNTIL)
    client = Client(server, here, "run", *how)
    wait_for((server.room / "setting-up").exists, client.said)
    server.cut()
    code, _, said = client.end()
    assert code == 1
    assert LOST in " ".join(said.split())
    assert state(server, here) == "setting up"
    again = Client(server, here, "run", *how)
    wait_for(lambda: "is setting up already" in again.said(), again.said)
    (server.room / "hold").unlink()
    code, _, said = again.end()
    assert code == 0, said
    wait_for(ends(server, here), said.__str__)
    assert state(server, here) == "done"
    assert runs(there) == 1


def test_while_following(server: Sshd, colours: Project, there: Path) -> None:
    here = colours.workspace.root
    code, _, said = remote(server, here, "run", *PYTHON, "--until", "train")
    assert code == 0, said
    client = Client(server, here, "logs", "-f")
    assert client.process.stdout is not None
    assert client.process.stdout.readline()
    second = remote(server, here, "run", *PYTHON, "--until", "train")
    assert second[0] == 0
    assert "A run is under way" in second[2]
    server.cut()
    code, _, said = client.end()
    assert code == 1
    assert LOST in " ".join(said.split())
    wait_for(ends(server, here), said.__str__)
    assert state(server, here) == "done"
    assert (there / "adapter" / "adapter_config.json").is_file()
    assert runs(there) == 1


def test_the_set_up_can_be_stopped(server: Sshd, colours: Project, there: Path, held: Path) -> None:
    here = colours.workspace.root
    client = Client(server, here, "run", "--python", str(held), *UNTIL)
    wait_for((server.room / "setting-up").exists, client.said)
    code, out, _ = remote(server, here, "stop")
    assert (code, out.strip()) == (0, "The set-up is stopped.")
    assert client.end()[0] == 143
    code, _, said = remote(server, here, "status")
    assert code == 1
    assert "The last set-up or start failed" in said
    assert runs(there) == 0
