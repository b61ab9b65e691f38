"""The validate stage: ask, measure, report, judge."""

from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.validate.examples import read_examples
from pocketvlm.validate.ladder import climb
from pocketvlm.validate.verdict import check_gates, predictions, summary, verdict
from pocketvlm.workspace import Row, atomic_folder, write_json, write_rows, write_text


def validate(project: Project) -> Row:
    """Write report/ (metrics.json, predictions.jsonl, report.html), then judge.

    Returns the main figures. GateMissed is raised after everything is written."""
    from pocketvlm.runtime import identity
    from pocketvlm.validate.audit import audit, audit_warnings
    from pocketvlm.validate.report import render

    project.check_contract(project.workspace.dataset)
    split, examples = read_examples(project)
    steps = climb(project, examples)
    figures = verdict(project, split, examples, steps, identity())
    figures["audit"] = audit(project, project.config.audit.pictures)
    figures["warnings"] += audit_warnings(figures["audit"])
    rows = predictions(project, examples, steps)
    with atomic_folder(project.workspace.report) as folder:
        write_rows(folder / "predictions.jsonl", rows)
        write_json(folder / "metrics.json", figures)
        write_text(folder / "report.html", render(project, figures, rows))
    for warning in figures["warnings"]:
        say(f"  warning: {warning}")
    check_gates(figures)
    return summary(figures)
