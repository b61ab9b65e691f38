"""report.html: one file, readable on a phone, light and dark, nothing loaded from elsewhere."""

import base64
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from pocketvlm.pages import html_pages, percent
from pocketvlm.plots import accuracy_plot, confusion_plot, loss_plot
from pocketvlm.project import Project
from pocketvlm.validate.verdict import FEW
from pocketvlm.workspace import Row, read_json

WRONG = 60
"""Wrong answers shown; the rest are in predictions.jsonl."""

RIGHT = 6
"""Right answers shown a label."""

TRUTH = {
    "teacher": "The label the teacher gave. Where the teacher errs, a right answer counts as "
    "wrong and a copied error as right: this is agreement with the teacher, not accuracy in the "
    "world.",
    "reviewed": "The label of pictures that a person has looked at; all others are left out.",
    "known": "A label known from outside, independent of the teacher: errors that the student "
    "learned from the teacher count as errors.",
}


def render(project: Project, figures: Row, rows: Sequence[Row]) -> str:
    """The whole page. `figures` is metrics.json, `rows` are the predictions."""
    pages = html_pages(Path(__file__).parent)
    wrong = sorted((row for row in rows if not row["right"]), key=lambda row: -row["confidence"])
    return pages.get_template("report.html.j2").render(
        figures=figures,
        headline=headline(figures),
        verdict=verdict_sentence(figures),
        task=project.config.task,
        few=FEW,
        min_confidence=project.config.prepare.min_confidence,
        truth=TRUTH[figures["truth"]],
        confusion=confusion_plot(figures["confusion"]),
        curves=curves(project),
        audit=audited(project, figures.get("audit")),
        wrong_count=len(wrong),
        wrong=[card(project, row, figures) for row in wrong[:WRONG]],
        right=right_pictures(project, rows),
        contract=plain(project.contract.describe()),
    )


def headline(figures: Row) -> str:
    """The one sentence that people remember."""
    right = round(figures["accuracy"] * figures["n"])
    return f"{right} of {figures['n']} pictures are answered right by the files that ship."


def verdict_sentence(figures: Row) -> str:
    """Interval and gate."""
    gate, (low, high) = figures["gates"]["min_accuracy"], figures["ci"]
    start = (
        f"That is {percent(figures['accuracy'])}; the true share lies between {percent(low)} and "
        f"{percent(high)} (95% interval). The gate of {percent(gate['value'])} is "
    )
    if not gate["passed"]:
        return start + "missed."
    sure = "also by" if gate["lower"] >= gate["value"] else "but not by"
    return start + f"passed, {sure} the interval's lower bound."


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
    from pocketvlm.validate.levels import CAUSES, cells, figure

    broken = figures["first_break"]
    shown = project.workspace.dataset / broken["picture"] if broken else None
    return {
        "pictures": figures["pictures"],
        "originals": figures["originals"],
        "why": figure(broken) if broken else None,
        "rows": [cells(row) for row in figures["levels"]],
        "ties": figures["near_ties"],
        "broken": broken,
        "cause": CAUSES[broken["level"]] if broken else None,
        "picture": thumbnail(shown, 192) if shown else None,
    }


def card(project: Project, row: Row, figures: Row) -> Row:
    """One wrong answer as the page shows it."""
    text = row["texts"][f"llama.cpp {figures['type']}"].strip()
    return {
        "picture": thumbnail(project.workspace.dataset / row["image"], 192),
        "truth": row["truth"],
        "teacher": row["teacher"],
        "answer": row["answer"] or f"no label: “{text[:40]}”",
        "reason": row["reason"],
        "confidence": row["confidence"],
        "id": row["id"][:12],
    }


def right_pictures(project: Project, rows: Sequence[Row]) -> dict[str, list[str]]:
    """A few right answers of every label, as data URIs."""
    found: dict[str, list[str]] = {label: [] for label in project.contract.labels}
    for row in rows:
        if row["right"] and len(found[row["truth"]]) < RIGHT:
            found[row["truth"]].append(thumbnail(project.workspace.dataset / row["image"], 112))
    return {label: pictures for label, pictures in found.items() if pictures}


def thumbnail(path: Path, side: int) -> str:
    """A device bitmap as a JPEG data URI no larger than `side` pixels."""
    out = BytesIO()
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((side, side))
    small.save(out, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def plain(values: Row) -> dict[str, str]:
    """Values as text; line breaks of the prompt stay visible."""
    return {
        name: value
        if isinstance(value, str) and "\n" not in value
        else json.dumps(value, ensure_ascii=False)
        for name, value in values.items()
    }
