"""A run that ends before it is under way: what it says is seen here, with its exit code."""

import pytest

from pocketvlm.project import Project
from tests.remote.conftest import PYTHON
from tests.remote.sshd import Sshd, needs_sshd, remote


@needs_sshd
@pytest.mark.slow
def test_what_the_run_refuses_is_seen_here(server: Sshd, colours: Project) -> None:
    here = colours.workspace.root
    code, _, said = remote(server, here, "run", *PYTHON, "--until", "the-moon")
    assert code == 2
    assert "there is no stage 'the-moon'" in " ".join(said.split())
    _, _, said = remote(server, here, "status")
    assert "The last set-up or start failed" in said
    assert "there is no stage 'the-moon'" in said
