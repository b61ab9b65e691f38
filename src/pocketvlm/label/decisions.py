"""Each picture's label as the teachers' opinions give it: what `prepare` and the report read."""

from collections.abc import Iterator
from dataclasses import dataclass

from pocketvlm.label.consensus import Decision, decide
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.plan import Plan
from pocketvlm.project import Project
from pocketvlm.workspace import Row

BRIEF = ("teacher", "model", "repeat", "status", "label", "alternative", "confidence")
"""What of an answer decides; reasons stay on the disk."""


@dataclass(frozen=True)
class Labelled:
    """A picture with its opinions and what they come to."""

    picture: Row
    """Its line of originals/index.jsonl."""
    opinions: list[Row]
    """Each answer without its reasons, cheapest teacher first."""
    decision: Decision


def decide_all(plan: Plan) -> list[Labelled]:
    """Every picture that has an answer under the present plan, in the order of the index."""
    answered = [
        (picture, [{name: row.get(name) for name in BRIEF} for row in rows])
        for picture, rows in plan.opinions()
        if rows
    ]
    decisions = decide([rows for _, rows in answered], list(plan.config.task.labels))
    return [Labelled(*pair, one) for pair, one in zip(answered, decisions, strict=True)]


def answers_of(project: Project) -> Iterator[tuple[Row, Row]]:
    """Each answered picture's index row with the answer that stands for it: all its fields, with
    the status, label, confidence and agreement that all opinions together came to."""
    plan = Plan(project, Ledger(project.workspace.answers))
    for labelled in decide_all(plan):
        yield labelled.picture, full_answer(plan, labelled)


def full_answer(plan: Plan, labelled: Labelled) -> Row:
    """The answer that stands for a picture, read from the ledger."""
    decision = labelled.decision
    stands = labelled.opinions[decision.source]
    keys = plan.keys(stands["teacher"], labelled.picture["sha256"])
    (answer,) = plan.ledger.answers([keys[stands["repeat"]]])
    row = answer or {}
    return row | {
        "status": decision.status,
        "label": decision.label or row.get("label"),
        "confidence": decision.confidence,
        "agreement": decision.agreement,
        "opinions": len(labelled.opinions),
    }
