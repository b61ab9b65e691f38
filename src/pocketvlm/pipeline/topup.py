"""More candidates where a class is thin: how many are missing, and how many must be fetched."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from math import ceil

from pocketvlm.collect import collect
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.pipeline.run import execute
from pocketvlm.pipeline.stages import STAGES
from pocketvlm.pipeline.work import recorded
from pocketvlm.prepare import usable_labels
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_json, read_rows, write_json

FIRST_GUESS = 0.5
"""Share of candidates that turn out to be what they were sought for, before any was labelled."""

LEAST = 0.1
"""Never more than ten candidates a missing picture: a search that finds less should be changed."""


def top_up(project: Project) -> Row:
    """Fetch candidates of labels that are under `collect.aim`; the figures of `collect`, and what
    was sought. They become pictures of that label only if the teacher says so.

    ConfigError without an aim, or where no source can be searched for what is thin; PocketError
    while pictures wait for an answer: they may be what is missing."""
    aim = project.config.collect.aim
    if project.config.prepare.custom:
        raise ConfigError("prepare.custom: its labels are the file's; what is fetched has none")
    if aim is None:
        raise ConfigError("collect.aim is empty: say how many pictures of each label you want")
    labels, waiting = usable_labels(project)
    if waiting:
        raise PocketError(
            f"{waiting:,} pictures have no answer yet and may be what is missing: run "
            "`pocketvlm label` first"
        )
    have = Counter(labels.values())
    missing = {label: aim - have[label] for label in project.config.task.labels}
    missing = {label: count for label, count in missing.items() if count > 0}
    if not missing:
        say(f"  every label has at least {aim:,} pictures")
        return {"sought": {}}
    check_searchable(project, missing)
    rates = hit_rates(project, labels)
    wanted = {label: ceil(count / rates[label]) for label, count in missing.items()}
    for label, count in wanted.items():
        say(
            f"  {label}: {have[label]:,} of {aim:,}; {count:,} candidates are sought, because "
            f"{rates[label]:.0%} turn out to be it"
        )
    with recorded(project, "collect --top-up", [STAGES[0].name]) as record:
        record.under_way()
        figures = execute_beside(project, wanted)
    say("  `pocketvlm label` asks the teacher about them")
    return figures | {"sought": wanted}


def execute_beside(project: Project, wanted: Mapping[str, int]) -> Row:
    """Collect `wanted` only. The stage itself is as up to date as before: a folder or settings that
    changed since are still to be collected."""
    path = project.workspace.manifest(STAGES[0].name)
    before = read_json(path) if path.is_file() else None
    figures = execute(project, STAGES[0], partial(collect, more=wanted))
    if before is None:
        path.unlink()
    else:
        write_json(path, read_json(path) | {"inputs": before["inputs"]})
    return figures


def check_searchable(project: Project, missing: Mapping[str, int]) -> None:
    """ConfigError when no source can be searched for anything that is missing."""
    sources = project.config.collect.searched()
    if not any(label in searched for searched, _ in sources.values() for label in missing):
        raise ConfigError(
            f"no source can be searched for {', '.join(missing)}: name categories in collect.coco, "
            "queries in collect.unsplash or values in collect.hub.wanted"
        )


def hit_rates(project: Project, labels: Mapping[str, str]) -> dict[str, float]:
    """For each label the share of its candidates that have it now; two imagined candidates, one of
    them right, keep the first few from deciding."""
    sought, right = Counter[str](), Counter[str]()
    for row in read_rows(project.workspace.index):
        if label := row.get("sought"):
            sought[label] += 1
            right[label] += labels.get(row["sha256"]) == label
    return {
        label: max(LEAST, (right[label] + 2 * FIRST_GUESS) / (sought[label] + 2))
        for label in project.config.task.labels
    }
