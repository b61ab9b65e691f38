"""`pocketvlm remote HOST run`: send, set up and start, until the run is under way there."""

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pocketvlm
from pocketvlm.errors import PocketError
from pocketvlm.journal import utc_now
from pocketvlm.keys import LOOPBACK, check_address
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.remote.ledgers import newer
from pocketvlm.remote.parcel import LEDGERS, finished, keys, pack
from pocketvlm.remote.pins import pins
from pocketvlm.remote.server import Found, Server, check_tools, version
from pocketvlm.remote.transfer import Sending, receive, send
from pocketvlm.workspace import NOTE, sha256_file, write_json

PROGRAM = ".remote/program"
"""The package and its pins, below the project's folder on the server."""


def run(
    server: Server,
    config: Path,
    overrides: Sequence[str] = (),
    arguments: Sequence[str] = (),
    python: str = "",
) -> int:
    """Bring the project to the server and start its run; the exit code of set-up and start.

    `arguments` are those of `pocketvlm run`. What is under way there already is followed, not
    started twice. PocketError when something is missing here or there, or the connection breaks:
    what has come to the server is kept, and what was started there goes on."""
    check_tools(server)
    config = config.resolve()  # a link counts as what it leads to, as everywhere
    project = Project.load(config, tuple(overrides))
    sendings, placed = pack(project, config)
    secrets, packages = keys(project), pins(_extras(project))
    found = server.look(python, config.name)
    found.check(server.host)
    if found.running:
        say(f"A run is under way on {server.host}; nothing was sent. `stop` it to send changes.")
        code = 0
    elif found.setting_up:
        say(f"{server.host} is setting up already; nothing was sent.")
        code = _follow(server, config, server.command("follow"))
    else:
        _warn(project)
        _send(server, project, sendings, found)
        _send_program(server, packages)
        changes = [word for one in (*overrides, *placed) for word in ("--set", one)]
        words = [python, version(), config.name, *changes, *arguments]
        code = _follow(server, config, server.command("start", *words), told(secrets))
    if code == 0:
        note = {"host": server.host, "how": _way(server, config, "fetch labels"), "at": utc_now()}
        write_json(project.workspace.root / NOTE, note)
        server.call(config.name, "status", [])
        say(_how_to_come_back(server, config))
    return code


def _warn(project: Project) -> None:
    """`localhost` means another machine there."""
    if project.config.prepare.custom:
        return
    for teacher in project.config.teachers:
        if check_address(teacher.base_url) in LOOPBACK:
            say(f"{teacher.model} at {teacher.base_url} will be looked for on the server itself.")


def _send(server: Server, project: Project, sendings: list[Sending], found: Found) -> None:
    """The project: what it names, what is finished, and the ledgers."""
    say(f"Sending the project to {server.host}:{server.folder} ...")
    root = project.workspace.root
    first, *others = sendings
    ledgers = [name for name in LEDGERS if _is_ahead(server, root, name, found)]
    names = (*first.names, *finished(project, found.holds), *ledgers)
    for sending in (Sending(root, names), *others):
        send(server, sending)


def _is_ahead(server: Server, root: Path, name: str, found: Found) -> bool:
    """Whether the ledger here has all that the server's has, and more."""
    if not (root / name).is_file() or found.holds.get(name) == sha256_file(root / name):
        return False
    if name not in found.holds:
        return True
    with tempfile.TemporaryDirectory() as folder:
        theirs = Path(folder) / "theirs"
        receive(server, name, theirs)
        which = newer(root / name, theirs)
    if which == "neither":
        raise PocketError(
            f"{name}: here and on {server.host} there are lines that the other side has not, so "
            f"neither is written over: `pocketvlm remote {server.host} fetch labels` says how to "
            "join them"
        )
    return which == "ours"


def _extras(project: Project) -> list[str]:
    """Which optional packages of the program the configuration asks for."""
    track = project.config.track
    return ["track"] if track.tensorboard or track.wandb != "off" else []


def _send_program(server: Server, packages: Sequence[str]) -> None:
    """The package as it is installed here, and the pins of what it needs."""
    package = Path(pocketvlm.__file__).resolve().parent
    send(server, Sending(package.parent, (package.name,), PROGRAM, exact=True))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pins.txt").write_text("".join(f"{pin}\n" for pin in packages))
        send(server, Sending(Path(folder), ("pins.txt",), PROGRAM))


def told(keys: dict[str, str]) -> str:
    """The keys as the script reads them. The dot at the end says that nothing was cut off."""
    return "".join(f"{name}={key}\n" for name, key in keys.items()) + "\n."


def _follow(server: Server, config: Path, command: list[str], stdin: str = "") -> int:
    """Show what set-up and start say, where messages for people go; their exit code."""
    try:
        done = subprocess.run(command, input=stdin, stdout=sys.stderr, text=True, check=False)
    except KeyboardInterrupt:
        say(f"No longer watched; it goes on there. {_how_to_come_back(server, config)}")
        raise
    return server.sound(done.returncode)


def _how_to_come_back(server: Server, config: Path) -> str:
    ways = "\n".join(
        f"  {_way(server, config, one)}" for one in ("status", "logs -f", "stop", "fetch")
    )
    return (
        f"It needs neither this machine nor the connection:\n{ways}\n"
        "When it is done, `fetch` brings bundle/ and report/."
    )


def _way(server: Server, config: Path, command: str) -> str:
    """A command to this server, to be pasted."""
    words = ["-c", str(config)]
    if server != Server.of(server.host, server.folder, "ssh", config):
        words += ["--ssh", shlex.join(server.ssh)]
    if server.folder != Server.of(server.host, None, "ssh", config).folder:
        words += ["--folder", server.folder]
    return f"pocketvlm remote {server.host} {command} {shlex.join(words)}"
