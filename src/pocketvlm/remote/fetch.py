"""`pocketvlm remote HOST fetch`: a folder comes back whole or not at all; no ledger loses."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.pipeline.work import one_at_a_time
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.remote.ledgers import newer
from pocketvlm.remote.server import Server, check_tools
from pocketvlm.remote.transfer import receive
from pocketvlm.workspace import NOTE, WRITERS, atomic_folder

USUAL = ("bundle", "report")

FOLDERS = (*USUAL, "adapter", "dataset", "gguf", "merged", "verdicts", "sizes", "logs")
"""Folders that are replaced as a whole."""

GROWING = {
    "labels": ("labels/answers.jsonl", "labels/reviews.jsonl"),
    "originals": ("originals/index.jsonl",),
}
"""Folders to which is only ever added, and their ledgers."""


def fetch(server: Server, project: Project, names: Sequence[str]) -> None:
    """Bring folders of the workspace back, and the manifests of the stages that made them. Without
    names, bundle/ and report/, as far as they are there: a missed gate leaves a report alone.

    ConfigError for a name that is no folder of a workspace; PocketError when one is not there yet,
    when the connection breaks, or when both sides have lines of their own in a ledger."""
    check_tools(server)
    wanted = tuple(dict.fromkeys(names)) or USUAL
    if wrong := sorted(set(wanted) - {*FOLDERS, *GROWING}):
        every = ", ".join(sorted({*FOLDERS, *GROWING}))
        raise ConfigError(f"fetch: {', '.join(wrong)} is not among {every}")
    ledgers = [ledger for name in wanted for ledger in GROWING.get(name, ())]
    there = server.here([*wanted, *map(_manifest, wanted), *ledgers])
    if missing := [name for name in wanted if name not in there]:
        told = (
            f"{server.host} has no {', '.join(missing)} in {server.folder} yet: see `pocketvlm "
            f"remote {server.host} status`"
        )
        if names or len(missing) == len(wanted):
            raise PocketError(told)
        say(told)
    for name in wanted:
        if name in there:
            _bring(server, project, name, there)


def _bring(server: Server, project: Project, name: str, there: set[str]) -> None:
    """One folder and its manifest."""
    root, manifest = project.workspace.root, _manifest(name)
    if name in GROWING:
        add(server, project, name, [one for one in GROWING[name] if one in there])
    else:
        replace(server, name, root / name)
    if manifest in there:
        receive(server, manifest, root / manifest)
    say(f"{name}/ is here")


def _manifest(folder: str) -> str:
    """That of the stage which made a folder, as far as one did."""
    stage = "bundle" if folder == "bundle" else WRITERS.get(folder, "none")
    return f"state/{stage}.json"


def replace(server: Server, name: str, target: Path) -> None:
    """One folder: what has come lies beside it until everything has, also over several tries."""
    target = target.resolve()  # a link to a larger disk stays a link
    coming = target.with_name(f".{target.name}.coming")
    known = [f"--copy-dest={target}"] if target.is_dir() else []
    coming.mkdir(parents=True, exist_ok=True)
    receive(server, f"{name}/", coming, ["--delete", *known])
    with atomic_folder(target) as fresh:
        fresh.rmdir()
        coming.rename(fresh)


def add(server: Server, project: Project, name: str, ledgers: Sequence[str]) -> None:
    """What only grows: files that are not here yet, and each ledger where it has more there.
    Nothing else may write it meanwhile."""
    root = project.workspace.root
    with one_at_a_time(project, "remote fetch"):
        apart = [f"--exclude=/{Path(ledger).name}" for ledger in GROWING[name]]
        (root / name).mkdir(exist_ok=True)
        receive(server, f"{name}/", root / name, apart)
        for ledger in ledgers:
            _take_over(server, root / ledger, ledger)
    if name == "labels":
        (root / NOTE).unlink(missing_ok=True)  # nothing is paid again here


def _take_over(server: Server, ours: Path, ledger: str) -> None:
    theirs = ours.with_name(f"{ours.stem}.of-the-server.jsonl")
    receive(server, ledger, theirs)
    which = newer(ours, theirs)
    if which == "neither":
        here, there = (shlex.quote(str(path)) for path in (ours, theirs))
        raise PocketError(
            f"{ledger}: here and on {server.host} there are lines that the other side has not. "
            f"The server's copy is {theirs.name} beside it; nothing is lost by joining them: "
            f"grep -vxFf {here} {there} >> {here}"
        )
    if which == "theirs":
        theirs.replace(ours)
    theirs.unlink(missing_ok=True)
