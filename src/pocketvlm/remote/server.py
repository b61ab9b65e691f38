"""The server, reached by ssh: commands there, and what is there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.workspace import Row

SCRIPT = ".remote/program/pocketvlm/remote/server.sh"
"""The script on the server, below the project's folder there; it came with the program."""

IF_SENT = """\
if [ -f "$0" ]; then exec sh "$0" "$@"; fi
echo "error: nothing was sent to $2 yet: pocketvlm remote HOST run" >&2
exit 1
"""
"""Calls the script; sh reads it, whatever shell greets us."""

BROKEN = 255
"""ssh's own exit code: it could not connect, or the connection broke."""

ALIVE = ("ConnectTimeout=20", "ServerAliveInterval=15", "ServerAliveCountMax=4")
"""Without these a connection that died in silence would be waited for, for hours. What --ssh says
comes first, and the first one counts."""

DEBIAN = {"rsync": "rsync", "flock": "util-linux", "setsid": "util-linux", "sha256sum": "coreutils"}
"""Tools the server needs, and the packages that bring them."""

LEAST_RSYNC = 3
"""The first version that takes any path as it is (--secluded-args)."""


@dataclass(frozen=True)
class Server:
    """A host, the project's folder on it, and how it is reached."""

    host: str
    folder: str
    """Relative to the home there, or absolute."""
    ssh: tuple[str, ...] = ("ssh",)

    @classmethod
    def of(cls, host: str, folder: str | None, ssh: str, config: Path) -> "Server":
        """From the command line; ConfigError where that could not be meant."""
        if not host or host.startswith("-"):
            raise ConfigError(f"{host!r} is no host: write user@host, or an alias of ~/.ssh/config")
        try:
            words = shlex.split(ssh)
        except ValueError as error:
            raise ConfigError(f"--ssh {ssh!r}: {error}") from None
        if not words:
            raise ConfigError("--ssh is empty: leave it out, or write --ssh 'ssh -p 2222'")
        folder = folder or f"pocketvlm/{config.resolve().parent.name}"
        return cls(host, folder.removeprefix("~/"), tuple(words))

    @property
    def shell(self) -> list[str]:
        """ssh with its options, without the host."""
        return [*self.ssh, *(word for option in ALIVE for word in ("-o", option))]

    def command(self, action: str, *arguments: str, terminal: bool = False) -> list[str]:
        """An action of the script that lies on the server."""
        script = f"{self.folder}/{SCRIPT}"
        how = ["-t", "-o", "LogLevel=ERROR"] if terminal else ["-T"]  # no word of the closing
        words = ["sh", "-c", IF_SENT, script, action, self.folder, *arguments]
        return [*self.shell, *how, self.host, shlex.join(words)]

    def call(self, name: str, command: str, arguments: Sequence[str]) -> int:
        """A command of pocketvlm there, seen here; its exit code. PocketError when the connection
        breaks."""
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        asked = self.command("call", name, command, *arguments, terminal=terminal)
        stdin = None if terminal else subprocess.DEVNULL
        done = subprocess.run(asked, stdin=stdin, check=False)
        return self.sound(done.returncode)

    def look(self, python: str, name: str) -> "Found":
        """What is there before anything is sent; makes the folder."""
        words = ["sh", "-s", "look", self.folder, python, version(), name]
        script = resources.files("pocketvlm.remote").joinpath("server.sh").read_text("utf-8")
        said = self._answer([*self.shell, "-T", self.host, shlex.join(words)], script)
        return Found.read(said)

    def here(self, names: Sequence[str]) -> set[str]:
        """Which of these files and folders there are."""
        return set(self._answer(self.command("here", *names)).splitlines())

    def _answer(self, command: list[str], stdin: str = "") -> str:
        done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, text=True, check=False)
        if self.sound(done.returncode):
            raise PocketError(f"{self.host} could not be asked; what it said is above")
        return done.stdout

    def sound(self, code: int) -> int:
        """The exit code, unless it is that of a broken connection."""
        if code == BROKEN:
            raise self.lost()
        return code

    def lost(self) -> PocketError:
        """What a broken connection means."""
        return PocketError(
            f"{self.host} was not reached, or the connection broke: see that "
            f"`{shlex.join(self.ssh)} {self.host}` works, and run the same command again; what was "
            "sent is kept, and what was started there goes on"
        )


@dataclass
class Found:
    """What is on the server."""

    missing: list[str] = field(default_factory=list)
    setting_up: bool = False
    status: Row | None = None
    """What `pocketvlm status` says there; None where it cannot be asked yet."""
    holds: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the manifests and ledgers there, by their paths below the folder."""

    @classmethod
    def read(cls, said: str) -> "Found":
        """The script's answer; what a login script says in between is passed over."""
        found = cls()
        for line in said.splitlines():
            word, _, rest = line.partition(" ")
            if word == "missing":
                found.missing.append(rest)
            elif line == "setting up":
                found.setting_up = True
            elif word == "status" and rest.startswith("{"):
                found.status = json.loads(rest)
            elif word == "holds":
                sha256, path = rest.split(maxsplit=1)
                found.holds[path] = sha256
        return found

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self.status is not None and self.status.get("state") in ("starting", "running")

    def check(self, host: str) -> None:
        """PocketError names all that is missing, and how it comes."""
        if not self.missing:
            return
        packages = sorted({DEBIAN[tool] for tool in self.missing if tool in DEBIAN})
        mends = [f"sudo apt install {' '.join(packages)}"] if packages else []
        if "python3" in self.missing:
            mends.append(
                "Python 3.11 or newer: sudo apt install python3 python3-venv (Ubuntu 22.04: "
                "python3.11 python3.11-venv), or name one with --python"
            )
        elif pythons := [tool for tool in self.missing if tool not in DEBIAN]:
            mends.append(f"--python {pythons[0]} is no Python 3.11 or newer there: correct it")
        raise PocketError(f"{host} lacks {', '.join(self.missing)}. There: " + "; ".join(mends))


def version() -> str:
    """Of the Python here, for which the packages are pinned."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def check_tools(server: Server) -> None:
    """PocketError when this machine lacks what sends: ssh, and an rsync that takes any path."""
    if os.name == "nt":
        raise PocketError("remote needs ssh and rsync as Linux and macOS have them: use WSL")
    program = server.ssh[0]
    if not shutil.which(program):
        mend = "sudo apt install openssh-client" if program == "ssh" else "correct --ssh"
        raise PocketError(f"{program} is not installed here: {mend}")
    mend = "sudo apt install rsync (macOS: brew install rsync)"
    if not shutil.which("rsync"):
        raise PocketError(f"rsync is not installed here: {mend}")
    said = subprocess.run(["rsync", "--version"], capture_output=True, text=True, check=False)
    number = re.match(r"rsync\s+version\s+v?(\d+)", said.stdout)
    if not number or int(number[1]) < LEAST_RSYNC:  # macOS's openrsync names itself otherwise
        raise PocketError(f"the rsync here is no rsync {LEAST_RSYNC} or newer: {mend}")
