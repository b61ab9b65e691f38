"""Plots as inline SVG: their lines and letters take the page's colour, light or dark."""

import re
import warnings
from collections.abc import Mapping, Sequence
from io import StringIO
from itertools import cycle
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from pocketvlm.workspace import Row

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

INK = "#010203"
"""Stands for the page's text colour in the drawing; no other part uses it."""

GREY = "#7d828b"
"""Can be read on white and on black."""

ACCENT, SECOND = "#4f7fe0", "#e08a3c"
SERIES = (ACCENT, SECOND, "#3d9a6a", "#a86bc9")
STYLE: "dict[RcKeyType, Any]" = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pocketvlm",  # the same drawing has the same bytes
    "text.parse_math": False,  # a label may hold dollar signs
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def confusion_plot(
    confusion: Row, across: str = "answered", down: str = "true", name: str = "confusion"
) -> Markup:
    """Counts as a grid; a cell's depth is its share of the row."""
    truth, answered, counts = confusion["truth"], confusion["answered"], confusion["counts"]
    size = 0.72 * len(answered) + 1.2
    with rc_context(STYLE):
        figure = Figure(figsize=(size, size - 0.5), layout="constrained")
        axes = figure.subplots()
        for y, row in enumerate(counts):
            for x, count in enumerate(row):
                share = count / max(1, sum(row))
                _cell(axes, x, y, count, share, right=x == y)
        axes.set(xlim=(-0.5, len(answered) - 0.5), ylim=(len(truth) - 0.5, -0.5), aspect="equal")
        axes.set_xticks(range(len(answered)), answered, rotation=35, ha="right")
        axes.set_yticks(range(len(truth)), truth)
        axes.set(xlabel=across, ylabel=down)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return _svg(figure, name)


def _cell(axes: Axes, x: int, y: int, count: int, share: float, right: bool) -> None:
    color, alpha = INK, 0.03
    if count:  # the root lets a single mistake be seen beside a full diagonal
        color, alpha = ACCENT if right else SECOND, 0.08 + 0.6 * share**0.5
        axes.text(x, y, str(count), ha="center", va="center")
    axes.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, lw=0, color=color, alpha=alpha))


def loss_plot(history: Row) -> Markup:
    """Training loss over epochs, and the validation split's."""
    with rc_context(STYLE):
        figure, axes = _panel("loss")
        _line(axes, history["train"], "loss", "train", ACCENT)
        _line(axes, history["val"], "loss", "val", SECOND)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        return _svg(figure, "loss")


def accuracy_plot(history: Row) -> Markup:
    """Accuracy on the validation split over epochs."""
    with rc_context(STYLE):
        figure, axes = _panel("accuracy on val")
        _line(axes, history["val"], "accuracy", "val", SECOND)
        axes.set_ylim(0, 1.02)
        return _svg(figure, "accuracy")


def sizes_plot(rows: Sequence[Row]) -> Markup:
    """Accuracy with its 95% interval against milliseconds a picture, a point a side."""
    with rc_context(STYLE):
        figure, axes = _panel("accuracy, %", "ms a picture in llama.cpp")
        for row in rows:
            at, share = row["ms"], 100 * row["accuracy"]
            low, high = (100 * bound for bound in row["ci"])
            axes.errorbar(
                at,
                share,
                yerr=[[share - low], [high - share]],
                fmt="o",
                color=ACCENT,
                ms=6,
                lw=1.8,
                capsize=4,
            )
            axes.annotate(str(row["side"]), (at, share), xytext=(9, 3), textcoords="offset points")
        axes.set_xlim(0, 1.15 * max(row["ms"] for row in rows))
        return _svg(figure, "sizes")


def balance_plot(counts: Mapping[str, Mapping[str, int]], labels: Sequence[str]) -> str:
    """Pictures of each label, stacked by split (split -> label -> pictures), as a file of its own:
    it has no page's colour to take."""
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2, 0.9 + 0.36 * len(labels)), layout="constrained")
        axes = figure.subplots()
        before = [0] * len(labels)
        for (split, row), color in zip(counts.items(), SERIES, strict=False):
            count = [row.get(label, 0) for label in labels]
            axes.barh(labels, count, left=before, label=split, color=color, alpha=0.85)
            before = [one + more for one, more in zip(before, count, strict=True)]
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="x", alpha=0.15, color=INK)
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper left", frameon=False, ncols=3, fontsize=10)
        return _svg(figure, "balance").replace("currentColor", GREY)


