"""What the shipped file's own certainty is worth, and below which the app should say "unsure".

Scores are log-likelihoods of whole answers, end token included, (n, labels); the answer judged is
the likeliest label. Everything is fitted on val and measured on test."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from pocketvlm.intervals import wilson
from pocketvlm.workspace import Row

Floats = NDArray[np.floating]
Scored = tuple[Floats, NDArray[np.integer]]
"""Log-likelihoods (n, labels), finite, and the index of each picture's true label (n,)."""

COLDEST, HOTTEST = 0.05, 20.0
"""Temperatures searched."""

BINS = 10
"""Of ECE, of equal width; Guo et al. take 15, but ten read as percentages."""

POINTS = 50
"""Of the curve, at most."""

ONE_SIDED = 1.2815515655446004
"""Standard deviations of a one-sided 90% bound."""


def temperature(scores: Floats, truth: NDArray[np.integer]) -> float:
    """The T by which the scores are divided, so that softmax(scores / T) is as often right as it
    says (Guo et al., 2017, On Calibration of Modern Neural Networks, 4.2).

    It minimises the negative log-likelihood, to which one picture's worth of doubt is added:
    1/T - log(1/T), a Gamma(2, 1) prior that prefers T = 1, the model's own. Without it, T falls to
    nothing where all of val is right, and a handful of pictures decides everything; with hundreds
    it does not show. Both terms are convex in 1/T: there is one minimum. No picture gives 1."""
    rows = np.arange(len(truth))

    def loss(log_sharpness: float) -> float:
        sharpness = np.exp(log_sharpness)
        likelihood = log_softmax(np.asarray(scores, float) * sharpness, axis=1)[rows, truth]
        return float(sharpness - log_sharpness - likelihood.sum())

    bounds = (-np.log(HOTTEST), -np.log(COLDEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(-found.x))


def confidences(scores: Floats, temperature: float) -> NDArray[np.float64]:
    """How sure of its likeliest label: the largest of softmax(scores / T), (n,), 1/labels..1."""
    largest: NDArray[np.float64] = softmax(np.asarray(scores, float) / temperature, axis=1).max(1)
    return largest


def ece(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Expected calibration error, 0..1 (Guo et al., 2017, eq. 3): what is stated against what is
    right, a bin of equal width each (BINS), weighed by its pictures. Few pictures make it larger
    than it is: a bin of 10 is off by chance alone."""
    gaps = [row["n"] * abs(row["stated"] - row["right"]) for row in bins(confidence, right)]
    return float(sum(gaps) / len(right))


def bins(confidence: Floats, right: NDArray[np.bool_]) -> list[Row]:
    """A row a bin that holds any picture: above `low` up to `high`, `stated` (mean confidence),
    `right` (share), `n` and `ci`, Wilson's 95% interval of the share."""
    edges = np.linspace(0, 1, BINS + 1)
    places = np.digitize(confidence, edges[1:-1], right=True)
    rows = []
    for at in np.unique(places):
        own = places == at
        hits, n = int(right[own].sum()), int(own.sum())
        rows.append(
            {
                "low": round(float(edges[at]), 3),
                "high": round(float(edges[at + 1]), 3),
                "stated": float(confidence[own].mean()),
                "right": hits / n,
                "n": n,
                "ci": list(wilson(hits, n)),
            }
        )
    return rows


def unsure_below(confidence: Floats, right: NDArray[np.bool_], sure: float) -> float | None:
    """The smallest confidence of these pictures at which those at least so sure are right at least
    `sure` often, by the lower bound of Wilson's one-sided 90% interval; None where none reaches it.

    Why a bound: simulated on calibrated students of 76 to 88% accuracy, `sure` 95%, 100 to 3,000
    pictures, the share itself chooses a threshold that breaks its word in half of all cases,
    however many the pictures (with 100, by 3 to 5 points in the worst tenth). This bound, although
    it is tried at every threshold, breaks it in one of ten, mostly by less than half a point, and
    costs 2 to 3 points of coverage at 3,000 pictures and 6 to 11 at 300. The two-sided 95% bound
    breaks it in one of forty, but reaches nothing below 73 pictures; this one needs 32, all of
    them right."""
    order = np.argsort(-confidence, kind="stable")
    stated, n = confidence[order], np.arange(1, len(confidence) + 1)
    reached = lower_bound(np.cumsum(right[order]), n) >= sure
    # of equally sure pictures only the last sees them all
    reached &= np.append(stated[1:] < stated[:-1], True)
    places = np.flatnonzero(reached)
    return float(stated[places[-1]]) if len(places) else None


def lower_bound(hits: NDArray[np.integer], n: NDArray[np.integer]) -> NDArray[np.float64]:
    """Wilson's one-sided 90% lower bound of shares (Wilson, 1927), of many at once."""
    z2, share = ONE_SIDED**2, hits / n
    reach = ONE_SIDED * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    bound: NDArray[np.float64] = (share + z2 / (2 * n) - reach) / (1 + z2 / n)
    return bound


def calibrate(val: Mapping[str, Scored], test: Scored, kind: str, sure: float) -> Row | None:
    """The `calibration` of metrics.json for the shipped type `kind`; None without its val.

    `val` holds every type's scores; `test` the shipped type's, of at least one picture. Where
    `unsure_below` is None, or above every picture of test, there is no accuracy to state."""
    if kind not in val or not len(val[kind][1]):
        return None
    temperatures = {name: temperature(*scored) for name, scored in val.items()}
    fitted, (scores, _) = temperatures[kind], val[kind]
    least = unsure_below(confidences(scores, fitted), _right(val[kind]), sure)
    return {
        "temperatures": temperatures,
        "temperature": fitted,
        "n_val": len(scores),
        "sure": sure,
        "unsure_below": least,
        **measured(test, fitted, least),
    }


def measured(test: Scored, fitted: float, least: float | None) -> Row:
    """What a temperature and a threshold that were chosen elsewhere are worth on these pictures:
    `ece_before`, `ece`, `bins`, `coverage`, `accuracy_when_sure`, `ci_when_sure`, `curve`."""
    stated, right = confidences(test[0], fitted), _right(test)
    return {
        "ece_before": ece(confidences(test[0], 1.0), right),
        "ece": ece(stated, right),
        "bins": bins(stated, right),
        **_when_sure(stated, right, least),
        "curve": _curve(stated, right),
    }


def _right(scored: Scored) -> NDArray[np.bool_]:
    scores, truth = scored
    return np.asarray(scores.argmax(axis=1) == truth)


def _when_sure(stated: Floats, right: NDArray[np.bool_], least: float | None) -> Row:
    """Share of pictures that are answered, and how often these answers are right."""
    if least is None:
        return {"coverage": None, "accuracy_when_sure": None, "ci_when_sure": None}
    own = right[stated >= least]
    return {
        "coverage": len(own) / len(right),
        "accuracy_when_sure": float(own.mean()) if len(own) else None,
        "ci_when_sure": list(wilson(int(own.sum()), len(own))) if len(own) else None,
    }


def _curve(stated: Floats, right: NDArray[np.bool_]) -> list[Row]:
    """Coverage against accuracy, from the least threshold (all pictures) to the highest."""
    values = np.unique(stated)
    picked = np.unique(
        np.linspace(0, len(values) - 1, min(POINTS, len(values))).round().astype(int)
    )
    return [
        {
            "threshold": float(value),
            "coverage": float((stated >= value).mean()),
            "accuracy": float(right[stated >= value].mean()),
        }
        for value in values[picked]
    ]
