"""Device bitmaps and the three splits; the split depends on the hash of the picture alone."""

import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from pocketvlm.base import BaseUnreachable, check_labels
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.prepare.card import dataset_card
from pocketvlm.prepare.source import UNASKED, Labelled, Rejected, labelled_pictures
from pocketvlm.progress import say, track
from pocketvlm.project import CONTRACT, ORIGINALS, Project
from pocketvlm.workspace import (
    Row,
    atomic_folder,
    fingerprint,
    link,
    read_json,
    sha256_file,
    write_json,
    write_rows,
    write_text,
)

SPLITS = ("train", "val", "test")
CHECKSUMS = "bitmaps.json"
"""SHA-256 of every bitmap, by its name."""

THIN = 10
"""Fewer pictures of a label in train than this are worth a word."""

WRITERS = 4
"""Pictures decoded and encoded at a time."""


def split_of(picture_id: str) -> str:
    """80/10/10 by the first 32 bits of the picture's SHA-256: labels, other pictures and the
    order they came in move nothing between splits."""
    share = int(picture_id[:8], 16) / 2**32
    return "train" if share < 0.8 else "val" if share < 0.9 else "test"


def prepare(project: Project) -> Row:
    """Write dataset/ anew; unchanged bitmaps are linked from the one before."""
    check_own(project.workspace.dataset)
    try:
        check_labels(project)
    except BaseUnreachable:
        say("The base cannot be reached: its tokenizer is checked against the labels at training.")
    labelled, rejected = labelled_pictures(project)
    if not labelled:
        raise PocketError("no labelled picture: run `pocketvlm label` first, or see its ledger")
    kept = [item for item in labelled if wanted(item, project.config.prepare.min_confidence)]
    with atomic_folder(project.workspace.dataset) as folder:
        (folder / "images").mkdir()
        broken = write_bitmaps(project, folder, kept)
        unsure = len(labelled) - len(kept)
        kept = [item for item in kept if item.id not in broken]
        if not kept:
            raise PocketError(
                f"nothing is left of {len(labelled)} labelled pictures: {len(broken)} cannot be "
                f"read, {unsure} are under prepare.min_confidence"
            )
        splits = _by_split(kept)
        for name in SPLITS:
            write_rows(folder / f"{name}.jsonl", (item.row() for item in splits[name]))
        skipped = [item.row() for item in rejected] + list(broken.values())
        write_rows(folder / "skipped.jsonl", skipped)
        project.record_contract(folder)
        images = [item.image for item in kept]
        root = project.workspace.root
        origins = {item.image: os.path.relpath(item.path, root) for item in kept}
        write_json(folder / ORIGINALS, origins)
        write_json(folder / CHECKSUMS, {image: sha256_file(folder / image) for image in images})
        figures = _figures(project, splits, unsure, skipped)
        write_text(folder / "README.md", dataset_card(project, figures))
    for note in figures["notes"]:
        say(f"  {note}")
    return figures


def check_own(dataset: Path) -> None:
    """ConfigError when a dataset lies there that `prepare` did not make and would replace."""
    if (dataset / "train.jsonl").is_file() and not (dataset / CONTRACT).is_file():
        raise ConfigError(
            f"{dataset} was not made by prepare, which would replace it: use it with `pocketvlm "
            "run --from train`, or move it away"
        )


def wanted(item: Labelled, min_confidence: float) -> bool:
    """The confidence filter applies to train only."""
    return split_of(item.id) != "train" or item.confidence >= min_confidence


def write_bitmaps(project: Project, folder: Path, items: list[Labelled]) -> dict[str, Row]:
    """Write every picture as the device's bitmap (PNG); those that cannot be read, by id."""
    old = project.workspace.dataset
    known = made_before(project)

    def write(item: Labelled) -> str | None:
        target = folder / item.image
        if known.get(item.image) == fingerprint(old / item.image) is not None:
            link(old / item.image, target)
            return None
        try:
            bitmap = project.contract.open(item.path)
        except PocketError as error:
            return str(error)
        Image.fromarray(bitmap).save(target, compress_level=1)
        return None

    with ThreadPoolExecutor(WRITERS) as pool:
        done = track(pool.map(write, items), "Preparing", len(items))
        reasons = zip(items, done, strict=True)
        return {
            item.id: Rejected(str(item.path), "unreadable", r).row() for item, r in reasons if r
        }


def made_before(project: Project) -> dict[str, str]:
    """The SHA-256 of each bitmap that was made under the present contract, by its name: one that
    still has it is taken again, one that was damaged or altered since is made anew."""
    old = project.workspace.dataset
    same = (old / CONTRACT).is_file() and read_json(old / CONTRACT).get("hash")
    if same != project.contract.hash or not (old / CHECKSUMS).is_file():
        return {}
    known: dict[str, str] = read_json(old / CHECKSUMS)
    return known


def _by_split(items: Iterable[Labelled]) -> dict[str, list[Labelled]]:
    splits: dict[str, list[Labelled]] = {name: [] for name in SPLITS}
    for item in sorted(items, key=lambda item: item.id):
        splits[split_of(item.id)].append(item)
    return splits


def _figures(
    project: Project, splits: dict[str, list[Labelled]], unsure: int, skipped: list[Row]
) -> Row:
    counts = {name: dict(Counter(item.label for item in splits[name])) for name in SPLITS}
    figures: Row = {name: len(splits[name]) for name in SPLITS}
    reasons = Counter(row["kind"] for row in skipped)
    said = notes(counts, project.contract.labels)
    if unasked := reasons[UNASKED]:
        said.insert(0, f"pictures without an answer yet: {unasked}; run `pocketvlm label`")
    return figures | {
        "counts": counts,
        "unsure": unsure,
        "rejected": len(skipped),
        "reasons": dict(reasons.most_common()),
        "notes": said,
    }


def notes(counts: dict[str, dict[str, int]], labels: Iterable[str]) -> list[str]:
    """What the splits cannot hold, in sentences."""
    found = []
    if not counts["train"]:
        found.append("train is empty: collect more pictures or lower prepare.min_confidence")
    for name in ("val", "test"):
        if not counts[name]:
            found.append(f"{name} is empty: the split follows each picture's hash; collect more")
    for label in labels:
        have = counts["train"].get(label, 0)
        if have < THIN:
            found.append(f"train holds only {have} of '{label}': collect more of it")
        if counts["test"] and label not in counts["test"]:
            found.append(f"test holds no '{label}': its accuracy stays unknown")
    return found


__all__ = ["Rejected", "prepare", "split_of"]
