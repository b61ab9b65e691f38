"""What a source of labels gives: pictures with a label, and lines without one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pocketvlm.prepare.bitmaps import image_name
from pocketvlm.prepare.spool import Spool
from pocketvlm.reviews import Review
from pocketvlm.workspace import Row

KEPT = ("reason", "visual_features", "colours", "texture", "alternative", "ambiguity")
"""What of a rich answer goes into the dataset; the student never sees it."""

CREDITS = ("origin", "author", "licence", "url")
"""What of a picture's line in the index goes into the dataset."""

ABOUT_THE_LABEL = ("reason", "alternative", "ambiguity")
"""What a teacher said for its own label; a person's other label is not argued for with it."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One picture with its label."""

    id: str
    """SHA-256 of the picture's file."""
    file: str
    label: str
    confidence: float
    source: str
    reviewed: bool
    rich: int
    """Where the spool holds the rest of its line."""

    @property
    def path(self) -> Path:
        """The picture's file."""
        return Path(self.file)

    @property
    def image(self) -> str:
        """Where its bitmap lies in the dataset."""
        return image_name(self.id)

    def row(self, spool: Spool) -> Row:
        """Its dataset line."""
        line: Row = {"id": self.id, "image": self.image, "label": self.label}
        line |= {"confidence": self.confidence} | spool.row(self.rich)
        return line | {"source": self.source, "reviewed": self.reviewed}


@dataclass(frozen=True, slots=True)
class Rejected:
    """One line without a usable label, and why."""

    image: str
    kind: str
    """One or two words to count by."""
    reason: str

    def row(self) -> Row:
        """Its line in skipped.jsonl."""
        return {"image": self.image, "kind": self.kind, "reason": self.reason}


def rest_of(answer: Row, credits: Row) -> Row:
    """The part of a line that is for people."""
    said = {name: answer.get(name) for name in KEPT}
    return said | {name: credits.get(name) for name in CREDITS if credits.get(name) is not None}


def corrected(answer: Row, review: Review | None) -> Row:
    """An answer as a person left it: what a person accepted or gave is sure (confidence 1)."""
    if review is None:
        return answer
    if review.decision == "reject":
        return answer | {"status": "rejected by a person", "error": None, "reason": "left out"}
    label = review.label or answer.get("label")
    said = dict(answer)
    if label != answer.get("label") or answer.get("status") != "ok":
        said |= dict.fromkeys(ABOUT_THE_LABEL)
    return said | {"status": "ok", "label": label, "confidence": 1.0, "reviewed": True}


def outside(label: object, labels: Mapping[str, object] | tuple[str, ...]) -> str | None:
    """What is wrong with a label that the task does not have."""
    return None if label in labels else f"label {label!r} is not in task.labels"