def confidence_plot(teachers: Sequence[Row]) -> Markup:
    """How often each teacher states each confidence, a panel a teacher: `model`, `histogram`."""
    with rc_context(STYLE):
        size = (4.6, 0.8 + 1.3 * len(teachers))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(teachers), sharex=True, squeeze=False)[:, 0]
        for axes, teacher, color in zip(panels, teachers, cycle(SERIES), strict=False):
            for row in teacher["histogram"]:
                width = max(0.022, row["high"] - row["low"])  # a single value is a thin bar
                middle = (row["low"] + row["high"]) / 2
                axes.bar(middle, row["n"], 0.9 * width, color=color, alpha=0.85)
            axes.set_title(teacher["model"], loc="left", fontsize=11)
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.grid(axis="y", alpha=0.15, color=INK)
            axes.set_xlim(-0.02, 1.02)
        panels[-1].set_xlabel("stated confidence")
        return _svg(figure, "confidence")


def calibration_plot(series: Mapping[str, Sequence[Row]], title: str, name: str) -> Markup:
    """Share right, with its 95% interval, against the stated confidence; a teacher a series. On
    the dashed line a confidence would mean what it says. Larger dots hold more answers."""
    stated = [row["stated"] for rows in series.values() for row in rows]
    with rc_context(STYLE):
        figure, axes = _panel(title, "stated confidence")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.plot([0, 1], [0, 1], "--", color=INK, lw=1, alpha=0.4)
        for at, (model, rows) in enumerate(series.items()):
            aside = 0.007 * (at - (len(series) - 1) / 2)  # or their bars would hide each other
            color, most = SERIES[at % len(SERIES)], max(row["n"] for row in rows)
            x = [row["stated"] + aside for row in rows]
            axes.vlines(x, *zip(*(row["ci"] for row in rows), strict=True), color=color, alpha=0.55)
            size = [14 + 60 * row["n"] / most for row in rows]
            axes.scatter(x, [row["right"] for row in rows], size, color=color, label=model)
        axes.set(xlim=(min(0.48, min(stated) - 0.05), 1.03), ylim=(0, 1.03))
        figure.set_figheight(3.4)  # the legend takes its place from the panel
        figure.legend(loc="outside lower left", frameon=False, fontsize=9, ncols=2, markerscale=0.8)
        return _svg(figure, name)


def coverage_plot(calibration: Row) -> Markup:
    """Accuracy of the answers that are kept against the share of pictures that get one: `curve`
    (coverage, accuracy), the dot is the chosen threshold, dashed is the accuracy asked for."""
    curve = [row for row in calibration["curve"] if row["accuracy"] is not None]
    dot = calibration["accuracy_when_sure"]
    shares = [row["accuracy"] for row in curve] + [calibration["sure"]]
    with rc_context(STYLE):
        figure, axes = _panel("right, of the answers kept", "share of pictures that get an answer")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.axhline(calibration["sure"], ls="--", color=INK, lw=1, alpha=0.4)
        points = sorted((row["coverage"], row["accuracy"]) for row in curve)
        axes.plot(*zip(*points, strict=True), color=ACCENT, lw=1.8)
        if calibration["unsure_below"] is not None and dot is not None:
            axes.plot(calibration["coverage"], dot, "o", color=SECOND, ms=9)
            shares.append(dot)
        axes.set(xlim=(0, 1.02), ylim=(max(0, min(shares) - 0.05), 1.01))
        return _svg(figure, "coverage")


def _panel(title: str, across: str = "epoch") -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.6, 3), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(across)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.15, color=INK)
    return figure, axes


def _line(axes: Axes, rows: Sequence[Row], key: str, label: str, color: str) -> None:
    style = "o-" if label == "val" else "-"
    axes.plot(
        [row["epoch"] for row in rows],
        [row[key] for row in rows],
        style,
        color=color,
        label=label,
        lw=1.8,
        ms=4.5,
    )


def _svg(figure: Figure, name: str) -> Markup:
    """The drawing without prologue and metadata; `name` keeps the ids of two drawings apart."""
    out = StringIO()
    with warnings.catch_warnings():  # letters stay text: the reader's browser has the glyphs
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(out, format="svg", transparent=True, metadata=NO_METADATA)
    drawing = out.getvalue()
    drawing = drawing[drawing.index("<svg") :].replace(INK, "currentColor")
    return Markup(re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", drawing))
