"""What the report's sections show of metrics.json and of the predictions: chosen, sorted, cut to a
size that people look at. A figure that is not there gives None, and its section is left out."""

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from pocketvlm.project import Project
from pocketvlm.validate.report.telling import CHANCE, SLICES, WAYS, worst_drop
from pocketvlm.workspace import Row

WRONG = 60
"""Wrong answers shown; the rest are in predictions.jsonl."""

RIGHT = 6
"""Most right answers shown a label."""

RIGHT_IN_ALL = 60
"""Right answers shown: with many labels fewer of each."""

LONG = 12
"""From more labels than this the matrix takes the page's width, without room beside it."""

FEW = 10
"""Of fewer pictures a group is not called weak, whatever they say."""

RUNG = (
    *("before", "type", "change", "agreement", "vision_ms", "prompt_ms", "answer_ms", "tokens"),
    *("ships", "exported"),
)
"""Keys that a rung of an older metrics.json does not have."""


def rungs(figures: Row) -> list[Row]:
    """The ladder, every rung with every key; an older one has the shipped files' by their type."""
    found = []
    for row in figures["ladder"] or []:
        ships = row.get("ships", row["step"] == f"llama.cpp {figures['type']}")
        found.append({**dict.fromkeys(RUNG), **row, "ships": ships})
    return found


def shipped(figures: Row) -> Row | None:
    """The rung of the files that ship."""
    return next((row for row in rungs(figures) if row["ships"]), None)


def ladder(figures: Row) -> Row | None:
    """The rungs, and which columns hold anything."""
    found, advice = rungs(figures), figures["recommendation"] or {}
    if not found:
        return None
    timed = [row["ms"] for row in found if row["vision_ms"] is not None]
    return {
        "rows": found,
        "single": len(found) == 1,
        "changes": any(row["change"] for row in found),
        "agreements": any(row["agreement"] is not None for row in found),
        "tokens": any(row["tokens"] is not None for row in found),
        "slowest": max(timed, default=None),
        "drop": worst_drop(found),
        "recommended": advice.get("recommended"),
        "open": advice.get("open") or [],
    }


def ways(figures: Mapping[str, Row] | None) -> Row | None:
    """The ways to answer, and the one that is surely better or worse than the free answer."""
    if not figures:
        return None
    rows = [
        {"change": None, "ms": None} | dict(figures[name]) | {"title": title, "means": means}
        for name, (title, means) in WAYS.items()
        if figures.get(name)
    ]
    sure = [row for row in rows if row["change"] and row["change"]["p"] < CHANCE]
    sure.sort(key=lambda row: float(row["change"]["difference"]))
    return {
        "rows": rows,
        "better": sure[-1]["title"] if sure and sure[-1]["change"]["difference"] > 0 else None,
        "worse": sure[0]["title"] if sure and sure[0]["change"]["difference"] < 0 else None,
    }


def classes(figures: Row) -> Row | None:
    """The confusion matrix as cells with a depth in percent, and its mistakes by count."""
    table = figures["confusion"]
    if not table:
        return None
    answered, matrix, pairs = table["answered"], [], []
    for y, (label, counts) in enumerate(zip(table["truth"], table["counts"], strict=True)):
        base = max(1, sum(counts))
        # the root lets a single mistake be seen beside a full diagonal
        cells = [
            {"count": count, "right": x == y, "depth": round(8 + 42 * (count / base) ** 0.5)}
            for x, count in enumerate(counts)
        ]
        matrix.append({"label": label, "cells": cells})
        pairs += [
            {
                "truth": label,
                "answered": answered[x],
                "count": count,
                "no_label": x >= len(counts) - 1,
            }
            for x, count in enumerate(counts)
            if count and x != y
        ]
    recalls = [
        (label, row["recall"]) for label, row in figures["per_class"].items() if row["support"]
    ]
    labels = list(figures["per_class"].items())
    if len(answered) > LONG:  # nobody reads forty rows to find the worst
        labels.sort(key=lambda pair: float(pair[1]["recall"]))
    return {
        "labels": labels,
        "matrix": matrix,
        "pairs": sorted(pairs, key=lambda pair: -pair["count"]),
        "worst": min(recalls, key=lambda pair: float(pair[1]), default=None),
        "long": len(answered) > LONG,
    }


