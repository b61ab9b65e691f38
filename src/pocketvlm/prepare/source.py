"""Labelled pictures: from the teacher's ledger, or from one JSON or JSONL file of the user."""

import json
from pathlib import Path

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.label import answers_of
from pocketvlm.prepare.labelled import Labelled, Rejected, corrected, outside, rest_of
from pocketvlm.prepare.spool import Spool
from pocketvlm.progress import track
from pocketvlm.project import Project
from pocketvlm.reviews import Review, read_reviews
from pocketvlm.workspace import Row, read_rows, sha256_file

UNASKED = "unasked"
"""The kind of a collected picture without an answer under the present prompt and model."""

Found = tuple[list[Labelled], list[Rejected], dict[str, str]]
"""Pictures with a label; lines without one; and the files that the index does not list, by id, in
their order, with a label or not."""


def labelled_pictures(project: Project, spool: Spool) -> Found:
    """Everything that has a label of the task, and what has none; each picture once. What a person
    decided comes before what the source says."""
    reviews = read_reviews(project.workspace.reviews)
    custom = project.config.prepare.custom
    if custom is None:
        return from_answers(project, reviews, spool)
    return from_file(project.path(custom), project.contract.labels, reviews, spool)


def from_answers(project: Project, reviews: dict[str, Review], spool: Spool) -> Found:
    """Pictures whose answer has status ok or whom a person gave a label; the others with their
    status."""
    labelled, rejected, answered = list[Labelled](), list[Rejected](), set[str]()

    def sort(picture: Row, answer: Row) -> None:
        answer = corrected(answer, reviews.get(picture["sha256"]))
        if answer["status"] != "ok":
            reason = str(answer.get("error") or answer.get("reason") or answer.get("label"))
            rejected.append(Rejected(picture["origin"], answer["status"], reason))
        elif wrong := outside(answer["label"], project.contract.labels):
            rejected.append(Rejected(picture["origin"], "unknown label", wrong))
        else:
            file = str(project.workspace.originals / picture["file"])
            place = spool.add(rest_of(answer, picture))
            labelled.append(labelled_as(picture["sha256"], file, answer, "teacher", place))

    for picture, answer in answers_of(project):
        answered.add(picture["sha256"])
        sort(picture, answer)
    for picture in read_rows(project.workspace.index):
        if picture["sha256"] not in answered:
            sort(picture, {"status": UNASKED, "reason": "the teacher has not been asked"})
    return labelled, rejected, {}


def usable_labels(project: Project) -> tuple[dict[str, str], int]:
    """The label of each picture that has one and is sure enough for train, by its id; and how many
    pictures have not been asked about."""
    least = project.config.prepare.min_confidence
    with Spool(project.workspace.root) as spool:
        labelled, rejected, _ = labelled_pictures(project, spool)
    sure = {item.id: item.label for item in labelled if item.confidence >= least}
    return sure, sum(item.kind == UNASKED for item in rejected)


def labelled_as(id: str, file: str, answer: Row, source: str, place: int) -> Labelled:
    """A picture with the label of its answer."""
    reviewed = answer.get("reviewed") is True
    sure = float(answer["confidence"])
    return Labelled(id, file, answer["label"], sure, source, reviewed, place)


def from_file(
    path: Path, labels: tuple[str, ...], reviews: dict[str, Review], spool: Spool
) -> Found:
    """`image_path` (relative to the file), `label` or `element`, `reason`, `confidence`."""
    found, files = dict[str, Labelled](), dict[str, str]()
    rejected = []
    rows = read_any_json(path)
    for row in track(rows, "Reading", len(rows)):
        item = read_line(row, path, labels, reviews, spool, files)
        if isinstance(item, Rejected):
            rejected.append(item)
        elif found.setdefault(item.id, item) is not item:
            reason = "the same picture stands in a line before"
            rejected.append(Rejected(str(row["image_path"]), "repeated", reason))
    if not found:
        why = f"the first line: {rejected[0].reason}" if rejected else "it is empty"
        raise PocketError(f"{path} holds no usable line; {why}")
    return list(found.values()), rejected, files


def read_line(
    row: Row,
    path: Path,
    labels: tuple[str, ...],
    reviews: dict[str, Review],
    spool: Spool,
    files: dict[str, str],
) -> Labelled | Rejected:
    """One labelled picture of the file `path`, or what is wrong with its line; `files` gets those
    that can be read."""
    image, sure = str(row.get("image_path")), row.get("confidence")
    picture = path.parent / image
    if not row.get("image_path") or not is_file(picture):
        return Rejected(image, "no file", "image_path is missing or names no file")
    if not _is_share(sure):
        return Rejected(image, "bad confidence", "confidence is no number from 0 to 1")
    try:
        sha256 = sha256_file(picture)
    except OSError as error:
        return Rejected(image, "unreadable", str(error))
    files.setdefault(sha256, str(picture))
    said = {"status": "ok", "label": row.get("label") or row.get("element")}
    answer = row | said | {"confidence": 1.0 if sure is None else sure}
    answer = corrected(answer, reviews.get(sha256))
    if answer["status"] != "ok":
        return Rejected(image, answer["status"], answer["reason"])
    if wrong := outside(answer["label"], labels):
        return Rejected(image, "unknown label", wrong)
    place = spool.add(rest_of(answer, {"origin": image} | row))
    return labelled_as(sha256, str(picture), answer, path.name, place)


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
