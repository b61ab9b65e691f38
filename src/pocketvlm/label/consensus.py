"""One label a picture from what one or several teachers said, once or several times.

A teacher's repeats become one opinion, the mean of their probabilities (a linear opinion pool,
Stone 1961, https://doi.org/10.1214/aoms/1177704873). Between teachers CROWDLAB decides (Goh,
Tkachenko and Mueller 2022, https://arxiv.org/abs/2210.06812), with the strongest teacher in the
place of its classifier. benchmarks/consensus.py says why: repeats as annotators of their own
outvote a better teacher, and methods that learn who is better from few opinions do worse than
letting the strongest decide. CROWDLAB's quality forgets a disagreement where one class is common or
pictures are few, so it is averaged with the pool's."""

import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO

import numpy as np
from numpy.typing import NDArray

from pocketvlm.label.prompt import NONE
from pocketvlm.workspace import Row

Floats = NDArray[np.float64]
Counts = NDArray[np.intp]

UNSTATED = 0.5
"""Confidence of an opinion that states none."""

LEAST = 0.35
"""A lower stated confidence is weighed as this, or the alternative would come before the label."""

TO_ALTERNATIVE = 0.5
"""Share of the doubt that the named alternative gets; the other classes share the rest."""

FIRST = 1e-6
"""Lifts a teacher's first answer above one of its repeats that is exactly as probable."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a picture's opinions come to."""

    status: str
    """`ok`, `none` (no label fits), or why nothing can be used: refused, rejected, malformed or
    failed."""
    label: str | None
    """One of the task's labels when the status is ok."""
    confidence: float | None
    """0..1: as stated where one opinion can be used; where several can, their mean probability,
    between teachers averaged with CROWDLAB's quality."""
    agreement: float | None
    """Share of the usable opinions that give this label; None with fewer than two."""
    source: int
    """Which opinion's reason stands for it: the strongest teacher's that gave this label, the first
    among its repeats. -1 for a picture without any opinion."""


@dataclass(frozen=True)
class Opinions:
    """The usable opinions of some pictures as columns, sorted by picture, teacher and repeat."""

    picture: Counts
    teacher: Counts
    label: Counts
    """Index of a class; `none` is the last one."""
    alternative: Counts
    """The same; -1 for none named."""
    confidence: Floats

    def of(self, teacher: int) -> "Opinions":
        """One teacher's."""
        here = self.teacher == teacher
        names = ("picture", "teacher", "label", "alternative", "confidence")
        return Opinions(*(getattr(self, name)[here] for name in names))


def decide(opinions: Sequence[Sequence[Row]], labels: Sequence[str]) -> list[Decision]:
    """A decision a picture, in the same order.

    An opinion is an answer's row: `teacher` (0 is the cheapest, rising strength), `repeat`,
    `status`, `label`, `alternative`, `confidence` (0..1). Usable are those that name one of
    `labels` or say that none fits, which counts as a class of its own; a picture with one keeps it.
    The result depends on nothing but the opinions, not on their order or that of the pictures."""
    classes = {name: at for at, name in enumerate([*labels, NONE])}
    usable = [_usable(said, classes) for said in opinions]
    several = [at for at, kept in enumerate(usable) if len(kept) > 1]
    rows = [[opinions[at][one] for one in usable[at]] for at in several]
    found, confidence = _weigh(columns(rows, classes), len(several), len(classes))
    weighed = zip(several, found.tolist(), confidence.tolist(), strict=True)
    names = [*labels, NONE]
    chosen = {at: (names[one], round(sure, 4)) for at, one, sure in weighed}
    decisions = []
    for at, (said, kept) in enumerate(zip(opinions, usable, strict=True)):
        if not kept:
            decisions.append(_undecided(said, classes))
        elif len(kept) == 1:
            only = said[kept[0]]
            decisions.append(_decision(said, kept, class_of(only), only["confidence"]))
        else:
            decisions.append(_decision(said, kept, *chosen[at]))
    return decisions


def _usable(said: Sequence[Row], classes: dict[str, int]) -> list[int]:
    """Indices of the opinions that name a class, by teacher and repeat."""
    kept = [at for at, row in enumerate(said) if class_of(row) in classes]
    return sorted(kept, key=lambda at: (said[at]["teacher"], said[at]["repeat"]))


def class_of(row: Row) -> str | None:
    """The class that an opinion names; None when it cannot be used."""
    match row["status"]:
        case "ok":
            label: str | None = row["label"]
            return label
        case "none":
            return NONE
    return None


def _undecided(said: Sequence[Row], classes: dict[str, int]) -> Decision:
    """Without a usable opinion the strongest teacher's last one says why."""
    if not said:
        return Decision("failed", None, None, None, -1)
    last = max(range(len(said)), key=lambda at: (said[at]["teacher"], said[at]["repeat"]))
    # An accepted label that the task no longer has is one outside the set.
    status = "rejected" if said[last]["status"] == "ok" else said[last]["status"]
    return Decision(status, None, None, None, last)


