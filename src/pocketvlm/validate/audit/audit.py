"""Torch against llama.cpp on the same pictures, level by level: the first that differs is named.

Torch is the student as it was trained (base and adapter); llama.cpp has an exact F32 file written
from the merged model for this purpose, and every pair of exported files. Answers of types coarser
than Q8_0, and of other vision files than the first, are measured here, not judged: they may differ
though nothing went wrong on the way, and the ladder says what that costs.
"""

import gc
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pocketvlm.contract import Contract
from pocketvlm.errors import GateMissed, PocketError
from pocketvlm.layout import runs
from pocketvlm.progress import bar
from pocketvlm.project import Project
from pocketvlm.runtime import Runtime, another_build, identity
from pocketvlm.sections import MARKER
from pocketvlm.validate.audit import levels
from pocketvlm.validate.audit.levels import Finding, Level
from pocketvlm.validate.audit.taught import Taught, layout_recorded, sample, teach
from pocketvlm.validate.ladder import Pair, exported
from pocketvlm.validate.reference import made_for_now
from pocketvlm.workspace import Row

EXACT = "F32"

UNRECORDED = (
    "the layout of the training is not recorded here (adapter/contract.json), so this build "
    "was asked: token ids say nothing"
)


def audit(project: Project, count: int) -> Row:
    """Compare on `count` pictures: `pictures`, `originals` (of them compared with the file they
    were prepared from), `layout_recorded` (False: the training's is not known, so that token ids
    say nothing), `levels` (rows), `near_ties`, `first_break` (or None), `runtime`, `other_build` (a
    sentence, when the student was trained under another).

    PocketError when there is nothing to compare yet."""
    as_shipped = shipped(project)
    project.check_contract(project.workspace.merged)
    taught = teach(project, sample(project, count))
    gc.collect()  # torch's student: peft's wrapper holds itself in a cycle
    found: list[Level] = [levels.bitmaps(project.contract, taught)]
    ties: list[Row] = []
    with made_for_now(project, EXACT) as exact:
        for pair in (Pair(EXACT, EXACT, exact, True), *as_shipped):
            rows, near = compare(project, taught, pair, exact=pair.files == exact)
            found += rows
            ties += near
    broken = next((level for level in in_order(found) if not level.passed), None)
    return {
        "pictures": len(taught),
        "originals": sum(one.original is not None for one in taught),
        "layout_recorded": layout_recorded(project),
        "levels": [level.row() for level in found],
        "near_ties": ties,
        "first_break": broken.row() if broken else None,
        "runtime": identity(),
        "other_build": another_build(taught[0].layout.runtime, identity()),
    }


def check_audit(figures: Row) -> None:
    """GateMissed that names the first level that breaks and the picture that shows it worst."""
    broken = figures["first_break"]
    if broken:
        raise GateMissed(sentence(broken), figures)


def audit_warnings(figures: Row) -> list[str]:
    """What a reader of the report and of the bundle must know, in sentences."""
    found = [sentence(figures["first_break"]).rstrip(".")] if figures["first_break"] else []
    if not figures["layout_recorded"]:
        found.append(UNRECORDED)
    return found + ([figures["other_build"]] if figures["other_build"] else [])


def sentence(broken: Row) -> str:
    """The first level that breaks, by how much, on which picture, and where to look."""
    return (
        f"torch and llama.cpp differ from the level {broken['level']!r} on ({broken['type']}): "
        f"{levels.figure(broken)}; worst on {broken['picture']}. {levels.CAUSES[broken['level']]}"
    )


def table(figures: Row) -> str:
    """The levels for people, one a line."""
    head = ("level", "files", "worst", "mean", "agree", "limit", "")
    lines = [head, *(levels.cells(row) for row in figures["levels"])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    text.append(f"{figures['pictures']} pictures, {figures['originals']} with their original")
    text += [
        f"near-tie ({tie['type']}): {tie['picture']}: {tie['note']}, torch's margin {tie['margin']}"
        for tie in figures["near_ties"]
    ]
    text += [f"mind: {warning}" for warning in audit_warnings(figures)]
    return "\n".join(text)


def in_order(found: Sequence[Level]) -> list[Level]:
    """By level first, by type second: a wrong bitmap explains every wrong answer."""
    return sorted(found, key=lambda level: levels.LEVELS.index(level.name))


def shipped(project: Project) -> list[Pair]:
    """The pairs of files that could ship; PocketError when `convert` has not left one."""
    pairs = exported(project)
    for file in (file for pair in pairs for file in pair.files):
        if not file.is_file():
            raise PocketError(f"{file} does not exist: run `pocketvlm convert` first")
    return pairs


def compare(
    project: Project, taught: Sequence[Taught], pair: Pair, exact: bool
) -> tuple[list[Level], list[Row]]:
    """The levels of one pair of files, and the near-ties among its answers."""
    contract, limits = project.contract, project.config.audit
    kind = EXACT if exact else f"{pair.kinds} as shipped"
    found: dict[str, list[Finding]] = {name: [] for name in levels.LEVELS[1:]}
    plain: list[Finding] = []
    with (
        Runtime(*pair.files, tiles=contract.tiles, exact=exact) as runtime,
        bar(f"Comparing {kind}", len(taught)) as advance,
    ):
        check_files(runtime, contract, pair.files, taught[0])
        for one in taught:
            found["token ids"].append(levels.ids(runtime, contract, one))
            judged, whole = levels.embeddings(runtime, one, exact)
            found["image embeddings"].append(judged)
            plain.append(whole)
            found["first-token logits"].append(levels.logits(runtime, contract, one, exact))
            found["answers"].append(levels.answer(runtime, contract, one, limits.near_tie))
            advance("")
        note = levels.layout_note(runtime, contract, taught[0])
    limit: dict[str, float | None] = {
        "token ids": 0.0,
        "image embeddings": limits.tower if exact else None,
        "first-token logits": limits.text if exact else None,
    }
    rows = [
        levels.summary(name, kind, taught, findings, limit[name])
        for name, findings in found.items()
        if name != "answers"
    ]
    rows.append(
        levels.answers(kind, taught, found["answers"], limits.answers if pair.fine else None)
    )
    rows[0] = rows[0].noted(note)
    if exact:
        unrounded = f"{kind}, torch unrounded"
        rows.insert(2, levels.summary("image embeddings", unrounded, taught, plain, None))
    return rows, levels.near_ties(kind, taught, found["answers"])


def check_files(
    runtime: Runtime, contract: Contract, files: tuple[Path, Path], one: Taught
) -> None:
    """PocketError when the files are of another contract or of another model than was trained."""
    runtime.check_contract(contract)
    black = np.zeros((runtime.side, runtime.side, 3), np.uint8)
    layout = runs(runtime.ids(MARKER, black), runtime.image_id)
    tile = next(run["picture"] for run in layout if "picture" in run)
    sizes = {
        "pixels a side": (runtime.side, contract.side),
        "embeddings a tile": (tile, len(one.features)),
        "tokens in its vocabulary": (runtime.size, len(one.logits)),
        "numbers an embedding": (runtime.hidden, one.features.shape[1]),
    }
    for what, (found, trained) in sizes.items():
        if found != trained:
            raise PocketError(
                f"{files[0]} and {files[1].name} have {found} {what}, the student {trained}: run "
                "`pocketvlm convert`"
            )
