"""The whole way at several sides, each in a folder of its own: what does a smaller picture cost?

Bitmap and tower change together (`device.side`); pictures and labels are the project's, so that the
teacher is asked once and every side is asked the same test pictures.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pocketvlm import intervals
from pocketvlm.base import TOKENIZER_FILES, find_base
from pocketvlm.config import Config, commented_yaml, parse_config
from pocketvlm.errors import ConfigError, GateMissed, PocketError
from pocketvlm.layout import Layout
from pocketvlm.pipeline.run import run
from pocketvlm.pipeline.stages import STAGES
from pocketvlm.pipeline.work import recorded
from pocketvlm.progress import bar, say
from pocketvlm.project import CONTRACT, Project
from pocketvlm.workspace import Row, read_json, read_rows, sha256_json, write_json, write_text

if TYPE_CHECKING:
    from pocketvlm.runtime import Answer

FOLDER = "sizes"
OPTION = "--vision-sizes"
NOTE = f"# Written by `pocketvlm run {OPTION}` from the project's configuration: change that one.\n"

SHARED = ("originals", "labels")
"""What every side takes from the project."""

MEASURED = ("accuracy", "ci", "n", "split", "truth", "type")
"""What of metrics.json the comparison shows."""

TIMES = ("ms", "vision_ms")
TURNS, TURN = 3, 5
"""How often each side is timed, and on how many pictures a time."""

MIB = 2**20


def read_sides(text: str) -> list[int]:
    """The sides in `256,512`."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{OPTION} {text}: write sides with commas, such as 256,512") from None


def compare_sizes(project: Project, sides: Sequence[int], force: bool = False) -> Row:
    """Run the whole way for each side; write sizes/sizes.json and sizes/sizes.html.

    The figures: `sides`, a row a side with the smallest first; `words`, what the others gain and
    cost against it; `timed`, what the times are of. A missed gate is in its row (`gate`);
    `check_sizes` raises it. What is up to date is skipped. ConfigError for sides that cannot be
    compared."""
    check_sides(sides)
    with recorded(project, f"run {OPTION}", [stage.name for stage in STAGES]) as record:
        if project.config.prepare.custom is None:
            run(project, last="label", force=force)
        record.under_way()
        figures = _compare(project, sorted(sides), force)
        record.gate = missed_sides(figures)
    return figures


def _compare(project: Project, sides: Sequence[int], force: bool) -> Row:
    from pocketvlm.pipeline.sizes_page import prices, render

    folder = project.workspace.root / FOLDER
    ran, gates = run_sides(project, sides, force)
    times = (None if force else known_times(folder, ran)) or ask_in_turns(ran)
    answers = [right_by_picture(one) for one in ran]
    rows = [measured(one) | time for one, time in zip(ran, times, strict=True)]
    for row, gate, right in zip(rows, gates, answers, strict=True):
        row["against_smallest"] = None if row is rows[0] else paired(answers[0], right)
        row["gate"] = gate
    figures: Row = {"sides": rows, "words": prices(rows), "timed": timed_files(ran)}
    write_json(folder / "sizes.json", figures)
    write_text(folder / "sizes.html", render(project, figures))
    return figures


def check_sides(sides: Sequence[int]) -> None:
    """ConfigError for fewer than two sides, one that is named twice, or one no tower has."""
    if len(sides) < 2 or len(set(sides)) < len(sides):
        given = ",".join(map(str, sides))
        raise ConfigError(f"{OPTION} {given}: name at least two sides, each once")
    for side in sides:
        parse_config({"device": {"side": side}}, OPTION)


def missed_sides(figures: Row) -> str:
    """Every side below the gate, in words; empty where there is none."""
    return "; ".join(
        f"side {row['side']}: {row['gate']}" for row in figures["sides"] if row["gate"]
    )


def check_sizes(figures: Row) -> None:
    """GateMissed, with all figures, that names every side below the gate."""
    if told := missed_sides(figures):
        raise GateMissed(told, figures)


def run_sides(
    project: Project, sides: Sequence[int], force: bool
) -> tuple[list[Project], list[str | None]]:
    """Each side's project after its run, and what its gate says when it was missed: that does not
    stop the sides after it."""
    base = pinned_base(project)
    ran: list[Project] = []
    gates: list[str | None] = []
    for side in sides:
        say(f"\nSide {side}")
        ran.append(at_side(project, side, base))
        gates.append(None)
        try:
            run(ran[-1], first="prepare", force=force)
        except GateMissed as missed:
            say(f"  gate missed: {missed}")
            gates[-1] = str(missed)
    return ran, gates


def pinned_base(project: Project) -> Row:
    """The base's settings for all sides. One of the hub is named by its commit: a branch that
    moves between two sides would be measured as a difference of sides."""
    settings: Row = project.config.base.model_dump(mode="json")
    commit = find_base(project, TOKENIZER_FILES).record.get("commit")
    return settings | {"revision": commit} if commit else settings


def at_side(project: Project, side: int, base: Row) -> Project:
    """The project at another side, in sizes/<side>/, with the project's pictures and labels."""
    folder = (project.workspace.root / FOLDER / str(side)).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    config = configured(project, side, base, folder)
    write_text(folder / "pocketvlm.yaml", NOTE + commented_yaml(config))
    if project.config.prepare.custom is None:
        for name in SHARED:
            share(project, folder, name)
    return Project.load(folder / "pocketvlm.yaml")


