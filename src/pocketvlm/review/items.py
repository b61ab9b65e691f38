"""What there is to review: every answered picture, its label and doubts, its opinions, its text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from pocketvlm.duplicates import near_groups
from pocketvlm.errors import PocketError
from pocketvlm.label import Labelled, Ledger, Plan, decide_all, rich
from pocketvlm.project import Project
from pocketvlm.reviews import Review, read_reviews
from pocketvlm.workspace import LONE, Row, sha256_json

SHOWN = (
    *("teacher", "model", "repeat", "status", "label", "confidence", "reason", "ambiguity"),
    *("alternative", "visual_features", "colours", "texture", "error"),
)
"""Fields of an opinion that a person sees."""

SEARCHED = (
    *("label", "alternative", "reason", "ambiguity", "texture", "visual_features", "colours"),
)
"""Fields of an opinion that are searched."""

RAW = ("refused", "malformed")
"""Answers that say nothing but their raw text."""

LONGEST = 2000
"""Characters of a raw answer that are shown."""


@dataclass(frozen=True)
class Board:
    """The pictures of a project that have an answer, in the order of the index."""

    project: Project
    plan: Plan
    labelled: Sequence[Labelled]
    groups: Sequence[int]
    """For each picture the first one that it nearly equals, or itself."""

    @classmethod
    def of(cls, project: Project) -> Self:
        """Read index and ledger; PocketError when no picture has an answer."""
        plan = Plan(project, Ledger(project.workspace.answers, repair=False))
        labelled = decide_all(plan)
        if not labelled:
            raise PocketError("no picture has a label yet: run `pocketvlm label` first")
        return cls(project, plan, labelled, near_groups([hash_of(one) for one in labelled]))

    @cached_property
    def name(self) -> str:
        """Names the workspace without telling its path: a page that outlived its server asks."""
        return sha256_json(str(self.project.workspace.root.resolve()))[:16]

    @cached_property
    def edition(self) -> str:
        """Names this list: another run may have other pictures, or the same in another order."""
        return sha256_json([list(self.places), self.labels])[:16]

    @cached_property
    def places(self) -> dict[str, int]:
        """The index of each picture, by its SHA-256."""
        return {one.picture["sha256"]: at for at, one in enumerate(self.labelled)}

    @cached_property
    def labels(self) -> list[str]:
        """The task's, in its order."""
        return list(self.project.config.task.labels)

    def reviews(self) -> dict[str, Review]:
        """The decisions that count, of these pictures only."""
        found = read_reviews(self.project.workspace.reviews)
        return {sha256: one for sha256, one in found.items() if sha256 in self.places}

    def standing(self) -> list[str | None]:
        """Each picture's label, a person's before the teachers'; None for rejected ones and those
        without."""
        reviews, found = self.reviews(), list[str | None]()
        for one in self.labelled:
            review = reviews.get(one.picture["sha256"])
            if review and review.decision == "reject":
                found.append(None)
            else:
                found.append((review and review.label) or one.decision.label)
        return found

    def compact(self) -> Row:
        """The list as columns, 90 bytes a picture: what a page needs to filter and to sort."""
        decisions = [one.decision for one in self.labelled]
        number = {label: at for at, label in enumerate(self.labels)}
        return {
            "sha256": [one.picture["sha256"] for one in self.labelled],
            "status": [one.status for one in decisions],
            "label": [number.get(one.label or "", -1) for one in decisions],
            "confidence": [one.confidence for one in decisions],
            "apart": [at for at, one in enumerate(decisions) if (one.agreement or 1) < 1],
            "groups": {
                at: first
                for at, first in enumerate(self.groups)
                if at != first or self.sizes[first] > 1
            },
        }

    @cached_property
    def sizes(self) -> dict[int, int]:
        """How many pictures each group of near-duplicates has, by its first one."""
        found: dict[int, int] = {}
        for first in self.groups:
            found[first] = found.get(first, 0) + 1
        return found

    def details(self, at: int) -> Row:
        """All that the teachers said of one picture."""
        one = self.labelled[at]
        return {
            "origin": readable(one.picture.get("origin") or one.picture["file"]),
            "licence": one.picture.get("licence"),
            "width": one.picture["width"],
            "height": one.picture["height"],
            "stands": one.decision.source,
            "agreement": one.decision.agreement,
            "opinions": [opinion(row) for row in rich(self.plan, one)],
        }

    def search(self, words: str) -> list[int]:
        """Pictures whose text holds all words, in any case."""
        wanted = words.casefold().split()
        return [at for at, text in enumerate(self._texts) if all(word in text for word in wanted)]

    @cached_property
    def _texts(self) -> list[str]:
        """Made at the first search: reading 5,000 answers takes a second."""
        return [
            " ".join(
                [
                    str(one.picture.get("origin") or ""),
                    *(plain(row.get(name)) for row in rich(self.plan, one) for name in SEARCHED),
                ]
            ).casefold()
            for one in self.labelled
        ]


def hash_of(one: Labelled) -> str | None:
    """The perceptual hash, which old lines of the index lack."""
    found: str | None = one.picture.get("phash")
    return found


def opinion(row: Row) -> Row:
    """What a person sees of one teacher's answer."""
    shown = {name: readable(row.get(name)) for name in SHOWN if row.get(name) not in (None, "", [])}
    if row["status"] in RAW and row.get("raw"):
        shown["raw"] = readable(str(row["raw"])[:LONGEST])
    return shown


def readable(value: Any) -> Any:
    """A field as UTF-8 can say it: half an emoji, and names of files that are no UTF-8, become
    escapes."""
    if isinstance(value, list):
        return [readable(one) for one in value]
    return value.encode(errors=LONE).decode() if isinstance(value, str) else value


def plain(value: object) -> str:
    """A field as one text."""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value or "")


def figures(board: Board) -> Row:
    """What the reviews came to so far."""
    made = [review.decision for review in board.reviews().values()]
    return {
        "reviewed": len(made),
        "accepted": made.count("accept"),
        "relabelled": made.count("relabel"),
        "rejected": made.count("reject"),
        "left": len(board.labelled) - len(made),
    }
