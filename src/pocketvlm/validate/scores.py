"""From answers to figures: what one pair of files said of pictures whose truth is known."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketvlm.contract import Contract
from pocketvlm.intervals import mcnemar, paired, wilson
from pocketvlm.validate import metrics
from pocketvlm.validate.calibration import confidences
from pocketvlm.validate.examples import Example
from pocketvlm.validate.metrics import Answers
from pocketvlm.workspace import Row

if TYPE_CHECKING:
    from pocketvlm.runtime import Asked

WAYS = {"greedy": "ms", "likelihood": "likelihood", "grammar": "grammar"}
"""The ways to answer, and what `runtime.latency` calls their milliseconds."""


def scores(contract: Contract, truth: Sequence[str], said: Sequence["Asked"]) -> Row:
    """Accuracy and its interval, the majority's share, F1, classes, confusion, and the shares of
    answers that are one word, no label, or cut at the limit; all of the greedy answers."""
    texts, ended = [one.text for one in said], [one.ended for one in said]
    answers = [contract.label_of(text) for text in texts]
    return {
        **share(truth, answers),
        "n": len(truth),
        "majority": metrics.majority(truth),
        "macro_f1": metrics.macro_f1(truth, answers),
        "per_class": metrics.per_class(truth, answers, contract.labels),
        "confusion": metrics.confusion(truth, answers, contract.labels),
        "one_word": metrics.one_word(texts, ended),
        "out_of_vocabulary": metrics.out_of_vocabulary(texts, contract.labels),
        "cut": metrics.cut(ended),
    }


def ways(contract: Contract, truth: Sequence[str], said: Sequence["Asked"], ms: Row) -> Row:
    """Accuracy and milliseconds of the three ways to ask, each against greedy on the same
    pictures; `ms` is `runtime.latency`'s."""
    free = answered(contract, said, "greedy")
    found: Row = {}
    for way, key in WAYS.items():
        answers = answered(contract, said, way)
        change = None if way == "greedy" else changed(truth, free, answers)
        found[way] = {**share(truth, answers), "ms": round(ms[key], 1), "change": change}
    return found


def answered(contract: Contract, said: Sequence["Asked"], way: str) -> list[str | None]:
    """The label of each answer, asked one way; None for what is no label."""
    if way == "likelihood":
        return [contract.labels[int(at)] for at in likelihoods(said).argmax(axis=1)]
    texts = [one.text if way == "greedy" else one.constrained or "" for one in said]
    return [contract.label_of(text) for text in texts]


def likelihoods(said: Sequence["Asked"]) -> NDArray[np.float64]:
    """Log-likelihoods of whole answers, (n, labels)."""
    return np.array([one.likelihoods for one in said], np.float64)


def changed(truth: Sequence[str], before: Answers, after: Answers) -> Row:
    """How much more often `after` is right on the same pictures, with its interval and McNemar's
    p."""
    pairs = list(zip(truth, before, after, strict=True))
    gained = sum(new == true != old for true, old, new in pairs)
    lost = sum(old == true != new for true, old, new in pairs)
    difference, low, high = paired(gained, lost, len(pairs))
    return {
        "difference": difference,
        "low": low,
        "high": high,
        "p": mcnemar(gained, lost),
        "gained": gained,
        "lost": lost,
    }


def share(truth: Sequence[str], answers: Answers) -> Row:
    """Accuracy and its interval."""
    low, high = wilson(metrics.hits(truth, answers), len(truth))
    return {"accuracy": metrics.accuracy(truth, answers), "ci": [low, high]}


def prediction_rows(
    contract: Contract, examples: Sequence[Example], said: Sequence["Asked"], fitted: Row | None
) -> list[Row]:
    """A row a picture: its truth, what was said of it, and how surely where a calibration was
    `fitted`."""
    likeliest, scored = answered(contract, said, "likelihood"), likelihoods(said)
    sure = confidences(scored, fitted["temperature"]).tolist() if fitted else [None] * len(said)
    rows = []
    for at, (example, one) in enumerate(zip(examples, said, strict=True)):
        row = asdict(example) | {"answer": contract.label_of(one.text)}
        del row["path"]
        row |= {"right": row["answer"] == example.truth, "likeliest": likeliest[at]}
        rows.append(row | {"constrained": one.constrained, "sure": sure[at]})
    return rows