def _decision(
    said: Sequence[Row], kept: Sequence[int], name: str | None, confidence: float | None
) -> Decision:
    """The decision for a class that at least one of the kept opinions names."""
    same = [at for at in kept if class_of(said[at]) == name]
    source = max(same, key=lambda at: (said[at]["teacher"], -said[at]["repeat"]))
    agreement = len(same) / len(kept) if len(kept) > 1 else None
    status, label = ("none", None) if name == NONE else ("ok", name)
    return Decision(status, label, confidence, agreement, source)


def columns(pictures: Sequence[Sequence[Row]], classes: dict[str, int]) -> Opinions:
    """Usable opinions, each picture's by teacher and repeat, as columns."""
    rows = [row for said in pictures for row in said]
    stated = [row["confidence"] for row in rows]
    label = np.array([classes[str(class_of(row))] for row in rows], np.intp)
    other = np.array([classes.get(row.get("alternative") or "", -1) for row in rows], np.intp)
    return Opinions(
        np.repeat(np.arange(len(pictures)), [len(said) for said in pictures]),
        np.array([row["teacher"] for row in rows], np.intp),
        label,
        np.where(other == label, -1, other),
        np.array([UNSTATED if one is None else one for one in stated]).clip(LEAST, 1),
    )


def _weigh(opinions: Opinions, pictures: int, classes: int) -> tuple[Counts, Floats]:
    """Class and confidence of pictures that have at least two usable opinions each."""
    teachers = np.unique(opinions.teacher)  # rising strength
    everyone = np.arange(pictures)
    answers = np.full((pictures, len(teachers)), np.nan)
    pool, strongest = np.zeros((pictures, classes)), np.zeros((pictures, classes))
    label = np.zeros(pictures, np.intp)
    given = np.zeros((pictures, classes), bool)
    for column, teacher in enumerate(teachers):
        asked, probabilities, answer = voice(opinions.of(teacher), pictures, classes)
        pool += probabilities
        strongest[asked], label[asked] = probabilities[asked], answer[asked]
        answers[asked, column] = answer[asked]
        given[asked, answer[asked]] = True
    heard = (~np.isnan(answers)).sum(axis=1)
    pool /= heard[:, None]
    several = heard > 1
    quality = pool[everyone, label]
    if several.any():
        meet = ~np.isnan(answers[several]).all(axis=0)  # not who only ever answered alone
        found, score = crowdlab(answers[several][:, meet], strongest[several])
        named = given[several, found]  # never a class that nobody answered
        label[several] = np.where(named, found, label[several])
        quality = pool[everyone, label]
        quality[several] = np.where(named, (quality[several] + score) / 2, quality[several])
    return label, quality


def voice(
    opinions: Opinions, pictures: int, classes: int
) -> tuple[NDArray[np.bool_], Floats, Counts]:
    """One teacher, its repeats taken together: which pictures it answered, shape (pictures,), its
    probabilities, shape (pictures, classes), 0 where it did not, and its most probable answer."""
    at, label, other = opinions.picture, opinions.label, opinions.alternative
    doubt = 1 - opinions.confidence
    named = other >= 0
    to_other = np.where(named, TO_ALTERNATIVE * doubt, 0)
    to_each = (doubt - to_other) / (classes - 1 - named)
    sums = np.zeros((pictures, classes))
    sums += np.bincount(at, to_each, pictures)[:, None]
    np.add.at(sums, (at, label), opinions.confidence - to_each)
    np.add.at(sums, (at[named], other[named]), (to_other - to_each)[named])
    count = np.bincount(at, minlength=pictures)
    sums /= np.maximum(count, 1)[:, None]
    answered = np.zeros((pictures, classes))
    answered[at, label] = 1
    first = np.unique(at, return_index=True)[1]
    answered[at[first], label[first]] += FIRST
    return count > 0, sums, (sums + answered).argmax(axis=1)


def crowdlab(answers: Floats, strongest: Floats) -> tuple[Counts, Floats]:
    """CROWDLAB's consensus and its quality, each of shape (pictures,).

    `answers` holds a class or NaN, shape (pictures, teachers), at least two a picture; `strongest`
    the probabilities of the strongest teacher that answered, shape (pictures, classes). Sorted,
    because sums depend on the order; and no two classes equally probable, because cleanlab draws
    lots between them."""
    from cleanlab import multiannotator  # takes 1.3 s

    order = np.lexsort((*strongest.T, *answers.T))
    prior = strongest[order] + 1e-9 * np.arange(strongest.shape[1], 0, -1)
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        found = multiannotator.get_label_quality_multiannotator(
            answers[order],
            prior / prior.sum(axis=1, keepdims=True),
            return_detailed_quality=False,
            return_annotator_stats=False,
            verbose=False,
        )["label_quality"]
    label, quality = np.empty(len(order), np.intp), np.empty(len(order))
    label[order] = found["consensus_label"].to_numpy()
    quality[order] = found["consensus_quality_score"].to_numpy()
    return label, quality
