"""Running stages: skip what is up to date, say why something is done again, keep a manifest."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pocketvlm.errors import ConfigError, GateMissed, PocketError
from pocketvlm.journal import utc_now
from pocketvlm.pipeline.stages import STAGES, Stage
from pocketvlm.pipeline.work import recorded
from pocketvlm.progress import enter, say
from pocketvlm.signals import end_if_told
from pocketvlm.workspace import FINISHED, Row, append_row, discard, read_json, write_json

if TYPE_CHECKING:
    from pocketvlm.project import Project


ADDING = ("collect", "label")
"""Stages whose results stay right when their inputs change: they only ever add to them."""


KEEPERS = ("train", "merge")
"""After which no checkpoint is needed; merge clears what a kill after train has left."""

BRIEF = 60
"""Characters of a setting's value in a sentence."""


def run(
    project: Project,
    first: str | None = None,
    last: str | None = None,
    force: bool = False,
    processes: int = 1,
) -> Row:
    """Run the stages from `first` to `last`; the figures of each, by name.

    GateMissed is raised where validation missed its gate, also when it is up to date."""
    stages = select(project, first, last)
    figures: Row = {}
    with recorded(project, "run", [stage.name for stage in stages]) as record:
        check_makers(project, stages[0])
        for at, stage in enumerate(stages):
            reason = "forced" if force else why(project, stage)
            if reason is None:
                figures[stage.name] = _up_to_date(project, stage)
                continue
            if record.starting:
                examine_first(project, stages[at:])
                record.under_way()
            say(f"{stage.name}: {reason}")
            figures[stage.name] = execute(project, stage, work_of(stage, processes))
    return figures


def examine_first(project: Project, stages: Sequence[Stage]) -> None:
    """What would fail in hours is found now: the first stage that has something to do, and all that
    follow, are looked at by the doctor."""
    from pocketvlm.pipeline.doctor import check_ready

    check_ready(project, stages)


def _up_to_date(project: Project, stage: Stage) -> Row:
    """The figures of a stage that is skipped; its missed gate is missed still."""
    manifest = read_json(project.workspace.manifest(stage.name))
    say(f"{stage.name}: up to date")
    if manifest["gate"]:
        raise GateMissed(manifest["gate"], manifest["figures"])
    figures: Row = manifest["figures"]
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
    """What differs from the last time, by name; settings key by key."""
    state, now, before = stage.state(project), stage.values(project), manifest.get("settings", {})
    told: list[str] = []
    for name, value in state.items():
        if manifest["inputs"].get(name) != value:
            told += differences(name, before[name], now[name]) if name in before else [name]
    return told


def differences(key: str, before: object, now: object) -> list[str]:
    """Each setting below `key` that differs, with its two values."""
    if before == now:
        return []
    if isinstance(before, list) and isinstance(now, list):
        before, now = (
            {str(at): value for at, value in enumerate(values)} for values in (before, now)
        )
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            one
            for name in before | now
            for one in differences(f"{key}.{name}", before.get(name), now.get(name))
        ]
    return [f"{key} ({brief(before)} to {brief(now)})"]


def brief(value: object) -> str:
    """A setting's value, short enough for a sentence."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= BRIEF else f"{text[:BRIEF]}..."


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
    with recorded(project, stage.name, [stage.name]) as record:
        check_makers(project, stage)
        record.under_way()
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
    end_if_told()
    enter(stage.name)
    state, settings = stage.state(project), stage.values(project)
    _log(project, stage, "started")
    try:
        figures = (work or stage.run)(project)
    except GateMissed as error:
        gate, figures = error, error.figures
    seconds = round(time.monotonic() - started, 1)
    manifest = {
        "stage": stage.name,
        "at": utc_now(),
        "seconds": seconds,
        "contract": project.contract.hash,
        "inputs": state,
        "settings": settings,
        "outputs": stage.results(project),
        "figures": figures,
        "gate": str(gate) if gate else None,
    }
    write_json(project.workspace.manifest(stage.name), manifest)
    _log(project, stage, "gate missed" if gate else "done", seconds)
    if stage.name in KEEPERS:
        forget_checkpoints(project)
    if gate:
        raise gate
    return figures


def forget_checkpoints(project: Project) -> None:
    """Of a training whose end is written down; no sooner, or a kill would cost all of it. Those of
    another training stay: its settings may come back."""
    for mark in (project.workspace.root / "state" / "checkpoints").glob(f"*/{FINISHED}"):
        discard(mark.parent)


def _log(project: Project, stage: Stage, event: str, seconds: float | None = None) -> None:
    row = {"at": utc_now(), "stage": stage.name, "event": event, "seconds": seconds}
    append_row(project.workspace.logs / "stages.jsonl", row)
