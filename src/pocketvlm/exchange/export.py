"""The data set as other tools take it: an imagefolder of `datasets`, or conversations for TRL."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from pocketvlm.dataset import read_split
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.exchange.card import card
from pocketvlm.exchange.columns import unlike, write_columns
from pocketvlm.exchange.conversation import conversation
from pocketvlm.progress import track
from pocketvlm.project import CONTRACT, Project
from pocketvlm.workspace import (
    Row,
    atomic_folder,
    link,
    read_record,
    read_rows,
    write_json,
    write_rows,
    write_text,
)

Form = Literal["imagefolder", "conversations"]

NAMES = {"train": "train", "val": "validation", "test": "test"}
"""Our splits, and what other tools call them."""

MARK = "export.json"
"""Says that a folder is an export of ours, and how it is to be read back."""

CARD = "README.md"


@dataclass(frozen=True)
class Picture:
    """One line of the data set."""

    bitmap: Path
    name: str
    """The bitmap's name in the export, with slashes for folders."""
    row: Row
    """`label`, then the line's other fields as they are."""


def export(project: Project, folder: Path, form: Form) -> Row:
    """Write the data set into `folder`, which may be an export of before; how many pictures went
    into each split.

    `imagefolder`: train/, validation/ and test/ with pictures and metadata.jsonl, and a card that
    `datasets.load_dataset(folder)` follows. `conversations`: train.jsonl, validation.jsonl and
    test.jsonl of TRL's vision format beside images/. Splits without pictures are left out. Bitmaps
    are linked, not copied, where the file system can. ConfigError when `folder` holds something
    else, PocketError when the data set is not whole."""
    target = folder.expanduser()
    check_target(target)
    project.check_contract(project.workspace.dataset)
    splits = read_pictures(project)
    write_export(project, splits, target, form)
    counts = {name: len(splits.get(other, ())) for name, other in NAMES.items()}
    return {"folder": str(target), "form": form, **counts}


def write_export(
    project: Project, splits: dict[str, list[Picture]], target: Path, form: Form
) -> None:
    """Write pictures by split, with their card, in place of what is in `target`."""
    lines = {name: [one.row for one in found] for name, found in splits.items()}
    columns = unlike(lines)
    with atomic_folder(target) as partial:
        place_bitmaps(splits, partial, form)
        for name, found in splits.items():
            rows = (line_of(one, form, project) for one in found)
            path = partial / lines_file(name, form)
            write_rows(path, (write_columns(row, columns) for row in rows))
        before = project.workspace.dataset / CONTRACT
        if before.is_file():
            shutil.copyfile(before, partial / CONTRACT)
        else:
            project.record_contract(partial)
        files = {name: data_files(name, form) for name in splits}
        write_text(partial / CARD, card(project, lines, files))
        record = {"form": form, "columns": columns, "files": count_files(partial)}
        write_json(partial / MARK, record)


def check_target(target: Path) -> None:
    """ConfigError where something lies that would be lost."""
    if not target.exists():
        return
    if not target.is_dir():
        raise ConfigError(f"{target} is a file: name a folder")
    ours = {MARK, CARD, CONTRACT, "images", *NAMES.values()}
    ours |= {lines_file(name, "conversations") for name in NAMES.values()}
    here = {path.name for path in target.iterdir()}
    if MARK in here and not here - ours and _added(target):
        raise ConfigError(
            f"{target} holds files that the export before did not write: move them, or name a new "
            "folder"
        )
    if here and (MARK not in here or here - ours):
        foreign = ", ".join(sorted(here - ours)[:3]) or "other files"
        raise ConfigError(
            f"{target} is no export that may be replaced, it holds {foreign}: name a new or empty "
            "folder"
        )


def _added(target: Path) -> bool:
    """Whether more lies in an export than was written."""
    written = read_record(target / MARK).get("files")
    return written is not None and count_files(target) - 1 > int(written)


def count_files(folder: Path) -> int:
    """Files below a folder."""
    return sum(path.is_file() for path in folder.rglob("*"))


def read_pictures(project: Project) -> dict[str, list[Picture]]:
    """The lines of each split that has some, under other tools' names."""
    splits = {other: list(_pictures(project, name)) for name, other in NAMES.items()}
    if not any(splits.values()):
        raise PocketError(f"{project.workspace.dataset} holds no picture: there is nothing to give")
    return {name: found for name, found in splits.items() if found}


def _pictures(project: Project, name: str) -> Iterator[Picture]:
    path = project.workspace.split(name)
    for line, row in zip(read_split(project, name), read_rows(path), strict=True):
        rest = {key: row[key] for key in row if key not in ("image", "label", "element")}
        if taken := [key for key in rest if is_reserved(key)]:
            raise PocketError(
                f"{path}: {taken[0]!r} means a picture to other tools: rename it in the lines"
            )
        image = PurePosixPath(line.image)
        inside = image.relative_to("images") if image.is_relative_to("images") else image
        bitmap = project.workspace.dataset / line.image
        yield Picture(bitmap, inside.as_posix(), {"label": line.label, **rest})


def is_reserved(key: str) -> bool:
    """Whether readers of either form take a column for something of their own."""
    named = key in ("file_name", "file_names", "messages", "images")
    return named or key.endswith(("_file_name", "_file_names"))


def place_bitmaps(splits: dict[str, list[Picture]], folder: Path, form: Form) -> None:
    """Put every bitmap where its line says; PocketError when one is missing."""
    placed: dict[str, Path] = {}
    items = [(image_file(name, one, form), one.bitmap) for name in splits for one in splits[name]]
    for name, bitmap in track(items, "Exporting", len(items)):
        if placed.setdefault(name, bitmap) != bitmap:
            raise PocketError(f"{bitmap} and {placed[name]} would have one name: rename one")
        target = folder / name
        if target.exists():  # two lines of one picture
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            link(bitmap, target)
        except OSError as error:
            raise PocketError(
                f"{bitmap} cannot be taken ({error.strerror}): run `pocketvlm prepare` again"
            ) from None


def line_of(one: Picture, form: Form, project: Project) -> Row:
    """A picture's line in the export."""
    if form == "imagefolder":
        return {"file_name": one.name, **one.row}
    return conversation(one.row, f"images/{one.name}", project.config.task.question)


def image_file(split: str, one: Picture, form: Form) -> str:
    """Where a bitmap lies in the export."""
    return f"{split if form == 'imagefolder' else 'images'}/{one.name}"


def lines_file(split: str, form: Form) -> str:
    """Where a split's lines lie in the export."""
    return f"{split}/metadata.jsonl" if form == "imagefolder" else f"{split}.jsonl"


def data_files(split: str, form: Form) -> str:
    """The pattern by which `datasets` finds a split."""
    return f"{split}/**" if form == "imagefolder" else f"{split}.jsonl"
