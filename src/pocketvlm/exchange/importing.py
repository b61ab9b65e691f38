"""A data set of another tool, or an export of ours, as the workspace's dataset/."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from pydantic import ValidationError

from pocketvlm.dataset import Line
from pocketvlm.duplicates import perceptual_hash
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.exchange.reading import Given, Unreadable, read_folder
from pocketvlm.parallel import in_order
from pocketvlm.pictures import BROKEN, FORMATS, open_picture
from pocketvlm.prepare import first_alike, split_of
from pocketvlm.prepare.bitmaps import png
from pocketvlm.prepare.labelled import Rejected
from pocketvlm.progress import say, track
from pocketvlm.project import CONTRACT, Project
from pocketvlm.workspace import Row, atomic_folder, read_record, write_json, write_rows

MARK = "import.json"
"""In dataset/: says that it was imported, and may be by another import replaced."""

NAMES = ("train", "val", "test")


@dataclass(frozen=True)
class Made:
    """A picture as it enters the data set."""

    sha256: str
    """Of the file that was read."""
    data: bytes
    """The bitmap's file."""
    kept: bool
    """Whether these are the bytes that were read."""
    look: str | None = None
    """Its perceptual hash, where the split is ours to choose."""


def import_dataset(project: Project, folder: Path) -> Row:
    """Read an imagefolder (metadata.jsonl, or a folder for each label) or conversations into the
    workspace's dataset/, for `pocketvlm run --from train`; how many pictures went where.

    Bitmaps of an export that was made under the project's contract stay byte for byte, and their
    lines as they were; other pictures become the device's bitmap. Splits are kept; pictures
    without are split by their file's SHA-256, near-duplicates together. What has no label of the
    task or cannot be read is listed in skipped.jsonl. PocketError when a line names a file outside
    the folder, ConfigError when a data set lies there that was not imported."""
    folder, dataset = folder.expanduser(), project.workspace.dataset
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder: name one that holds a data set")
    _check_free(dataset)
    form, given = read_folder(folder)
    same = _contract_of(folder) == project.contract.hash
    with atomic_folder(dataset) as partial:
        run = Import(project, partial, same)
        for one, made in track(in_order(run.make, given), "Importing", len(given)):
            run.take(one, made)
        counts = run.finish()
        if not any(counts[name] for name in NAMES):
            why = f"; the first: {run.skipped[0].reason}" if run.skipped else ""
            raise PocketError(f"{folder} holds no picture with a label of the task{why}")
        record = {"from": str(folder), "form": form, "contract": project.contract.hash}
        write_json(partial / MARK, record | counts)
    # This data set is not what `prepare` made, whatever its manifest says.
    project.workspace.manifest("prepare").unlink(missing_ok=True)
    for name in NAMES:
        if not counts[name]:
            say(f"  {name} is empty")
    return {"form": form, **counts}


def _check_free(dataset: Path) -> None:
    if dataset.is_dir() and any(dataset.iterdir()) and not (dataset / MARK).is_file():
        raise ConfigError(
            f"{dataset} was not imported, and would be lost: move it away "
            f"(mv {dataset} {dataset.with_name('dataset-before')})"
        )


def _contract_of(folder: Path) -> str | None:
    path = folder / CONTRACT
    return read_record(path).get("hash") if path.is_file() else None


@dataclass
class Import:
    """What has come so far."""

    project: Project
    folder: Path
    same: bool
    """Whether bitmaps and lines are ours, under the present contract."""
    lines: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in NAMES})
    skipped: list[Rejected] = field(default_factory=list)
    images: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of the file behind each image."""
    kept: int = 0
    unsplit: dict[str, Row] = field(default_factory=dict)
    """Lines without a split, by the SHA-256 of their picture, and how those look."""
    looks: dict[str, str | None] = field(default_factory=dict)

    def make(self, one: Given | Unreadable) -> Made | Rejected:
        """The bitmap of a picture with a label of the task, or why there is none."""
        file = str(one.path)
        if isinstance(one, Unreadable):
            return Rejected(file, "bad line", one.reason)
        if (label := one.row.get("label")) not in self.project.contract.labels:
            reason = f"label {str(label)[:80]!r} is not in task.labels"
            return Rejected(file, "unknown label", reason)
        try:
            if not one.path.is_file():
                return Rejected(file, "unreadable", "it is no file")
            data = one.path.read_bytes()
            sha256 = hashlib.sha256(data).hexdigest()
            if self.same and self._is_bitmap(one.path):
                return Made(sha256, data, True)
            pixels = open_picture(one.path, self.project.contract.exif)
            look = None if one.split else perceptual_hash(pixels)
            return Made(sha256, png(self.project.contract.bitmap(pixels)), False, look)
        except OSError as error:
            return Rejected(file, "unreadable", error.strerror or str(error))
        except (PocketError, ValueError) as error:  # ValueError: a name that no file can have
            return Rejected(file, "unreadable", str(error))

    def _is_bitmap(self, path: Path) -> bool:
        """Whether a file is a whole bitmap of the device's side."""
        side = self.project.contract.side
        try:
            with Image.open(path, formats=FORMATS) as picture:
                picture.load()
                return picture.size == (side, side)
        except BROKEN:
            return False

    def take(self, one: Given | Unreadable, made: Made | Rejected) -> None:
        """Put a picture into its split, or on the list of those that were left out."""
        if isinstance(made, Rejected):
            self.skipped.append(made)
            return
        assert isinstance(one, Given)
        row = self._line(one, made)
        if (reason := self._wrong(row, made)) is not None:
            self.skipped.append(Rejected(str(one.path), *reason))
            return
        path = self.folder / row["image"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.data)
        self.images[row["image"]] = made.sha256
        self.kept += made.kept
        if one.split:
            self.lines[one.split].append(row)
        else:
            self.unsplit[made.sha256], self.looks[made.sha256] = row, made.look

    def _line(self, one: Given, made: Made) -> Row:
        """Ours comes back as it was; another's is named by its file's hash."""
        rest = {key: value for key, value in one.row.items() if key not in ("id", "image")}
        if self.same:
            known = {"id": one.row["id"]} if "id" in one.row else {}
            return {**known, "image": f"images/{one.name}", **rest}
        name = one.row.get("id")
        known = {"id": made.sha256 if name is None else str(name)}
        return {**known, "image": f"images/{made.sha256}.png", **rest}

    def _wrong(self, row: Row, made: Made) -> tuple[str, str] | None:
        """Kind and reason why a line cannot be taken."""
        try:
            Line.model_validate(row)
        except ValidationError as error:
            first = error.errors()[0]
            return "bad line", f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        before = self.images.get(row["image"])
        if before is None or (self.same and before == made.sha256):
            return None
        return "repeated", "the same picture, or another of its name, stands in a line before"

    def finish(self) -> Row:
        """Choose the splits that are ours to choose, near-duplicates together, and write the
        lines; the counts."""
        alike = first_alike(self.looks)
        for sha256, row in self.unsplit.items():
            self.lines[split_of(alike.get(sha256, sha256))].append(row)
        for name in NAMES:
            write_rows(self.folder / f"{name}.jsonl", self.lines[name])
        write_rows(self.folder / "skipped.jsonl", (one.row() for one in self.skipped))
        counts: Row = {name: len(self.lines[name]) for name in NAMES}
        reasons = dict(Counter(one.kind for one in self.skipped).most_common())
        return counts | {"skipped": len(self.skipped), "reasons": reasons, "kept": self.kept}
