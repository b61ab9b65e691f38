"""The gates of the configuration: what the shipped files must reach, and what to do if not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pocketvlm.intervals import NORMAL
from pocketvlm.sections import Gates
from pocketvlm.validate.recommend import about
from pocketvlm.workspace import Row


@dataclass(frozen=True)
class _Gate:
    bound: Literal["least", "most"]
    found: Callable[[Row], float | None]
    """The figure it judges; None where it was not measured."""
    sentence: Callable[[Row, Row], str]
    """What to say of a miss, from all figures and the gate's row."""


def judge(gates: Gates, figures: Row) -> Row:
    """The `gates` of metrics.json: a row for each gate that is set and whose figure was measured.

    `by` is the distance to the gate in the figure's own unit, positive where it is missed."""
    rows, settings = {}, gates.model_dump()
    for name, gate in GATES.items():
        found = gate.found(figures)
        if (wanted := settings[name]) is None or found is None:
            continue
        by = wanted - found if gate.bound == "least" else found - wanted
        row = {"wanted": wanted, "found": found, "passed": bool(by <= 0), "by": by}
        rows[name] = {**row, "bound": gate.bound}
    return rows


def not_judged(gates: Gates, figures: Row) -> list[str]:
    """A warning for each gate that is set, but whose figure was not measured."""
    return [
        f"gates.{name} {wanted:g} was not judged: nothing was measured for it"
        + (" (the merged model was not asked in torch)" if name == "agreement" else "")
        for name, wanted in gates.model_dump().items()
        if wanted is not None and GATES[name].found(figures) is None
    ]


def missed(figures: Row) -> list[str]:
    """A sentence for each gate that `figures["gates"]` says was missed: how much, of which file,
    and the mend."""
    return [
        GATES[name].sentence(figures, row)
        for name, row in figures["gates"].items()
        if not row["passed"]
    ]


def pictures_to_clear(share: float, wanted: float, n: int) -> int | None:
    """About how many pictures, more than n, bring the 95% interval's lower bound of a share up to
    `wanted`; None where the share does not lie above it, or so many are not to be had.

    Wilson's bound w of a share p obeys (p - w)² = z²·w(1 - w)/n (Wilson, 1927); solved for n."""
    if share <= wanted:
        return None
    return about(NORMAL**2 * wanted * (1 - wanted) / (share - wanted) ** 2, more_than=n)


def _accuracy(figures: Row, row: Row) -> str:
    (low, high), share, n = figures["ci"], figures["accuracy"], figures["n"]
    wanted = row["wanted"]
    if enough := pictures_to_clear(share, wanted, n):
        reach = (
            f"Accuracy itself reaches the gate, its lower bound does not: about {enough:,} "
            "test pictures would tell, if it stays as it is"
        )
    elif share >= wanted:
        reach = (
            "Accuracy itself only just reaches the gate: hardly any number of pictures would "
            "clear it, so the student has to get better"
        )
    elif high >= wanted:
        reach = (
            "Not even accuracy itself reaches the gate, only its upper bound: more test pictures "
            "may tell, but more likely the student has to get better"
        )
    else:
        reach = "Not even its upper bound reaches the gate: the student has to get better"
    return (
        f"the lower bound {low:.3f} of accuracy of {_files(figures)} is below gates.accuracy "
        f"{wanted:g}, by {row['by']:.3f} (accuracy {share:.3f}, 95% interval {low:.3f} to "
        f"{high:.3f}, n = {n}). {reach}."
    )


def _worst_recall(figures: Row, row: Row) -> str:
    label, figure = _worst(figures)
    taken = _taken_for(figures["confusion"], label)
    return (
        f"recall {row['found']:.3f} of the label {label!r} (n = {figure['support']}) of "
        f"{_files(figures)} is below gates.worst_recall {row['wanted']:g}, by {row['by']:.3f}. "
        f"Where wrong, it is most often answered with {taken}: collect more pictures of "
        f"{label!r}, and make its description in task.labels tell the two apart."
    )


def _one_word(figures: Row, row: Row) -> str:
    return (
        f"the share of one-word answers {row['found']:.3f} of {_files(figures)} is below "
        f"gates.one_word {row['wanted']:g}, by {row['by']:.3f} (cut at the token limit: "
        f"{figures['cut']:.1%}, no label: {figures['out_of_vocabulary']:.1%}). Train longer, or "
        "let the app ask under the grammar or by the labels' likelihood."
    )


def _agreement(figures: Row, row: Row) -> str:
    return (
        f"agreement {row['found']:.3f} of {_files(figures)} with the merged model in torch is "
        f"below gates.agreement {row['wanted']:g}, by {row['by']:.3f}. Conversion or quantisation "
        "changed the student: see at which step of the ladder, and put a larger type first in "
        "export.types if it is quantisation."
    )


def _mib(figures: Row, row: Row) -> str:
    return (
        f"the {row['found']:,.1f} MiB of {_files(figures)} together are above gates.mib "
        f"{row['wanted']:g}, by {row['by']:,.1f}. Put a smaller type first in export.types (the "
        "ladder shows what each costs in accuracy), or take a smaller base."
    )


def _ms(figures: Row, row: Row) -> str:
    return (
        f"the {row['found']:,.1f} ms a picture of {_files(figures)} on this machine are above "
        f"gates.ms {row['wanted']:g}, by {row['by']:,.1f}. A smaller device.side, device.tiles: "
        "single or a smaller base make it faster; a busy machine makes it slower."
    )


def _files(figures: Row) -> str:
    return f"{figures['model']} with {figures['mmproj']} in llama.cpp"


def _worst(figures: Row) -> tuple[str, Row]:
    """The label that is found least often, of those that occur in truth, and its figures."""
    rows = [(label, row) for label, row in figures["per_class"].items() if row["support"]]
    return min(rows, key=lambda pair: float(pair[1]["recall"]))


def _taken_for(confusion: Row, label: str) -> str:
    """What a label's pictures are most often answered with wrongly."""
    counts = confusion["counts"][confusion["truth"].index(label)]
    wrong = {name: n for name, n in zip(confusion["truth"], counts, strict=False) if name != label}
    name = max(wrong, key=lambda name: wrong[name])
    return repr(name) if wrong[name] >= counts[-1] else "no label at all"


def _shipped_mib(figures: Row) -> float | None:
    return next((rung["mib"] for rung in figures["ladder"] if rung["ships"]), None)


GATES = {
    "accuracy": _Gate("least", lambda figures: float(figures["ci"][0]), _accuracy),
    "worst_recall": _Gate(
        "least", lambda figures: float(_worst(figures)[1]["recall"]), _worst_recall
    ),
    "one_word": _Gate("least", lambda figures: figures["one_word"], _one_word),
    "agreement": _Gate("least", lambda figures: figures["agreement"], _agreement),
    "mib": _Gate("most", _shipped_mib, _mib),
    "ms": _Gate("most", lambda figures: figures["ms_per_picture"], _ms),
}
"""By their keys in `gates:`."""
