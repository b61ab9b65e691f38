"""The five levels at which torch and llama.cpp can part, and how each is measured."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pocketvlm.contract import Contract
from pocketvlm.errors import PocketError
from pocketvlm.layout import shortened
from pocketvlm.runtime import Runtime, lay_out, named
from pocketvlm.validate.audit.taught import Taught
from pocketvlm.workspace import Row

LEVELS = ("bitmaps", "token ids", "image embeddings", "first-token logits", "answers")

CAUSES = {
    "bitmaps": "The dataset's bitmaps are not what the device makes of these pictures: another "
    "filter, swapped channels or an offset; run `pocketvlm prepare`, or mend the tool that made "
    "the dataset.",
    "token ids": "llama.cpp reads another question than was trained: look at prompt, chat "
    "template, line ends, clip.vision.preproc_image_size and the llama.cpp build.",
    "image embeddings": "Tower or projector in the file are not those that were trained: convert "
    "again after merging; look at mean and deviation, position embeddings and a stale connector.",
    "first-token logits": "The text model in the file is not the one that was trained: merge and "
    "convert again.",
    "answers": "The quantisation type changes answers: ship a finer one (export.types), or the "
    "files are older than the adapter: merge and convert again.",
}
"""Where to look when a level is the first that breaks."""

SLACK = 1e-9
"""Of a share, for the rounding of its arithmetic."""


@dataclass(frozen=True)
class Finding:
    """One level on one picture: largest and mean difference."""

    worst: float
    mean: float
    note: str = ""
    tie: float | None = None
    """Torch's margin where a differing answer is a near-tie: listed, but not held against the
    level."""


@dataclass(frozen=True)
class Level:
    """One level over all pictures, for one pair of files."""

    name: str
    type: str
    worst: float | None
    """None where nothing was compared, or what came out is no number."""
    mean: float | None
    agreement: float | None
    """Share of the compared pictures inside the limit (answers: equal, or a near-tie); None without
    a limit."""
    limit: float | None
    """None: measured, not judged."""
    passed: bool
    picture: str
    """Which picture shows it worst; empty where nothing was compared."""
    note: str = ""

    def noted(self, note: str) -> Self:
        """The same with a note, if the level broke."""
        return self if self.passed else replace(self, note=note)

    def row(self) -> Row:
        """As it lies in metrics.json."""
        row = asdict(self)
        return {"level": row.pop("name"), **row}


def summary(
    name: str,
    type: str,
    taught: Sequence[Taught],
    findings: Sequence[Finding | None],
    limit: float | None,
) -> Level:
    """A level of one pair of files, by its worst picture; None among the findings is a picture that
    could not be compared, and is left out. A difference that is no number breaks the level."""
    found = [(one, at) for at, one in enumerate(findings) if one is not None]
    if not found:
        return Level(name, type, None, None, None, limit, True, "", "nothing to compare with")
    if strange := next((pair for pair in found if not isfinite(pair[0].worst)), None):
        image = taught[strange[1]].image
        return Level(name, type, None, None, 0.0, limit, False, image, "values that are no numbers")
    worst, at = max(found, key=lambda pair: (pair[0].tie is None, pair[0].worst))
    inside = [one.worst <= (limit or 0.0) or one.tie is not None for one, _ in found]
    return Level(
        name=name,
        type=type,
        worst=max(one.worst for one, _ in found),
        mean=sum(one.mean for one, _ in found) / len(found),
        agreement=None if limit is None else sum(inside) / len(inside),
        limit=limit,
        passed=limit is None or all(inside),
        picture=taught[at].image,
        note=worst.note,
    )


def answers(
    type: str, taught: Sequence[Taught], findings: Sequence[Finding], least: float | None
) -> Level:
    """The last level, judged by the share of answers that are equal (or near-ties); without `least`
    measured alone."""
    level = summary("answers", type, taught, findings, 0.0)
    assert level.agreement is not None  # each picture has an answer
    if least is None:
        return replace(level, limit=None, passed=True)
    return replace(level, limit=least, passed=level.agreement >= least - SLACK)


def bitmaps(contract: Contract, taught: Sequence[Taught]) -> Level:
    """The dataset's bitmaps against the device's, prepared again from the original; of 255."""
    return summary("bitmaps", "-", taught, [_bitmap(contract, one) for one in taught], 0.0)


def _bitmap(contract: Contract, one: Taught) -> Finding | None:
    if one.original is None:
        return None
    try:
        made = contract.open(one.original)
    except PocketError:
        return None  # no picture any more: as good as gone
    worst, mean = apart(made, one.bitmap)
    return Finding(worst, mean, guess(made, one.bitmap) if worst else "")


def guess(made: NDArray[np.uint8], found: NDArray[np.uint8]) -> str:
    """What may have happened to a bitmap, by the change that brings it nearest."""
    shifts = {
        f"moved by {dx} right and {dy} down": np.roll(made, (dy, dx), (0, 1))
        for dx in (-1, 0, 1)
        for dy in (-1, 0, 1)
        if dx or dy
    }
    tries = {"red and blue are swapped": made[:, :, ::-1]} | shifts
    nearest = min(tries, key=lambda name: apart(tries[name], found)[1])
    if apart(tries[nearest], found)[1] < 0.2 * apart(made, found)[1]:
        return nearest
    return "other pixels everywhere: another filter, another picture, or altered since"


def ids(runtime: Runtime, contract: Contract, one: Taught) -> Finding:
    """How many token ids are left from the first one that differs on."""
    asked, trained = runtime.ids(contract.prompt, one.bitmap), list(one.layout.ids)
    if asked == trained:
        return Finding(0.0, 0.0)
    same = next(
        (at for at, (a, b) in enumerate(zip(asked, trained, strict=False)) if a != b),
        min(len(asked), len(trained)),
    )
    left = float(max(len(asked), len(trained)) - same)
    return Finding(left, left)


def layout_note(runtime: Runtime, contract: Contract, one: Taught) -> str:
    """Both layouts in words, and both builds."""
    asked = lay_out(runtime, contract.prompt)
    return (
        f"{named(asked.runtime)} asks {shortened(repr(asked.words), 240)}, trained was "
        f"{shortened(repr(one.layout.words), 240)} ({named(one.layout.runtime)})"
    )


def embeddings(runtime: Runtime, one: Taught, exact: bool) -> tuple[Finding, Finding]:
    """Every tile against torch's tile, over the deviation of torch's embeddings: with llama.cpp's
    own roundings if `exact`, and without."""
    seen, deviation = runtime.embeddings(one.bitmap), float(one.features.std())
    judged, plain = (
        Finding(worst / deviation, mean / deviation)
        for worst, mean in (
            apart(seen, one.rounded if exact else one.features),
            apart(seen, one.features),
        )
    )
    return judged, plain


def logits(runtime: Runtime, contract: Contract, one: Taught, exact: bool) -> Finding:
    """Of the first token: the text model alone on torch's embeddings, or the whole way."""
    if exact:
        return Finding(*apart(runtime.text_logits(one.embeddings), one.logits))
    return Finding(*apart(runtime.logits(contract.prompt, one.bitmap), one.logits))


