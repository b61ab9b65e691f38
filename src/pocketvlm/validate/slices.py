"""Accuracy by where a picture comes from, how sure its teacher was, and who saw its label."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from pocketvlm.intervals import wilson
from pocketvlm.validate.examples import Example
from pocketvlm.workspace import Row

SOURCES = 12
"""So many sources are shown one by one, the largest."""

BANDS = ((0.9, "0.9 and above"), (0.75, "0.75 to 0.9"), (0.0, "below 0.75"))
"""Of the teacher's confidence, by their lower end. Below 0.75 is what `prepare.min_confidence`
keeps out of train unless told otherwise: the student never learned from pictures as unsure as
these. Teachers state round numbers, most of them 0.9 and more, so that finer bands would hold
hardly any picture. They are fixed, so that two runs can be laid side by side."""

REVIEWED, NOT_REVIEWED = "reviewed by a person", "not reviewed"

Hit = tuple[Example, bool]
"""A picture and whether it was answered rightly."""


def slices(examples: Sequence[Example], answers: Sequence[str | None]) -> Row:
    """The `slices` of metrics.json; a slice that holds no picture is left out."""
    hits = [
        (example, example.truth == answer)
        for example, answer in zip(examples, answers, strict=True)
    ]
    return {
        "source": _by_source(hits),
        "confidence": _named(hits, _band, [name for _, name in reversed(BANDS)]),
        "reviewed": _named(hits, _review, [REVIEWED, NOT_REVIEWED]),
    }


def _by_source(hits: Sequence[Hit]) -> list[Row]:
    """Biggest first; the sources beyond SOURCES together in the last row."""
    groups = _groups(hits, lambda example: example.source)
    names = sorted(groups, key=lambda name: (-len(groups[name]), name))
    rows = [_row(name, groups[name]) for name in names[:SOURCES]]
    if rest := names[SOURCES:]:
        others = [right for name in rest for right in groups[name]]
        rows.append(_row(f"{len(rest)} other{'s' if len(rest) > 1 else ''}", others))
    return rows


def _named(
    hits: Sequence[Hit], name_of: Callable[[Example], str], names: Sequence[str]
) -> list[Row]:
    groups = _groups(hits, name_of)
    return [_row(name, groups[name]) for name in names if name in groups]


def _groups(hits: Sequence[Hit], name_of: Callable[[Example], str]) -> dict[str, list[bool]]:
    groups: dict[str, list[bool]] = defaultdict(list)
    for example, right in hits:
        groups[name_of(example)].append(right)
    return groups


def _band(example: Example) -> str:
    return next(name for low, name in BANDS if example.confidence >= low)


def _review(example: Example) -> str:
    return REVIEWED if example.reviewed else NOT_REVIEWED


def _row(name: str, right: Sequence[bool]) -> Row:
    hits, n = sum(right), len(right)
    return {"name": name, "n": n, "accuracy": hits / n, "ci": list(wilson(hits, n))}
