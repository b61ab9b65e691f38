"""What labelling came to: the figures, what is missing, and labels/report.html for people."""

from collections import Counter
from collections.abc import Sequence

from pocketvlm.errors import PocketError
from pocketvlm.label.decisions import Labelled, decide_all, full_answer
from pocketvlm.label.plan import Plan
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.reviews import read_reviews
from pocketvlm.workspace import Row, write_text

AGAIN = "run `pocketvlm label` again to ask once more"
MENDS = {
    "none": "no label fits, left out",
    "refused": "the teacher declined twice, left out",
    "rejected": "a label outside the set, left out; sharpen the definitions in task.labels",
    "picture": "the file in originals/ cannot be read, left out",
    "malformed": f"no answer of the form asked for; {AGAIN}, or try another model",
}
"""What each kind of shortfall means for the user; the others are failed calls."""


def finish(project: Project, plan: Plan, asked: int) -> Row:
    """Decide, write the report, say what is missing; the stage's figures. PocketError when no
    picture has a label."""
    labelled = decide_all(plan)
    status = Counter(one.decision.status for one in labelled)
    without = [full_answer(plan, one) for one in labelled if one.decision.status != "ok"]
    for line in shortfalls(without):
        say(f"  {line}")
    said = write_report(project, plan, labelled)
    if labelled and not status["ok"]:
        raise PocketError(
            f"no picture got a label ({dict(status)}): see {project.workspace.answers}"
        )
    usd = plan.ledger.spent
    return {
        "asked": asked,
        "status": dict(status),
        "unanswered": count_unanswered(plan),
        "labels": count_labels(labelled),
        "usd": round(usd, 6),
        "usd_per_label": round(usd / status["ok"], 6) if status["ok"] else None,
        "warnings": said,
    }


def write_report(project: Project, plan: Plan, labelled: Sequence[Labelled]) -> list[str]:
    """labels/report.html; its warnings in sentences, which are said as well."""
    from pocketvlm.label.agreement import figures as agreement_figures
    from pocketvlm.label.page import render, warnings

    pictures = [one.picture for one in labelled]
    opinions = [one.opinions for one in labelled]
    decisions = [one.decision for one in labelled]
    task = project.config.task
    reviews = read_reviews(project.workspace.reviews)
    figures = agreement_figures(
        [picture["sha256"] for picture in pictures],
        opinions,
        decisions,
        list(task.labels),
        {sha: (one.decision, one.label) for sha, one in reviews.items()},
        plan.ledger.spent,
    )
    page = render(
        pictures,
        opinions,
        decisions,
        figures,
        question=task.question,
        labels=task.labels,
        originals=project.workspace.originals,
        full=lambda at: rich(plan, labelled[at]),
    )
    write_text(project.workspace.label_report, page)
    told = warnings(figures)
    for line in told:
        say(f"  {line}")
    say(f"  what the teachers said: {project.workspace.label_report}")
    return told


def rich(plan: Plan, one: Labelled) -> list[Row]:
    """A picture's opinions with all that the ledger has of them."""
    sha256 = one.picture["sha256"]
    keys = [plan.keys(row["teacher"], sha256)[row["repeat"]] for row in one.opinions]
    answers = plan.ledger.answers(keys)
    return [(full or {}) | row for full, row in zip(answers, one.opinions, strict=True)]


def count_unanswered(plan: Plan) -> int:
    """Questions that another run will ask again; not those about pictures that cannot be read."""
    keys = [q.key for at in range(len(plan.config.teachers)) for q in plan.due(at)]
    answers = plan.ledger.answers(keys)
    return sum(not str((row or {}).get("error")).startswith("picture") for row in answers)


def shortfalls(answers: Sequence[Row]) -> list[str]:
    """What gave no label: how many of each kind, what can be done, and the last one in full."""
    kinds: dict[str, list[Row]] = {}
    for row in answers:
        if row["status"] != "ok":
            kind = row["status"]
            if kind == "failed":
                kind = str(row["error"]).split(":")[0]
            kinds.setdefault(kind, []).append(row)
    lines = []
    for kind, rows in kinds.items():
        last = rows[-1]
        detail = last.get("error") or last.get("reason") or last.get("label") or last.get("raw")
        said = str(detail or "no reason given")
        lines.append(f"{len(rows)} x {kind}: {MENDS.get(kind, AGAIN)}. The last: {said}")
    return lines


def count_labels(labelled: Sequence[Labelled]) -> dict[str, int]:
    """Accepted pictures a label."""
    found = [one.decision.label for one in labelled if one.decision.status == "ok"]
    return dict(Counter(str(name) for name in found))
