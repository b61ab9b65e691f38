"""Which two of the exported files ship, and which are recommended to."""

from collections.abc import Sequence

from pocketvlm.project import Project
from pocketvlm.validate.ladder import Step
from pocketvlm.validate.metrics import agreement
from pocketvlm.validate.recommend import Candidate, recommend
from pocketvlm.workspace import Row

ALIKE, ENOUGH = 0.995, 300
"""A smaller vision file ships where it gives so large a share of the same answers, on so many
pictures at least."""

SMALLER = "Q8_0"
"""The type of that vision file."""


def shipping(project: Project, steps: Sequence[Step]) -> tuple[Step, str | None]:
    """The step whose two files ship: those of the first types, unless the smaller vision file
    answers the same; and a sentence on that choice, where there was one."""
    pairs = [(step, step.pair) for step in steps if step.pair and step.exported]
    wanted = project.config.export.types[0]
    usual, first = next((step, pair) for step, pair in pairs if pair.usual and pair.type == wanted)
    for step, pair in pairs:
        if pair.type != first.type or pair.usual or pair.mmproj != SMALLER:
            continue
        alike, n = agreement(step.texts, usual.texts), len(step.texts)
        found = f"mmproj {SMALLER} gives {alike:.1%} of the same answers as {first.mmproj} on {n}"
        if n < ENOUGH:
            return usual, f"{found} pictures: fewer than {ENOUGH}, so {first.mmproj} ships"
        if alike < ALIKE:
            return usual, f"{found} pictures: less than {ALIKE:.1%}, so {first.mmproj} ships"
        return step, f"{found} pictures, so {SMALLER} ships"
    return usual, None


def recommendation(project: Project, steps: Sequence[Step], truth: Sequence[str]) -> Row:
    """The smallest exported pair that is as good as the best; another vision file than the first
    is no choice before it has shown that it answers the same."""
    label_of, (ships, _) = project.contract.label_of, shipping(project, steps)
    files = [
        Candidate(
            step.name,
            round(step.mib, 2),
            [label_of(text) == true for text, true in zip(step.texts, truth, strict=True)],
        )
        for step in steps
        if step.exported and step.pair and (step.pair.usual or step is ships)
    ]
    return recommend(files, len(truth))
