"""Device bitmaps and the three splits; the split depends on the pictures alone."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pocketvlm.base import BaseUnreachable, check_labels
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.plots import balance_plot
from pocketvlm.prepare.balance import crowded, notes, table
from pocketvlm.prepare.bitmaps import CHECKSUMS, Made, write_bitmaps
from pocketvlm.prepare.card import dataset_card
from pocketvlm.prepare.labelled import Labelled, Rejected
from pocketvlm.prepare.source import UNASKED, labelled_pictures
from pocketvlm.prepare.splits import LOOKS, SPLITS, by_split, first_alike, looks_of, split_of
from pocketvlm.prepare.spool import Spool
from pocketvlm.progress import say, track
from pocketvlm.project import CONTRACT, ORIGINALS, Project
from pocketvlm.workspace import Row, atomic_folder, write_json, write_rows, write_text


def prepare(project: Project) -> Row:
    """Write dataset/ anew; unchanged bitmaps are linked from the one before."""
    check_own(project.workspace.dataset)
    try:
        check_labels(project)
    except BaseUnreachable:
        say("The base cannot be reached: its tokenizer is checked against the labels at training.")
    with Spool(project.workspace.root) as spool:
        labelled, rejected, files = labelled_pictures(project, spool)
        if not labelled:
            raise PocketError("no labelled picture: run `pocketvlm label` first, or see its ledger")
        with atomic_folder(project.workspace.dataset) as folder:
            alike = find_alike(project, folder, files)
            figures = write_dataset(project, folder, labelled, rejected, alike, spool)
    for line in table(figures["counts"], project.contract.labels):
        say(line)
    least = project.config.prepare.min_confidence
    if figures["unsure"]:
        say(f"  {figures['unsure']:,} left out of train: less sure than {least:g} (min_confidence)")
    if figures["rejected"]:
        say(f"  {figures['rejected']:,} not used: dataset/skipped.jsonl says why")
    for note in figures["notes"]:
        say(f"  {note}")
    return figures


def find_alike(project: Project, folder: Path, files: dict[str, str]) -> dict[str, str]:
    """Pictures that are like one before them, with that one; new hashes are kept in `folder`."""
    looks, new = looks_of(project, files)
    write_json(folder / LOOKS, new)
    return first_alike(looks)


def check_own(dataset: Path) -> None:
    """ConfigError when a dataset lies there that `prepare` did not make and would replace."""
    if (dataset / "train.jsonl").is_file() and not (dataset / CONTRACT).is_file():
        raise ConfigError(
            f"{dataset} was not made by prepare, which would replace it: use it with `pocketvlm "
            "run --from train`, or move it away"
        )


def wanted(item: Labelled, alike: dict[str, str], min_confidence: float) -> bool:
    """The confidence filter applies to train only."""
    leader = alike.get(item.id, item.id)
    return split_of(leader) != "train" or item.confidence >= min_confidence


def write_dataset(
    project: Project,
    folder: Path,
    labelled: list[Labelled],
    rejected: list[Rejected],
    alike: dict[str, str],
    spool: Spool,
) -> Row:
    """Everything in dataset/; the figures. PocketError when no picture is left."""
    least = project.config.prepare.min_confidence
    sure = [item for item in labelled if wanted(item, alike, least)]
    kept, broken = fill(project, folder, sure)
    if not kept:
        raise PocketError(
            f"nothing is left of {len(labelled)} labelled pictures: {len(broken)} cannot be read, "
            f"{len(labelled) - len(sure)} are under prepare.min_confidence"
        )
    splits = by_split(kept, alike)
    for name in SPLITS:
        write_rows(folder / f"{name}.jsonl", (item.row(spool) for item in splits[name]))
    skipped = [item.row() for item in [*rejected, *broken]]
    write_rows(folder / "skipped.jsonl", skipped)
    figures = _figures(project, splits, skipped)
    figures["unsure"] = len(labelled) - len(sure)
    figures["near_duplicates"] = sum(item.id in alike for item in kept)
    figures["notes"] += crowded(Counter(alike.get(item.id, item.id) for item in kept))
    write_text(folder / "README.md", dataset_card(project, figures))
    write_text(folder / "balance.svg", balance_plot(figures["counts"], project.contract.labels))
    return figures


def fill(
    project: Project, folder: Path, items: list[Labelled]
) -> tuple[list[Labelled], list[Rejected]]:
    """Write the bitmaps and where they come from; the pictures that have one, and the others."""
    (folder / "images").mkdir()
    kept, broken, checksums = list[Labelled](), list[Rejected](), list[str]()
    for item, made in track(_made(project, folder, items), "Preparing", len(items)):
        if made.sha256 is None:
            broken.append(Rejected(item.file, "unreadable", str(made.reason)))
        else:
            kept.append(item)
            checksums.append(made.sha256)
    project.record_contract(folder)
    root = project.workspace.root
    write_json(folder / ORIGINALS, {item.image: os.path.relpath(item.file, root) for item in kept})
    images = (item.image for item in kept)
    write_json(folder / CHECKSUMS, dict(zip(images, checksums, strict=True)))
    return kept, broken


def _made(project: Project, folder: Path, items: list[Labelled]) -> Iterator[tuple[Labelled, Made]]:
    pictures = ((item.id, item.path) for item in items)
    yield from zip(items, write_bitmaps(pictures, folder, project), strict=True)


def _figures(project: Project, splits: dict[str, list[Labelled]], skipped: list[Row]) -> Row:
    counts = {name: dict(Counter(item.label for item in splits[name])) for name in SPLITS}
    figures: Row = {name: len(splits[name]) for name in SPLITS}
    reasons = Counter(row["kind"] for row in skipped)
    said = notes(counts, project.contract.labels)
    if unasked := reasons[UNASKED]:
        said.insert(0, f"pictures without an answer yet: {unasked}; run `pocketvlm label`")
    return figures | {
        "counts": counts,
        "reviewed": sum(item.reviewed for items in splits.values() for item in items),
        "rejected": len(skipped),
        "reasons": dict(reasons.most_common()),
        "notes": said,
    }


__all__ = ["prepare", "split_of"]
