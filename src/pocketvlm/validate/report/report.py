"""report.html: one file, readable on a phone, light and dark, nothing loaded from elsewhere.

A section whose figures are missing is left out: two files that were made elsewhere have no
training, and metrics.json of an older version has fewer figures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pocketvlm.pages import html_pages, percent
from pocketvlm.plots import accuracy_plot, calibration_plot, coverage_plot, loss_plot
from pocketvlm.project import Project
from pocketvlm.validate.report import shown, telling
from pocketvlm.workspace import Row, read_json

TRUTH = {
    "teacher": "The label the teacher gave. Where the teacher errs, a right answer counts as "
    "wrong and a copied error as right: this is agreement with the teacher, not accuracy in the "
    "world.",
    "reviewed": "The label of pictures that a person has looked at; all others are left out.",
    "known": "A label known from outside, independent of the teacher: errors that the student "
    "learned from the teacher count as errors.",
}

SECTIONS = {
    "ladder": ("Files", "From the base to the phone's files"),
    "ways": ("Answers", "Three ways to answer"),
    "classes": ("Labels", "Label by label"),
    "wrong": ("Wrong", "What it gets wrong"),
    "right": ("Right", "What it gets right"),
    "calibration": ("Confidence", "How sure it is, and whether to believe it"),
    "controls": ("Controls", "Learned, or lucky?"),
    "slices": ("Groups", "Kinds of pictures"),
    "balance": ("Balance", "What it learned from"),
    "cost": ("Cost", "Money and time"),
    "audit": ("Audit", "Torch against llama.cpp, level by level"),
    "training": ("Training", "Training"),
    "setting": ("Contract", "Measured under"),
    "truth": ("Truth", "What counts as true"),
}
"""Template: its link, its heading; in the reader's order."""

OPTIONAL = (
    *("accuracy", "ci", "base", "gain", "agreement", "cut", "out_of_vocabulary", "type", "audit"),
    *("recommendation", "ways", "calibration", "controls", "slices", "confident", "data", "cost"),
    *("gates", "ladder", "confusion", "warnings", "mmproj_choice"),
)
"""Keys of metrics.json that the templates may find absent."""


def render(project: Project, figures: Row, rows: Sequence[Row]) -> str:
    """The whole page. `figures` is metrics.json, `rows` are the predictions; their `image` lies in
    the dataset's folder, or anywhere if it is absolute."""
    figures = {**dict.fromkeys(OPTIONAL), **figures}
    pages = html_pages(Path(__file__).parent)
    pages.filters |= filters()
    gates = telling.gate_rows(figures["gates"] or {})
    return pages.get_template("report.html.j2").render(
        figures=figures,
        task=project.config.task,
        headline=headline(figures),
        verdict=verdict_sentence(figures),
        gates=gates,
        missed=[row for row in gates if not row["passed"]],
        gates_words=telling.gates_sentence(gates),
        gate=((figures["gates"] or {}).get("accuracy") or {}).get("wanted"),
        broken=(figures["audit"] or {}).get("first_break"),
        ships=shown.shipped(figures),
        where=where(figures["split"]),
        min_confidence=project.config.prepare.min_confidence,
        sections={id: {"nav": nav, "title": title} for id, (nav, title) in SECTIONS.items()},
        views=views(project, figures, rows),
    )


def filters() -> dict[str, Any]:
    """How the templates write figures."""
    return {
        "short": shorten,
        "points": telling.points,
        "signed": telling.signed,
        "number": telling.number,
        "duration": telling.duration,
        "changed": telling.changed,
        "outcome": telling.outcome,
        "money": lambda usd: f"${usd:,.2f}",
    }


def shorten(text: str, most: int = 60) -> str:
    """A long label cut, so that a table stays one."""
    return text if len(text) <= most else text[: most - 1] + "…"


def headline(figures: Row) -> str:
    """The one sentence that people remember."""
    right = round(figures["accuracy"] * figures["n"])
    files = "the files that ship" if figures["base"] else "these files"
    return f"{right} of {figures['n']} pictures are answered right by {files}."


def where(split: str) -> str:
    """What was measured on, in words; a judged folder's split is "against NAME"."""
    start, _, name = split.partition(" ")
    return f"the folder {name}" if start == "against" else f"the {split} split"


def verdict_sentence(figures: Row) -> str:
    """Accuracy with its interval."""
    low, high = figures["ci"]
    return (
        f"That is {percent(figures['accuracy'])}; the true share lies between {percent(low)} and "
        f"{percent(high)} (95% interval)."
    )


def views(project: Project, figures: Row, rows: Sequence[Row]) -> dict[str, Any]:
    """What each section shows, in the reader's order; those with nothing to show are left out."""
    data, cost = figures["data"] or {}, figures["cost"] or {}
    found: dict[str, Any] = {
        "ladder": shown.ladder(figures),
        "ways": shown.ways(figures["ways"]),
        "classes": shown.classes(figures),
        "wrong": shown.wrong(project, figures, rows),
        "right": shown.right(project, rows),
        "calibration": calibrated(figures["calibration"]),
        "controls": shown.controls(figures["controls"]),
        "slices": shown.slices(figures),
        "balance": shown.balance(data.get("counts")),
        "cost": {"longest": max((cost.get("seconds") or {"": 1}).values()) or 1}
        if any(cost.values())
        else None,
        "audit": audited(project, figures["audit"]),
        "training": curves(project) if figures["base"] else None,
        "setting": plain(project.contract.describe()),
        "truth": TRUTH[figures["truth"]],
    }
    return {id: found[id] for id in SECTIONS if found[id]}


def calibrated(figures: Row | None) -> Row | None:
    """The plots of the confidence; None where none was fitted."""
    if not figures:
        return None
    bins = [row for row in figures["bins"] if row["n"]]
    title = "share right, by how sure it says it is"
    series = {"shipped files": bins}
    return {
        "bins": bins,
        "reliability": calibration_plot(series, title, "reliability") if bins else None,
        "coverage": coverage_plot(figures) if figures["curve"] else None,
    }


def curves(project: Project) -> Row | None:
    """The training's plots and warnings; None for an adapter without a history."""
    path = project.workspace.adapter / "history.json"
    if not path.is_file():
        return None
    history = read_json(path)
    best = history["best"]
    return {
        "loss": loss_plot(history),
        "accuracy": accuracy_plot(history) if history["val"] else None,
        "best": f"Best on val: {percent(best['accuracy'])} after epoch {best['epoch']:.0f}."
        if best
        else "No validation split.",
        "warnings": history["warnings"],
    }


def audited(project: Project, figures: Row | None) -> Row | None:
    """The audit's table, and the picture that shows its first break."""
    if figures is None:
        return None
    from pocketvlm.validate.audit.levels import CAUSES, cells, figure

    broken = figures["first_break"]
    worst = project.workspace.dataset / broken["picture"] if broken else None
    return {
        "pictures": figures["pictures"],
        "originals": figures["originals"],
        "why": figure(broken) if broken else None,
        "rows": [cells(row) for row in figures["levels"]],
        "ties": figures["near_ties"],
        "broken": broken,
        "cause": CAUSES[broken["level"]] if broken else None,
        "picture": shown.thumbnail(worst, 192) if worst else None,
    }


def plain(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as text; line breaks of the prompt stay visible."""
    return {
        name: value
        if isinstance(value, str) and "\n" not in value
        else json.dumps(value, ensure_ascii=False)
        for name, value in values.items()
    }
