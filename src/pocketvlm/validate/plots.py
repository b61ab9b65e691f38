"""Plots as inline SVG: their lines and letters take the page's colour, light or dark."""

import re
import warnings
from collections.abc import Sequence
from io import StringIO
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

ACCENT, SECOND = "#4f7fe0", "#e08a3c"
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


def confusion_plot(confusion: Row) -> Markup:
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
        axes.set(xlabel="answered", ylabel="true")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return _svg(figure, "confusion")


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