def configured(project: Project, side: int, base: Row, folder: Path) -> Config:
    """The project's configuration for `folder`: another side, and paths that mean the same."""
    data = project.config.model_dump(mode="json", by_alias=True)
    data["device"] |= {"side": side, "vision_size": None}
    data["base"] = dict(base)
    paths = [("collect", "folder"), ("prepare", "custom"), ("validate", "truth_file")]
    if project.path(Path(base["model"])).is_dir():
        paths.append(("base", "model"))
    for section, key in paths:
        if data[section][key] is not None:
            data[section][key] = str(seen_from(folder, project, Path(data[section][key])))
    return parse_config(data, OPTION)


def seen_from(folder: Path, project: Project, given: Path) -> Path:
    """A path of the project's configuration as one of `folder`'s: a relative one stays relative,
    so that the project can be moved with its sizes."""
    if given.expanduser().is_absolute():
        return given
    return Path(os.path.relpath(project.workspace.root.resolve(), folder)) / given


def share(project: Project, folder: Path, name: str) -> None:
    """Link a folder of the project into `folder`."""
    link, target = folder / name, seen_from(folder, project, Path(name))
    if link.is_symlink():
        if link.readlink() == target:
            return
        link.unlink()
    elif link.exists():
        raise PocketError(f"{link} is no link to the project's {name}: move it away")
    link.symlink_to(target, target_is_directory=True)


def measured(project: Project) -> Row:
    """What one side's folder says of its size, its accuracy and its time."""
    space = project.workspace
    metrics = read_json(space.report / "metrics.json")
    text, vision = (file.stat().st_size / MIB for file in shipped(project))
    tiles = Layout.read(read_json(space.adapter / CONTRACT)).tiles
    return {
        "side": project.contract.side,
        "image_tokens": tiles[0],
        "tiles": len(tiles),
        "mmproj_mib": round(vision, 2),
        "mib": round(text + vision, 2),
        **{name: metrics[name] for name in MEASURED},
        "train_seconds": read_json(space.manifest("train"))["seconds"],
    }


def shipped(project: Project) -> tuple[Path, Path]:
    """The two files that a side's verdict says ship."""
    space, metrics = project.workspace, read_json(project.workspace.report / "metrics.json")
    return space.text_gguf(metrics["type"]), space.vision_gguf(metrics["mmproj_type"])


def timed_files(ran: Sequence[Project]) -> str:
    """Names the files and the llama.cpp that times were taken of."""
    metrics = [read_json(one.workspace.report / "metrics.json") for one in ran]
    return sha256_json([[each["files"], each["runtime"]] for each in metrics])


def known_times(folder: Path, ran: Sequence[Project]) -> list[Row] | None:
    """The times of the last comparison, if it was of the same files."""
    path = folder / "sizes.json"
    before = read_json(path) if path.is_file() else {}
    if before.get("timed") != timed_files(ran):
        return None
    return [{name: row[name] for name in TIMES} for row in before["sides"]]


def ask_in_turns(ran: Sequence[Project]) -> list[Row]:
    """Milliseconds of each side's fastest answer in llama.cpp: `ms`, of them `vision_ms`.

    With the processors busy, the medians of two sides were 2.1 to 5.1 times apart from one minute
    to the next; the fastest answers always 3.1 to 3.3 times, as the medians of a quiet machine.
    The sides take turns for the same reason. One pair of files is in memory at a time."""
    asked: list[list[Answer]] = [[] for _ in ran]
    with bar("Timing", TURNS * len(ran)) as advance:
        for _ in range(TURNS):
            for one, answers in zip(ran, asked, strict=True):
                answers += ask(one)
                advance("")
    fastest = [min(answers, key=lambda answer: answer.ms) for answers in asked]
    return [{name: round(getattr(answer, name), 1) for name in TIMES} for answer in fastest]


def ask(project: Project) -> list[Answer]:
    """Answers of the shipped files to the first test pictures; what loads slowly is not timed."""
    from pocketvlm.runtime import Runtime

    space, contract = project.workspace, project.contract
    rows = islice(read_rows(space.report / "predictions.jsonl"), TURN)
    bitmaps = [contract.open(space.dataset / row["image"]) for row in rows]
    with Runtime(*shipped(project), tiles=contract.tiles) as runtime:
        answers = [
            runtime.answer(contract.prompt, bitmap, contract.max_new_tokens)
            for bitmap in [bitmaps[0], *bitmaps]
        ]
    return answers[1:]


def right_by_picture(project: Project) -> dict[str, bool]:
    """Whether the shipped files answer each test picture right."""
    rows = read_rows(project.workspace.report / "predictions.jsonl")
    return {row["id"]: row["right"] for row in rows}


def paired(smallest: Mapping[str, bool], other: Mapping[str, bool]) -> Row:
    """How much more often `other` is right on the pictures that both were asked: `difference` and
    `ci` (shares), `n`, and how many only one of the two gets right."""
    both = smallest.keys() & other.keys()
    gained = sum(other[key] and not smallest[key] for key in both)
    lost = sum(smallest[key] and not other[key] for key in both)
    difference, low, high = intervals.paired(gained, lost, len(both))
    return {
        "difference": difference,
        "ci": [low, high],
        "n": len(both),
        "only_this": gained,
        "only_smallest": lost,
    }
