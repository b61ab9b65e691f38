"""Each picture's label as the teachers' opinions give it: what `prepare` and the report read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pocketvlm.label.consensus import Decision, decide
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.plan import Plan, question_key, sized
from pocketvlm.label.prompt import prompt_hash
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows

BRIEF = ("teacher", "model", "repeat", "status", "label", "alternative", "confidence")
"""What of an answer decides; reasons stay on the disk."""

Opinions = list[Row]
"""A picture's, cheapest teacher first. Most pictures are answered like many others: they share one
list, which nobody may change, so that memory holds hundreds instead of all."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture with its opinions and what they come to."""

    picture: Row
    """Its line of originals/index.jsonl."""
    opinions: Opinions
    """Each answer without its reasons."""
    decision: Decision


def decide_all(plan: Plan) -> list[Labelled]:
    """Every picture that has an answer under the present plan, in the order of the index."""
    known: dict[str, Opinions] = {}
    answered = [(picture, _brief(rows, known)) for picture, rows in plan.opinions() if rows]
    decisions = decide([rows for _, rows in answered], list(plan.config.task.labels))
    return [Labelled(*pair, one) for pair, one in zip(answered, decisions, strict=True)]


def answers_of(project: Project) -> Iterator[tuple[Row, Row]]:
    """Each answered picture's index row with the answer that stands for it: all its fields, with
    the status, label, confidence and agreement that all opinions together came to.

    Streamed: index and ledger are read twice, and memory holds a decision a picture, until its
    turn."""
    ledger, prompt = Ledger(project.workspace.answers), prompt_hash(project.config.task)
    said = _opinions(project, ledger, prompt)
    labels = list(project.config.task.labels)
    decided = dict(zip(said, decide(list(said.values()), labels), strict=True))
    for picture in read_rows(project.workspace.index):
        sha256 = picture["sha256"]
        if sha256 in decided:
            opinions, decision = said.pop(sha256), decided.pop(sha256)
            one = opinions[decision.source]
            key = question_key(project.config, one["teacher"], sha256, prompt, one["repeat"])
            (answer,) = ledger.answers([key])
            yield (
                sized(picture, project.workspace.originals),
                _as_decided(answer, decision, len(opinions)),
            )


def full_answer(plan: Plan, labelled: Labelled) -> Row:
    """The answer that stands for a picture, read from the ledger."""
    stands = labelled.opinions[labelled.decision.source]
    keys = plan.keys(stands["teacher"], labelled.picture["sha256"])
    (answer,) = plan.ledger.answers([keys[stands["repeat"]]])
    return _as_decided(answer, labelled.decision, len(labelled.opinions))


def _opinions(project: Project, ledger: Ledger, prompt: str) -> dict[str, Opinions]:
    """The opinions on every picture that has one, by its SHA-256."""
    config = project.config
    asked = [
        (teacher, repeat)
        for teacher, settings in enumerate(config.teachers)
        for repeat in range(settings.repeats)
    ]
    said: dict[str, Opinions] = {}
    known: dict[str, Opinions] = {}
    for picture in read_rows(project.workspace.index):
        sha256 = picture["sha256"]
        keys = [question_key(config, teacher, sha256, prompt, repeat) for teacher, repeat in asked]
        rows = [
            answer | {"teacher": teacher, "repeat": repeat}
            for (teacher, repeat), answer in zip(asked, ledger.answers(keys), strict=True)
            if answer is not None
        ]
        if rows:
            said[sha256] = _brief(rows, known)
    return said


def _brief(answers: Sequence[Row], known: dict[str, Opinions]) -> Opinions:
    """Answers without their reasons, in the list that is `known` already if there is one."""
    opinions = [{name: answer.get(name) for name in BRIEF} for answer in answers]
    return known.setdefault(repr(opinions), opinions)  # of values alone 1 equals 1.0 and True


def _as_decided(answer: Row | None, decision: Decision, opinions: int) -> Row:
    row = answer or {}
    return row | {
        "status": decision.status,
        "label": decision.label or row.get("label"),
        "confidence": decision.confidence,
        "agreement": decision.agreement,
        "opinions": opinions,
    }