def answer(runtime: Runtime, contract: Contract, one: Taught, near_tie: float) -> Finding:
    """1 when the answers differ. It is a near-tie when they part at a token that torch holds second
    best by less than `near_tie`."""
    said = runtime.answer(contract.prompt, one.bitmap, contract.max_new_tokens)
    if said.text == one.answer:
        return Finding(0.0, 0.0)
    note = f"{shortened(repr(said.text), 60)} instead of {shortened(repr(one.answer), 60)}"
    parting = ((id, mine) for id, mine in zip(said.ids, one.choices, strict=False) if id != mine[0])
    token, (_, second, margin) = next(parting, (None, one.choices[-1]))
    return Finding(1.0, 1.0, note, margin if token == second and margin < near_tie else None)


def near_ties(type: str, taught: Sequence[Taught], findings: Sequence[Finding]) -> list[Row]:
    """Differing answers between whose first tokens torch itself hardly decides."""
    return [
        {"type": type, "picture": one.image, "margin": round(found.tie, 4), "note": found.note}
        for one, found in zip(taught, findings, strict=True)
        if found.tie is not None
    ]


def cells(row: Row) -> tuple[str, ...]:
    """A level as people read it: name, files, worst, mean, agreement, limit, verdict."""
    verdict = "measured" if row["limit"] is None else "equal" if row["passed"] else "DIFFERS"
    if not row["passed"]:
        verdict = "DIFFERS"
    elif not row["picture"]:
        verdict = row["note"]
    return (
        row["level"],
        row["type"],
        *("-" if row[name] is None else f"{row[name]:.3g}" for name in ("worst", "mean")),
        "-" if row["agreement"] is None else f"{row['agreement']:.1%}",
        "-" if row["limit"] is None else f"{row['limit']:g}",
        verdict,
    )


def figure(row: Row) -> str:
    """Why a level broke, for people: its note, or its figure beside its limit."""
    if row["level"] == "answers":
        share = f"{row['agreement']:.1%} of the answers are equal, {row['limit']:.1%} are wanted"
        return f"{share}; {row['note']}"
    if row["note"]:
        return str(row["note"])
    return f"the worst difference is {row['worst']:.3g}, the limit {row['limit']:.3g}"


def apart(a: NDArray[np.generic], b: NDArray[np.generic]) -> tuple[float, float]:
    """Largest and mean absolute difference; `a` may be several of `b`. ValueError for another
    shape: numpy would repeat one row silently."""
    if a.shape[a.ndim - b.ndim :] != b.shape:
        raise ValueError(f"shapes {a.shape} and {b.shape}")
    difference = np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64))
    return float(difference.max()), float(difference.mean())
