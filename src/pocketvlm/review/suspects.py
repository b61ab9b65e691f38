"""Labels worth a second look: near-duplicates labelled otherwise, what the student answered
otherwise, and what does not look like the rest of its class.

The last is confident learning (Northcutt, Jiang and Chuang 2021, https://arxiv.org/abs/1911.00068):
a simple classifier is asked about each picture after learning the others, and cleanlab says which
labels it contradicts with confidence.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocketvlm.pictures import Bitmap
from pocketvlm.workspace import read_rows

Floats = NDArray[np.float32]

FOLDS = 5
FEWEST = 10
"""Pictures of a class below which its labels are not judged."""

HOPELESS = 1 / 3
"""A larger share of contradicted labels says that the labels cannot be seen in these features."""

GRID = 8
"""Side of the smallest view, pixels."""


def apart(groups: Sequence[int], labels: Sequence[str | None]) -> list[int]:
    """Pictures that have a label and nearly equal one with another label."""
    said: dict[int, set[str]] = {}
    for first, label in zip(groups, labels, strict=True):
        if label:
            said.setdefault(first, set()).add(label)
    pairs = enumerate(zip(groups, labels, strict=True))
    return [at for at, (first, label) in pairs if label and len(said[first]) > 1]


def answered_otherwise(
    predictions: Path, places: dict[str, int], labels: Sequence[str | None]
) -> dict[int, str]:
    """What the student answered where that is not the label, by the picture's index; nothing
    without report/predictions.jsonl."""
    if not predictions.is_file():
        return {}
    found = {}
    for row in read_rows(predictions):
        at, answer = places.get(str(row.get("id"))), row.get("answer")
        if at is not None and answer and labels[at] and answer != labels[at]:
            found[at] = str(answer)
    return found


def features(pixels: Bitmap) -> Floats:
    """What a picture looks like at a glance, shape (99,): colours on a grid of 4 x 4, the texture
    of a fine and of a coarse view, and how its hues are shared out."""
    small = shrunk(pixels, GRID)
    grid = small.reshape(GRID // 2, 2, GRID // 2, 2, 3).mean(axis=(1, 3))
    parts = [grid.ravel(), texture(shrunk(pixels, 96)), texture(shrunk(pixels, 24)), hues(small)]
    return np.concatenate(parts)


def shrunk(pixels: Bitmap, side: int) -> Floats:
    """A picture as a square of so many pixels, shape (side, side, 3), 0 to 1."""
    square = Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)
    return np.asarray(square, np.float32) / np.float32(255)


def texture(view: Floats) -> Floats:
    """Statistics of one view, shape (19,): how its brightness spreads, how steep its edges are and
    which way they run."""
    red, green, blue = np.moveaxis(view, 2, 0)
    grey = (red + green + blue) / 3
    down, right = np.gradient(grey)
    steep = np.hypot(down, right)
    turn = np.arctan2(down, right) % np.pi
    ways = np.histogram(turn, 6, (0, np.pi), weights=steep)[0] / (steep.sum() + 1e-6)
    shares = np.quantile(grey, (0.05, 0.25, 0.5, 0.75, 0.95))
    edges = np.log(np.quantile(steep, (0.25, 0.5, 0.75, 0.95)) + 1e-3)
    saturation = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    spread = [grey.std(), steep.mean(), saturation.mean(), saturation.std()]
    return np.concatenate([ways, shares, edges, spread]).astype(np.float32)


def hues(small: Floats) -> Floats:
    """How colours are shared out, shape (13,): twelve hues weighed by saturation, and their sum."""
    red, green, blue = np.moveaxis(small, 2, 0)
    colourful = small.max(axis=2) - small.min(axis=2)
    hue = np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue) % (2 * np.pi)
    counts = np.histogram(hue, 12, (0, 2 * np.pi), weights=colourful)[0] / hue.size
    return np.append(counts, counts.sum()).astype(np.float32)


def unlike(
    looks: Floats, labels: Sequence[str | None], groups: Sequence[int]
) -> dict[int, tuple[str, float]]:
    """Pictures whose label does not fit how they look: what they look like instead and how sure
    that is, by index; nothing where looks say little about the labels.

    `looks` has shape (pictures, features). Classes with few pictures, and pictures without label,
    are left out; near-duplicates are never asked about after learning from each other."""
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    counts = Counter(label for label in labels if label)
    names = sorted(label for label, count in counts.items() if count >= FEWEST)
    judged = [at for at, label in enumerate(labels) if label in names]
    if len(names) < 2:
        return {}
    given = np.array([names.index(str(labels[at])) for at in judged])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    chances = cross_val_predict(
        model,
        looks[judged],
        given,
        groups=np.array([groups[at] for at in judged]),
        cv=folds,
        method="predict_proba",
    )
    issues = find_label_issues(given, chances, filter_by="low_normalized_margin", n_jobs=1)
    best = chances.argmax(axis=1)
    if issues.mean() > HOPELESS:
        return {}
    return {
        judged[at]: (names[best[at]], round(float(chances[at, best[at]]), 2))
        for at in np.flatnonzero(issues & (best != given))
    }
