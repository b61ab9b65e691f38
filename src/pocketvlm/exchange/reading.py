"""Pictures with labels in a folder that another tool, or an export of ours, has made."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.exchange.columns import Columns, is_columns, read_columns
from pocketvlm.exchange.conversation import line_of
from pocketvlm.exchange.export import MARK
from pocketvlm.workspace import Row, read_record, read_rows

SPLITS = {"train": ("train",), "val": ("validation", "val"), "test": ("test",)}
"""Our splits under the names that other tools give them."""


@dataclass(frozen=True)
class Given:
    """One picture of the folder."""

    path: Path
    name: str
    """The picture's file as an export names it: without `images/` or the split's folder."""
    split: str | None
    """None where the folder has no splits."""
    row: Row
    """Its line without the picture; `label` may be missing."""


@dataclass(frozen=True)
class Unreadable:
    """A line of the folder that names no picture with a label."""

    path: Path
    reason: str


def read_folder(folder: Path) -> tuple[str, list[Given | Unreadable]]:
    """The form that was recognised, and everything in it; ConfigError when it is none of them."""
    mark: Row = read_record(folder / MARK) if (folder / MARK).is_file() else {}
    columns: Columns = mark.get("columns", {})
    if not is_columns(columns):
        raise PocketError(f"{folder / MARK} is damaged: export the data set again")
    for form, find in (("conversations", _talks), ("imagefolder", _metadata)):
        if files := list(find(folder)):
            read = [one for split, file in files for one in _lines(form, file, split, columns)]
            return form, read
    found: list[Given | Unreadable] = list(_classes(folder))
    if found:
        return "class folders", found
    raise ConfigError(
        f"{folder} holds neither metadata.jsonl (an imagefolder), nor train.jsonl with messages "
        "and images, nor a folder of pictures for each label"
    )


def _talks(folder: Path) -> Iterator[tuple[str | None, Path]]:
    """Files of conversations by split."""
    for split, names in SPLITS.items():
        for name in names:
            if (folder / f"{name}.jsonl").is_file():
                yield split, folder / f"{name}.jsonl"


def _metadata(folder: Path) -> Iterator[tuple[str | None, Path]]:
    """Files of metadata by split, or one for all pictures."""
    if (folder / "metadata.jsonl").is_file():
        yield None, folder / "metadata.jsonl"
    for split, names in SPLITS.items():
        for name in names:
            if (folder / name / "metadata.jsonl").is_file():
                yield split, folder / name / "metadata.jsonl"


def _lines(
    form: str, file: Path, split: str | None, columns: Columns
) -> Iterator[Given | Unreadable]:
    for number, row in enumerate(read_rows(file), 1):
        try:
            row = read_columns(row, columns)
            rest, name = line_of(row) if form == "conversations" else _named(row)
        except (ValueError, TypeError) as error:
            yield Unreadable(file, f"row {number}: {error}")
            continue
        path = inside(file, number, name)
        if form == "conversations" and path.is_relative_to("images"):
            path = path.relative_to("images")
        if "label" not in rest and "element" in rest:
            rest["label"] = rest.pop("element")
        yield Given(file.parent / name, path.as_posix(), split, rest)


def _named(row: Row) -> tuple[Row, str]:
    """A line of metadata.jsonl without its picture, and the picture's file."""
    name = row.pop("file_name", None)
    if not isinstance(name, str) or not name:
        raise ValueError("file_name is missing")
    return row, name


def inside(file: Path, number: int, name: str) -> PurePosixPath:
    """A path that a line names; PocketError when it leaves the folder: nothing is read then.

    What lies there may be a link, as in the Hub's cache: the person who has the folder made it."""
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.anchor or "://" in name or ".." in windows.parts:
        raise PocketError(
            f"{file}, row {number}: {name!r} leaves the folder: nothing was imported; correct the "
            "line if you trust this data set"
        )
    return path


def _classes(folder: Path) -> Iterator[Given]:
    """A folder for each label, in folders of splits or without."""
    splits = [(split, folder / name) for split, names in SPLITS.items() for name in names]
    there: list[tuple[str | None, Path]] = [(s, path) for s, path in splits if path.is_dir()]
    for split, base in there or [(None, folder)]:
        for path in sorted(base.rglob("*")):
            within = path.relative_to(base).parts
            if path.is_file() and len(within) > 1 and not any(p.startswith(".") for p in within):
                yield Given(path, "/".join(within), split, {"label": within[0]})
