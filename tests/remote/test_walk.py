"""run, stop, run again, logs, status, fetch: the whole way on a server."""

import json
from pathlib import Path

import pytest

from pocketvlm.project import Project
from pocketvlm.workspace import read_json
from tests.remote.conftest import PYTHON
from tests.remote.sshd import Sshd, needs_sshd, remote, wait_for

pytestmark = [needs_sshd, pytest.mark.slow]


def newest_log(there: Path) -> str:
    """What the last run there has said so far."""
    return max((there / "logs").glob("run-*.log")).read_text()


def test_a_project_goes_there_and_its_bundle_comes_back(
    server: Sshd, colours: Project, there: Path
) -> None:
    here = colours.workspace.root
    endless = ("--set", "train.epochs=10000", "--set", "train.patience=10000")
    code, out, said = remote(server, here, "run", *PYTHON, *endless)
    assert code == 0, said
    assert "is running for" in out
    assert "pocketvlm remote 127.0.0.1 status" in said
    wait_for(lambda: "epoch 1:" in newest_log(there), lambda: newest_log(there))
    code, _, said = remote(server, here, "stop")
    assert code == 0, said
    assert "stopped" in said
    _, out, _ = remote(server, here, "status", "--json")
    assert json.loads(out)["state"] == "stopped", out
    code, _, said = remote(server, here, "fetch")
    assert code == 1
    assert "has no bundle, report" in " ".join(said.split())

    code, out, said = remote(server, here, "run", *PYTHON)
    assert code == 0, said
    code, out, said = remote(server, here, "logs", "-f")
    assert code == 0, said
    assert out.rstrip().endswith("done")
    _, out, _ = remote(server, here, "status", "--json")
    assert json.loads(out)["state"] == "done", out

    code, _, said = remote(server, here, "fetch")
    assert code == 0, said
    assert (here / "bundle" / "contract.json").is_file()
    assert read_json(here / "report" / "metrics.json")["n"] == 16
    assert not (here / "adapter").exists()
    code, _, said = remote(server, here, "stop")
    assert code == 0
    assert "nothing is at work" in said