def wrong(project: Project, figures: Row, rows: Sequence[Row]) -> Row:
    """The wrong answers as cards: what the model is surest of first, else the teacher."""
    found = sorted((row for row in rows if not row["right"]), key=surest)
    return {
        "count": len(found),
        "sure": any(row.get("sure") is not None for row in found),
        "told": len({row.get("confidence") for row in found}) > 1,
        "cards": [card(project, row, figures) for row in found[:WRONG]],
    }


def surest(row: Row) -> tuple[float, float]:
    """Sorts predictions by falling confidence, unknown ones last."""
    sure, teacher = row.get("sure"), row.get("confidence")
    return (1.0 if sure is None else -sure, 1.0 if teacher is None else -teacher)


def card(project: Project, row: Row, figures: Row) -> Row:
    """One wrong answer as the page shows it."""
    rung = shipped(figures)
    step = rung["step"] if rung else f"llama.cpp {figures['type']}"
    text = row["texts"].get(step, "").strip()
    likeliest = row.get("likeliest")
    return {
        "picture": thumbnail(project.workspace.dataset / row["image"], 192),
        "truth": row["truth"],
        "teacher": row.get("teacher"),
        "answer": row["answer"] or f"no label: “{text[:40]}”",
        "likeliest": likeliest if likeliest != row["answer"] else None,
        "sure": row.get("sure"),
        "reason": row.get("reason"),
        "confidence": row.get("confidence"),
        "id": row["id"][:12],
    }


def right(project: Project, rows: Sequence[Row]) -> dict[str, list[str]]:
    """A few right answers of every label, as data URIs."""
    labels = project.contract.labels
    each = max(1, min(RIGHT, RIGHT_IN_ALL // len(labels)))
    found: dict[str, list[str]] = {label: [] for label in labels}
    for row in rows:
        if row["right"] and len(found[row["truth"]]) < each:
            found[row["truth"]].append(thumbnail(project.workspace.dataset / row["image"], 112))
    return {label: pictures for label, pictures in found.items() if pictures}


def controls(rows: Sequence[Row] | None) -> Row | None:
    """The controls, those that did not come out as they should first."""
    if not rows:
        return None
    order = sorted(rows, key=lambda row: row["passed"] is not False)
    return {"rows": order, "failed": sum(row["passed"] is False for row in rows)}


def slices(figures: Row) -> Row | None:
    """The groups under their titles, with the training filter's; the one that is surely weak."""
    found = figures["slices"] or {}
    groups = {title: found[name] for name, title in SLICES.items() if found.get(name)}
    if (figures["confident"] or {}).get("n"):
        whole = {"name": "all (the verdict)", "n": figures["n"]}
        whole |= {"accuracy": figures["accuracy"], "ci": figures["ci"]}
        kept = {"name": "confident labels only", **figures["confident"]}
        groups = {"With and without the confidence filter": [whole, kept], **groups}
    if not groups:
        return None
    weak = [
        row
        for name in SLICES
        for row in found.get(name) or []
        if row["n"] >= FEW and row["ci"][1] < figures["accuracy"]
    ]
    return {
        "groups": groups,
        "weak": min(weak, key=lambda row: float(row["accuracy"]), default=None),
    }


def balance(counts: Mapping[str, Mapping[str, int]] | None) -> Row | None:
    """Pictures of each label, a part a split; the rarest label if it has under half of the
    commonest in train."""
    if not counts or "train" not in counts:
        return None
    labels = dict.fromkeys(label for row in counts.values() for label in row)
    rows: list[Row] = [
        {"label": label, "counts": [row.get(label, 0) for row in counts.values()]}
        for label in labels
    ]
    learned: list[tuple[str, Any]] = [(label, counts["train"].get(label, 0)) for label in labels]
    rare, common = (pick(learned, key=lambda pair: int(pair[1])) for pick in (min, max))
    return {
        "splits": list(counts),
        "rows": rows,
        "most": max(sum(row["counts"]) for row in rows) or 1,
        "rare": rare if 2 * rare[1] < common[1] else None,
        "common": common,
    }


def thumbnail(path: Path, side: int) -> str:
    """A device bitmap as a JPEG data URI no larger than `side` pixels."""
    out = BytesIO()
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((side, side))
    small.save(out, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
