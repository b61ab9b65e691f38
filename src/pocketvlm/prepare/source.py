"""Labelled pictures: from the teacher's ledger, or from one JSON or JSONL file of the user."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.label import answers_of
from pocketvlm.progress import track
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows, sha256_file

KEPT = ("reason", "visual_features", "colours", "texture", "alternative", "ambiguity")
"""What of a rich answer goes into the dataset; the student never sees it."""


UNASKED = "unasked"
"""The kind of a collected picture without an answer under the present prompt and model."""


@dataclass(frozen=True)
class Labelled:
    """One picture with its label."""

    id: str
    """SHA-256 of the picture's file."""
    path: Path
    label: str
    confidence: float
    source: str
    rich: Row = field(default_factory=dict)

    @property
    def image(self) -> str:
        """Where its bitmap lies in the dataset."""
        return f"images/{self.id}.png"

    def row(self) -> Row:
        """Its dataset line."""
        rich = {name: self.rich.get(name) for name in KEPT}
        line: Row = {"id": self.id, "image": self.image, "label": self.label}
        line |= {"confidence": self.confidence} | rich
        return line | {"source": self.source, "reviewed": self.rich.get("reviewed") is True}


@dataclass(frozen=True)
class Rejected:
    """One line without a usable label, and why."""

    image: str
    kind: str
    """One or two words to count by."""
    reason: str

    def row(self) -> Row:
        """Its line in skipped.jsonl."""
        return {"image": self.image, "kind": self.kind, "reason": self.reason}


def labelled_pictures(project: Project) -> tuple[list[Labelled], list[Rejected]]:
    """Everything that has a label of the task, and what has none; each picture once."""
    custom = project.config.prepare.custom
    if custom is None:
        return from_answers(project)
    return from_file(project.path(custom), project.contract.labels)


def from_answers(project: Project) -> tuple[list[Labelled], list[Rejected]]:
    """Pictures whose answer has status ok; the others with their status."""
    labelled, rejected = [], []
    answered = set()
    for picture, answer in answers_of(project):
        answered.add(picture["sha256"])
        if answer["status"] == "ok":
            path = project.workspace.originals / picture["file"]
            labelled.append(
                Labelled(
                    picture["sha256"],
                    path,
                    answer["label"],
                    answer["confidence"],
                    "teacher",
                    answer,
                )
            )
        else:
            reason = str(answer.get("error") or answer.get("reason") or answer.get("label"))
            rejected.append(Rejected(picture["origin"], answer["status"], reason))
    for picture in read_rows(project.workspace.index):
        if picture["sha256"] not in answered:
            rejected.append(Rejected(picture["origin"], UNASKED, "the teacher has not been asked"))
    return labelled, rejected


def from_file(path: Path, labels: tuple[str, ...]) -> tuple[list[Labelled], list[Rejected]]:
    """`image_path` (relative to the file), `label` or `element`, `reason`, `confidence`."""
    found: dict[str, Labelled] = {}
    rejected = []
    rows = read_any_json(path)
    for row in track(rows, "Reading", len(rows)):
        item = read_line(row, path, labels)
        if isinstance(item, Rejected):
            rejected.append(item)
        elif found.setdefault(item.id, item) is not item:
            reason = "the same picture stands in a line before"
            rejected.append(Rejected(str(row["image_path"]), "repeated", reason))
    if not found:
        why = f"the first line: {rejected[0].reason}" if rejected else "it is empty"
        raise PocketError(f"{path} holds no usable line; {why}")
    return list(found.values()), rejected


def read_line(row: Row, path: Path, labels: tuple[str, ...]) -> Labelled | Rejected:
    """One labelled picture of the file `path`, or what is wrong with its line."""
    image, sure = str(row.get("image_path")), row.get("confidence")
    label = row.get("label") or row.get("element")
    picture = path.parent / image
    if not row.get("image_path") or not is_file(picture):
        return Rejected(image, "no file", "image_path is missing or names no file")
    if label not in labels:
        return Rejected(image, "unknown label", f"label {label!r} is not in task.labels")
    if not _is_share(sure):
        return Rejected(image, "bad confidence", "confidence is no number from 0 to 1")
    try:
        sha256 = sha256_file(picture)
    except OSError as error:
        return Rejected(image, "unreadable", str(error))
    confidence = 1.0 if sure is None else float(sure)
    return Labelled(sha256, picture, label, confidence, path.name, row)


def read_any_json(path: Path) -> list[Row]:
    """A JSON list of objects, or JSON Lines."""
    if not path.is_file():
        raise ConfigError(f"prepare.custom: {path} does not exist; correct the path")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if not text.lstrip().startswith("["):
            text = "[" + ",\n".join(line for line in text.split("\n") if line.strip()) + "]"
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PocketError(f"{path} is neither a JSON list nor JSON Lines: {error}") from None
    if not all(isinstance(row, dict) for row in rows):
        raise PocketError(f"{path}: every element of the list must be an object")
    return list(rows)


def is_file(path: Path) -> bool:
    """Whether a custom dataset's path names a file; it may be no name at all."""
    try:
        return path.is_file()
    except OSError:  # no name of a file at all, such as a data URL
        return False


def _is_share(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return value is None or (isinstance(value, int | float) and 0 <= value <= 1)
