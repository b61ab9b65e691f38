"""A person's decisions on labels: `labels/reviews.jsonl`, append-only; the last one on a picture
counts."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from pocketvlm.progress import say
from pocketvlm.workspace import Row

Verb = Literal["accept", "reject", "relabel", "undo"]
VERBS: tuple[Verb, ...] = get_args(Verb)


class Review(NamedTuple):
    """What a person said of one picture."""

    picture: str
    """SHA-256 of its file."""
    decision: Verb
    """`undo`: as if nobody had looked at it."""
    label: str | None
    """The label that was accepted or given; None also for `accept` of whatever the teacher says."""


def read_review(line: bytes) -> Review | None:
    """One line of the ledger; None for what is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict):
        return None
    picture, decision, label = row.get("picture"), row.get("decision"), row.get("label")
    if not isinstance(picture, str) or not isinstance(label, str | None):
        return None
    if decision not in VERBS or (decision == "relabel" and not label):
        return None
    return Review(picture, decision, label)


def latest(lines: Iterable[Review]) -> dict[str, Review]:
    """The decision that counts for each picture."""
    found: dict[str, Review] = {}
    for review in lines:
        found.pop(review.picture, None)
        if review.decision != "undo":
            found[review.picture] = review
    return found


def read_reviews(path: Path) -> dict[str, Review]:
    """The decision that counts for each picture, oldest first; none without the file."""
    if not path.is_file():
        return {}
    sound, unsound = list[Review](), list[bytes]()
    for line in path.read_bytes().splitlines():
        review = read_review(line)
        if review:
            sound.append(review)
        elif line.strip():
            unsound.append(line)
    for line in unsound[:3]:
        say(f"  {path} has a line that is no review: {line[:60]!r}")
    return latest(sound)


def review_row(review: Review, at: str) -> Row:
    """Its line; `at` is the time."""
    return review._asdict() | {"at": at}


__all__ = ["Review", "Verb", "latest", "read_review", "read_reviews", "review_row"]
