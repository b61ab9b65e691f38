"""Running stages: skip what is up to date, say why something is done again, keep a manifest."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pocketvlm.errors import ConfigError, GateMissed, PocketError
from pocketvlm.pipeline.stages import STAGES, Stage
from pocketvlm.progress import say
from pocketvlm.workspace import Row, append_row, read_json, write_json

if TYPE_CHECKING:
    from pocketvlm.project import Project


ADDING = ("collect", "label")
"""Stages whose results stay right when their inputs change: they only ever add to them."""


def run(
    project: Project,
    first: str | None = None,
    last: str | None = None,
    force: bool = False,
    processes: int = 1,
) -> Row:
    """Run the stages from `first` to `last`; the figures of each, by name.

    GateMissed is raised where validation missed its gate, also when it is up to date."""
    figures: Row = {}
    stages = select(project, first, last)
    check_makers(project, stages[0])
    for stage in stages:
        reason = "forced" if force else why(project, stage)
        if reason is None:
            manifest = read_json(project.workspace.manifest(stage.name))
            say(f"{stage.name}: up to date")
            if manifest["gate"]:
                raise GateMissed(manifest["gate"], manifest["figures"])
            figures[stage.name] = manifest["figures"]
        else:
            say(f"{stage.name}: {reason}")
            figures[stage.name] = execute(project, stage, work_of(stage, processes))
    return figures


def select(project: Project, first: str | None, last: str | None) -> Sequence[Stage]:
    """The stages between two names; a custom dataset enters at `prepare`."""
    names = [stage.name for stage in STAGES]
    for name in (first, last):
        if name is not None and name not in names:
            raise ConfigError(f"there is no stage {name!r}: choose one of {', '.join(names)}")
    start = names.index(first or ("prepare" if project.config.prepare.custom else names[0]))
    stop = names.index(last or names[-1])
    if stop < start:
        raise ConfigError(f"{names[stop]} comes before {names[start]}: exchange --from and --until")
    return STAGES[start : stop + 1]


def why(project: Project, stage: Stage) -> str | None:
    """Why a stage must run, or None when it is up to date."""
    path = project.workspace.manifest(stage.name)
    if not path.is_file():
        return "first run"
    manifest = read_json(path)
    if changed := _changed(project, stage, manifest):
        return f"again, because {', '.join(changed)} changed"
    if unanswered := manifest["figures"].get("unanswered"):
        return f"again, because {unanswered} calls to the teacher gave no answer"
    results = stage.results(project)
    lost = [name for name, value in results.items() if manifest["outputs"].get(name) != value]
    return f"again, because {', '.join(lost)} is missing or was altered" if lost else None


def _changed(project: Project, stage: Stage, manifest: Row) -> list[str]:
    state = stage.state(project)
    return [name for name, value in state.items() if manifest["inputs"].get(name) != value]


def check_makers(project: Project, stage: Stage) -> None:
    """PocketError when what a stage reads was made from something that has changed since: it
    would measure or pack yesterday's model without a word. What no stage made is taken as it is."""
    for maker in STAGES[: STAGES.index(stage)]:
        path = project.workspace.manifest(maker.name)
        if maker.name in ADDING or not path.is_file():
            continue
        if changed := _changed(project, maker, read_json(path)):
            raise PocketError(
                f"{stage.name} would read what {maker.name} made before {', '.join(changed)} "
                f"changed: run `pocketvlm run --from {maker.name} --until {stage.name}`"
            )


def alone(project: Project, stage: Stage, processes: int = 1) -> Row:
    """Run one stage by itself, whether or not it is up to date.

    Under torch's launcher every process comes here; the first one keeps lock and manifest."""
    if int(os.environ.get("RANK", 0)):
        return stage.run(project)
    check_makers(project, stage)
    return execute(project, stage, work_of(stage, processes))


def work_of(stage: Stage, processes: int) -> Callable[[Project], Row]:
    """A stage's work; training can be shared by several processes."""
    if stage.name != "train" or processes == 1:
        return stage.run

    def together(project: Project) -> Row:
        from pocketvlm.student import launch

        return launch(project, processes)

    return together


def execute(project: Project, stage: Stage, work: Callable[[Project], Row] | None = None) -> Row:
    """Run one stage, or its `work` otherwise, and write its manifest; a missed gate is recorded
    before it is raised."""
    started = time.monotonic()
    gate: GateMissed | None = None
    with one_at_a_time(project):
        state = stage.state(project)
        _log(project, stage, "started")
        try:
            figures = (work or stage.run)(project)
        except GateMissed as error:
            gate, figures = error, error.figures
    seconds = round(time.monotonic() - started, 1)
    manifest = {
        "stage": stage.name,
        "at": _now(),
        "seconds": seconds,
        "contract": project.contract.hash,
        "inputs": state,
        "outputs": stage.results(project),
        "figures": figures,
        "gate": str(gate) if gate else None,
    }
    write_json(project.workspace.manifest(stage.name), manifest)
    _log(project, stage, "gate missed" if gate else "done", seconds)
    if gate:
        raise gate
    return figures


@contextmanager
def one_at_a_time(project: Project) -> Iterator[None]:
    """Two runs in one folder would pay for each answer twice and write over each other; the lock
    ends with the process, however it ends."""
    path = project.workspace.root / "state" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=0):
            yield
    except Timeout:
        raise PocketError(
            f"another pocketvlm is at work in {project.workspace.root}: wait for it, or stop it"
        ) from None


def _log(project: Project, stage: Stage, event: str, seconds: float | None = None) -> None:
    row = {"at": _now(), "stage": stage.name, "event": event, "seconds": seconds}
    append_row(project.workspace.logs / "stages.jsonl", row)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
