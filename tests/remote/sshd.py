"""A real OpenSSH server on loopback, whose user has a home of its own."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil
import pytest

PATIENCE = 60.0

MAIN = "from pocketvlm.cli import main; main()"

ENTRY = """\
cd {home} && export HOME={home} PATH={path} OMP_NUM_THREADS=1 {pip}
case "$SSH_ORIGINAL_COMMAND" in
    "rsync --server --sender"*)
        if [ -e {room}/slow ]; then
            rm {room}/slow
            sh -c "$SSH_ORIGINAL_COMMAND" | {{
                dd bs=64k count=3000000 iflag=count_bytes status=none
                touch {room}/reached
                cat > /dev/null
            }}
            exit
        fi ;;
    "rsync --server"*)
        if [ -e {room}/throttle ]; then
            rm {room}/throttle
            {{
                dd bs=64k count=3000000 iflag=count_bytes status=none
                touch {room}/reached
                cat > /dev/null
            }} | sh -c "$SSH_ORIGINAL_COMMAND"
            exit
        fi ;;
esac
exec sh -c "$SSH_ORIGINAL_COMMAND"
"""
"""What every login runs. Where the file `throttle` lies, one rsync gets its first 3 MB and then
nothing until the connection is cut; where `slow` lies, no more comes through of what one sends.
pip is configured there as it is here."""


def needs(*tools: str) -> pytest.MarkDecorator:
    """Skipped, with the tool's name, where one is missing."""
    missing = [tool for tool in tools if not (shutil.which(tool) or Path(tool).exists())]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
needs_sshd = needs(SSHD, "ssh", "ssh-keygen", "rsync")


class Sshd:
    """The server while the block runs; what was started on it is killed at the end."""

    def __init__(self, room: Path) -> None:
        self.room, self.home = room, room / "home of the server"
        self.home.mkdir()
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # privilege separation, as its service makes it
        for name in ("host", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(room / name)]
            subprocess.run(command, check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.lets_in(os.environ["PATH"])
        (room / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {room}/host\nPidFile none\n"
            f"AuthorizedKeysFile {room}/user.pub\nStrictModes no\nPasswordAuthentication no\n"
            f"UsePAM no\nForceCommand sh {room}/entry\n"
        )

    def lets_in(self, path: str) -> None:
        """From now on with this PATH."""
        values = {"home": self.home, "room": self.room, "path": path}
        quoted = {name: shlex.quote(str(value)) for name, value in values.items()}
        pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        pip.setdefault("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip"))
        words = " ".join(f"{name}={shlex.quote(value)}" for name, value in pip.items())
        (self.room / "entry").write_text(ENTRY.format(**quoted, pip=words))

    @property
    def ssh(self) -> str:
        """What --ssh takes."""
        known = f"UserKnownHostsFile={self.room}/known"
        words = ["ssh", "-F", "none", "-p", str(self.port), "-i", str(self.room / "user"), "-o"]
        return shlex.join([*words, known, "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"])

    def __enter__(self) -> Self:
        command = [SSHD, "-f", str(self.room / "sshd_config"), "-D", "-e"]
        with (self.room / "sshd.log").open("w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
        wait_for(self._listens, self.said)
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self.process.terminate()
        self.process.wait()
        for process in self.started():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def said(self) -> str:
        """The server's own log."""
        return (self.room / "sshd.log").read_text()

    def cut(self) -> None:
        """End every connection from the server's side; what was started on it is left alone."""
        if self.process.poll() is not None:
            return
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.name().startswith("sshd"):
                    process.kill()

    def started(self) -> list[psutil.Process]:
        """Processes that work in the home of the server."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.cwd().startswith(str(self.home)):
                    found.append(process)
        return found


class Client:
    """`pocketvlm remote` as a process of its own."""

    def __init__(self, server: Sshd, here: Path, *arguments: str, **environment: str) -> None:
        command, *rest = arguments
        words = ["remote", "127.0.0.1", command, "--ssh", server.ssh, *rest]
        self.said_file = server.room / f"client-{time.monotonic_ns()}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAIN, *words],
            cwd=here,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.said_file.open("w"),
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"} | environment,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def end(self) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        out, _ = self.process.communicate(timeout=PATIENCE * 2)
        return self.process.returncode, out, self.said()

    def said(self) -> str:
        """Standard error so far."""
        return self.said_file.read_text()


def remote(server: Sshd, here: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Call it and wait for its end."""
    return Client(server, here, *arguments, **environment).end()


def wait_for(true: Callable[[], object], said: Callable[[], str]) -> None:
    """Come back when it is so."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, said()
        time.sleep(0.01)
