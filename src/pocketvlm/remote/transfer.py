"""rsync in both directions: what was cut off goes on, and only what shrinks is compressed."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketvlm.errors import PocketError
from pocketvlm.progress import watched
from pocketvlm.remote.server import BROKEN, Server

PACKED = (
    "jpg/jpeg/png/webp/gif/heic/avif/zip/gz/xz/zst/parquet/arrow/npz/safetensors/gguf/ckpt/pt/bin"
)
"""Endings of files that do not shrink."""

HOW = (
    *("--recursive", "--times", "--copy-links", "--keep-dirlinks"),
    *("--partial-dir=.partial", "--compress", f"--skip-compress={PACKED}"),
    *("--secluded-args", "--exclude=.*", "--exclude=__pycache__"),
)
"""An archive but for owners and permissions, which are those of whoever has it. Links are followed:
what they lead to is not on the other side. Hidden files stay where they are, above all .env; a
file cut off waits in .partial/, where nobody takes it for the whole. Spaces and quotes in a path
are the path's own."""

CUT = frozenset({BROKEN, 10, 12, 30, 35})
"""rsync's exit codes for a connection that broke: ssh's own, socket, protocol, two timeouts."""


@dataclass(frozen=True)
class Sending:
    """Files and folders below `base` that come to lie below `there` on the server."""

    base: Path
    names: tuple[str, ...]
    there: str = "."
    exact: bool = False
    """Whether what is not in the folders sent is removed from them."""


def send(server: Server, sending: Sending) -> None:
    """Copy what differs; PocketError when the connection breaks or a file cannot be read."""
    delete = ["--delete"] if sending.exact else []
    target = f"{server.host}:{server.folder}/{sending.there}/"
    source = f"{sending.base}/"
    names = "\0".join(sending.names)
    _rsync(server, ["--from0", "--files-from=-", *delete, source, target], names)


def receive(server: Server, path: str, target: Path, extra: Sequence[str] = ()) -> None:
    """Copy a file, or with a slash at its end what is in a folder; errors as in `send`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _rsync(server, [*extra, f"{server.host}:{server.folder}/{path}", str(target)])


def _rsync(server: Server, arguments: Sequence[str], stdin: str = "") -> None:
    shown = ["--info=progress2"] if watched() else []
    shell = " ".join(quoted(word) for word in server.shell)
    command = ["rsync", *HOW, *shown, "--rsh", shell, *arguments]
    done = subprocess.run(command, input=stdin, text=True, check=False)
    if done.returncode in CUT:
        raise server.lost()
    if done.returncode:
        raise PocketError(
            f"rsync could not copy everything (exit code {done.returncode}, its words are above): "
            "mend that and run the same command again"
        )


def quoted(word: str) -> str:
    """A word as rsync's --rsh takes it: there a doubled quote is a quote, and a backslash a
    backslash."""
    return "'" + word.replace("'", "''") + "'"
