"""The validate stage: ask, measure, report, judge."""

from collections.abc import Sequence

from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.validate.examples import read_examples, read_val
from pocketvlm.validate.ladder import Step, ask_pair, climb
from pocketvlm.validate.shipping import shipping
from pocketvlm.validate.verdict import (
    Val,
    check_gates,
    failed_controls,
    predictions,
    summary,
    verdict,
)
from pocketvlm.workspace import Row, atomic_folder, write_json, write_rows, write_text


def validate(project: Project) -> Row:
    """Write report/ (metrics.json, predictions.jsonl, report.html), then judge.

    Returns the main figures. GateMissed is raised after everything is written."""
    from pocketvlm.runtime import identity
    from pocketvlm.validate.audit import audit, audit_warnings
    from pocketvlm.validate.controls import controls
    from pocketvlm.validate.report import render

    project.check_contract(project.workspace.dataset)
    split, examples = read_examples(project)
    steps = climb(project, examples)
    figures = verdict(project, split, examples, steps, ask_val(project, split, steps), identity())
    ships, _ = shipping(project, steps)
    assert ships.pair is not None
    figures["controls"] = controls(project, ships.pair.files, examples, ships.said)
    figures["audit"] = audit(project, project.config.audit.pictures)
    figures["warnings"] += control_warnings(figures) + audit_warnings(figures["audit"])
    rows = predictions(project, examples, steps, figures)
    with atomic_folder(project.workspace.report) as folder:
        write_rows(folder / "predictions.jsonl", rows)
        write_json(folder / "metrics.json", figures)
        write_text(folder / "report.html", render(project, figures, rows))
    for warning in figures["warnings"]:
        say(f"  warning: {warning}")
    check_gates(figures)
    return summary(figures)


def ask_val(project: Project, split: str, steps: Sequence[Step]) -> Val:
    """What each exported text type says of val by likelihood, with the vision file that ships with
    it; nothing where val was measured itself, or its truth is not known."""
    examples = read_val(project) if split == "test" else []
    if not examples:
        return {}
    ships, _ = shipping(project, steps)
    chosen = {step.pair.type: step.pair for step in steps if step.exported and step.pair}
    usual = {kind: pair for kind, pair in chosen.items() if pair.usual}
    assert ships.pair is not None
    pairs = chosen | usual | {ships.pair.type: ships.pair}
    return {
        kind: (examples, ask_pair(project, pair, examples, likelihoods=True, what="val"))
        for kind, pair in pairs.items()
    }


def control_warnings(figures: Row) -> list[str]:
    """A sentence for each control that failed."""
    failed = failed_controls(figures)
    return [
        f"control {row['name']}: {row['words'].rstrip('.')}. {row['sentence'].rstrip('.')}"
        for row in figures["controls"]
        if row["name"] in failed
    ]
