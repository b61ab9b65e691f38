"""The script on the server: what it does where something is missing or cut off."""

import subprocess
from pathlib import Path

import pytest

from pocketvlm.remote import server

SCRIPT = Path(server.__file__).with_name("server.sh")

FAKE = """\
#!/bin/sh
case "$*" in
    "-m venv"*) {venv} ;;
    "-m pip --version"*) exit 1 ;;
    "-m pip"*) echo "no matching distribution"; exit 1 ;;
esac
"""

MAKES = 'mkdir -p "$4/bin" && cp "$0" "$4/bin/python"'


def call(root: Path, action: str, *arguments: str, stdin: str = "\n.", path: str = "") -> str:
    """What it says when it fails."""
    (root / ".remote" / "program").mkdir(parents=True, exist_ok=True)
    (root / ".remote" / "program" / "pins.txt").write_text("none-such==1.0\n")
    done = subprocess.run(
        ["/bin/sh", SCRIPT, action, root, *arguments],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PATH": path or "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 1
    return done.stdout


@pytest.mark.parametrize("stdin", ["", "KEY=half-of-it", "KEY=one\nOTHER=tw", "KEY=end."])
def test_nothing_starts_with_half_of_the_keys(tmp_path: Path, stdin: str) -> None:
    assert "broke before everything had come" in call(tmp_path, "start", "", "3.11", stdin=stdin)
    assert not (tmp_path / ".remote" / "pid").exists()


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH without a compiler and with a Python that can do as much as a test wants."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("cat", "cmp", "grep", "mkdir", "cp", "sh"):
        (folder / tool).symlink_to(f"/usr/bin/{tool}")
    return folder


def python(folder: Path, venv: str) -> None:
    (folder / "python3").write_text(FAKE.format(venv=venv))
    (folder / "python3").chmod(0o755)


def set_up(tmp_path: Path, folder: Path) -> str:
    return call(tmp_path, "work", "", "3.11", "pocketvlm.yaml", path=str(folder))


def test_no_python(tmp_path: Path, bare: Path) -> None:
    assert "error: no Python 3.11 or newer here" in set_up(tmp_path, bare)
    assert (tmp_path / ".remote" / "code").read_text() == "1\n"


def test_no_venv(tmp_path: Path, bare: Path) -> None:
    python(bare, "exit 1")
    assert "error: venv is missing: sudo apt install python3-venv" in set_up(tmp_path, bare)


def test_no_compiler(tmp_path: Path, bare: Path) -> None:
    python(bare, MAKES)
    assert "no C++ compiler for llama.cpp here: sudo apt install build-essential" in set_up(
        tmp_path, bare
    )


def test_packages_that_do_not_come_leave_no_marker(tmp_path: Path, bare: Path) -> None:
    python(bare, MAKES)
    (bare / "c++").symlink_to("/usr/bin/true")
    said = set_up(tmp_path, bare)
    assert "no matching distribution" in said
    assert "error: pip could not install the packages, see above" in said
    assert not (tmp_path / ".remote" / "venv" / "pins.txt").exists()
    assert not (tmp_path / ".remote" / "python").exists()
