"""Tools that are missing here or there, and servers that are not reached: cause and mend."""

import shutil
from pathlib import Path

import pytest

from pocketvlm.errors import ConfigError
from pocketvlm.project import Project
from pocketvlm.remote.server import Server
from tests.remote.conftest import PYTHON
from tests.remote.sshd import Sshd, needs_sshd, remote

TOOLS = ("sh", "cat", "mkdir", "sha256sum", "setsid", "flock", "tail", "rm", "ssh", "python3")


def bin_of(folder: Path, *left_out: str) -> str:
    """A PATH with what a server has, but for some."""
    folder.mkdir()
    for tool in {*TOOLS, "rsync"} - set(left_out):
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    return str(folder)


def told(said: str) -> str:
    """Errors without the line breaks of the terminal."""
    assert "Traceback" not in said
    return " ".join(said.split())


@needs_sshd
def test_everything_the_server_lacks_is_named_before_anything_is_sent(
    server: Sshd, colours: Project, there: Path, tmp_path: Path
) -> None:
    server.lets_in(bin_of(tmp_path / "bin", "rsync", "python3", "flock"))
    code, _, said = remote(server, colours.workspace.root, "run")
    assert code == 1
    assert "lacks rsync, flock, python3" in told(said)
    assert "sudo apt install rsync util-linux" in told(said)
    assert "Python 3.11 or newer: sudo apt install python3 python3-venv" in told(said)
    assert not (there / "pocketvlm.yaml").exists()


@needs_sshd
def test_a_python_that_is_none(server: Sshd, colours: Project) -> None:
    code, _, said = remote(server, colours.workspace.root, "run", "--python", "/nowhere/python")
    assert code == 1
    assert "--python /nowhere/python is no Python 3.11 or newer there" in told(said)


@needs_sshd
def test_no_rsync_here(server: Sshd, colours: Project, tmp_path: Path) -> None:
    path = bin_of(tmp_path / "bin", "rsync")
    code, _, said = remote(server, colours.workspace.root, "run", *PYTHON, PATH=path)
    assert code == 1
    assert "rsync is not installed here: sudo apt install rsync" in told(said)


@needs_sshd
def test_nobody_listens(server: Sshd, colours: Project) -> None:
    server.process.terminate()
    server.process.wait()
    for command in ("run", "status", "fetch"):
        code, _, said = remote(server, colours.workspace.root, command)
        assert code == 1
        assert "127.0.0.1 was not reached" in told(said)


@needs_sshd
def test_nothing_was_started_there(server: Sshd, colours: Project) -> None:
    for command in ("status", "logs", "stop", "fetch"):
        code, out, said = remote(server, colours.workspace.root, command)
        assert code != 0
        assert "pocketvlm remote HOST run" in out + told(said)


@needs_sshd
def test_a_slip_of_the_pen_is_found_before_anything_is_sent(
    server: Sshd, colours: Project, there: Path
) -> None:
    code, _, said = remote(server, colours.workspace.root, "run", "--untli", "train")
    assert code == 2
    assert "--untli" in said
    assert not there.exists()


@pytest.mark.parametrize("host", ["", "-oProxyCommand=touch x"])
def test_what_could_be_an_option_is_no_host(host: str) -> None:
    with pytest.raises(ConfigError, match="is no host"):
        Server.of(host, None, "ssh", Path("pocketvlm.yaml"))


@pytest.mark.parametrize("ssh", ["", "ssh -i 'half"])
def test_a_way_to_call_ssh_that_is_none(ssh: str) -> None:
    with pytest.raises(ConfigError, match="--ssh"):
        Server.of("host", None, ssh, Path("pocketvlm.yaml"))


def test_the_home_needs_not_be_said() -> None:
    assert Server.of("host", "~/mine", "ssh", Path("pocketvlm.yaml")).folder == "mine"
    config = Path("/somewhere/my project/pocketvlm.yaml")
    assert Server.of("host", None, "ssh", config).folder == "pocketvlm/my project"
