"""Fit the rule teacher's weights once: `python -m pocketvlm.demo.fit_rules [rules.json]`.

Draws scenes of its own seed, measures them, and fits a multinomial logistic regression over the
looks (one look a motif). The confidence is calibrated on scenes that the fit did not see. About
four minutes on one core; needs scikit-learn.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pocketvlm.demo import rules, scenes
from pocketvlm.demo.measures import measure
from pocketvlm.progress import say, track
from pocketvlm.workspace import write_text

SEED = 20_000
COUNT = 9_000
HELD_OUT = 1_500
STRENGTH = 0.03
"""The regression's C: the smaller, the smaller the weights."""
LOOKS = {
    "sea": "open water under a horizon", "lake": "a lake with reflections", "swell": "waves",
    "pool": "light bent by clear water", "waterfall": "a waterfall", "ice": "cracked ice",
    "snow": "snow", "drops": "drops of water", "campfire": "a camp fire", "blaze": "flames",
    "candles": "burning candles", "wildfire": "a burning wood", "lava": "lava",
    "embers": "embers", "bark": "bark", "planks": "wooden planks", "board": "timber with knots",
    "birch": "birch trunks", "stump": "growth rings", "pile": "a pile of logs",
    "foliage": "leaves", "tree": "trees", "woods": "trunks in a wood", "firs": "firs",
    "sheet": "a polished sheet", "plates": "riveted plates", "tread": "tread plate",
    "grille": "a perforated sheet", "gears": "gears", "pipes": "pipes",
    "girders": "steel girders", "vehicle": "a vehicle", "tools": "steel tools",
    "chain": "chains", "mountains": "mountains", "dunes": "dunes", "canyon": "layered rock",
    "rockface": "bare rock", "cobbles": "stones", "drought": "cracked ground",
    "field": "ploughed soil", "gravel": "gravel and soil",
}  # fmt: skip


def samples(count: int, seed: int) -> tuple[list[str], NDArray[np.float64], list[tuple[str, str]]]:
    """Names of the measures, the measures (count, names), and each scene's element and look."""
    rng = np.random.default_rng(seed)
    rows, truth, names = [], [], []
    for i in track(range(count), "measuring scenes", count):
        label = scenes.ELEMENTS[i % len(scenes.ELEMENTS)]
        motif = scenes.choose_motif(rng, label)
        side, aspect = scenes.any_size(rng)
        rgb = scenes.paint(rng, label, motif, side, aspect)
        if rng.random() < 0.5:
            rgb = _as_jpeg(rgb)
        measured = measure(rgb)
        names = list(measured)
        rows.append(list(measured.values()))
        truth.append((label, LOOKS[motif.__name__]))
    return names, np.array(rows), truth


def _as_jpeg(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def fit(count: int = COUNT, held_out: int = HELD_OUT, seed: int = SEED) -> rules.Rules:
    """Draw, measure, fit and calibrate."""
    from sklearn.linear_model import LogisticRegression

    names, values, truth = samples(count, seed)
    mean, spread = values[:-held_out].mean(axis=0), values[:-held_out].std(axis=0) + 1e-6
    standard = np.clip((values - mean) / spread, -rules.LIMIT, rules.LIMIT)
    looks = sorted(set(truth))
    index = np.array([looks.index(look) for look in truth])
    model = LogisticRegression(C=STRENGTH, max_iter=3000)
    model.fit(standard[:-held_out], index[:-held_out])
    fitted = rules.Rules(
        tuple(names), mean, spread, tuple(looks), np.round(model.coef_, 3),
        np.round(model.intercept_, 3), 1.0,
    )  # fmt: skip
    sharpness = _calibrate(fitted, standard[-held_out:], truth[-held_out:])
    return rules.Rules(
        fitted.measures, fitted.mean, fitted.spread, fitted.looks, fitted.weights, fitted.bias,
        sharpness,
    )  # fmt: skip


def _calibrate(
    fitted: rules.Rules, standard: NDArray[np.float64], truth: list[tuple[str, str]]
) -> float:
    """The sharpness under which the true elements of unseen scenes are most probable."""
    best, least = 1.0, np.inf
    for sharpness in np.arange(0.5, 3.05, 0.05):
        sums = (standard @ fitted.weights.T + fitted.bias) * sharpness
        likely = np.exp(sums - sums.max(axis=1, keepdims=True))
        likely /= likely.sum(axis=1, keepdims=True)
        chances = np.array(
            [
                row[[look[0] == element for look in fitted.looks]].sum()
                for row, (element, _) in zip(likely, truth, strict=True)
            ]
        )
        loss = float(-np.log(chances + 1e-9).mean())
        if loss < least:
            best, least = float(sharpness), loss
        if sharpness == 0.5 or abs(sharpness - 1) < 1e-9:
            say(f"sharpness {sharpness:.2f}: loss {loss:.4f}")
    say(f"sharpness {best:.2f}: loss {least:.4f}")
    return round(best, 2)


def save(fitted: rules.Rules, path: Path) -> None:
    """Write the weights, one look a line."""
    head = {
        "about": "weights of the rule teacher, fitted by fit_rules.py",
        "seed": SEED,
        "count": COUNT,
        "sharpness": fitted.sharpness,
        "measures": list(fitted.measures),
        "mean": [float(f"{value:.5g}") for value in fitted.mean],
        "spread": [float(f"{value:.5g}") for value in fitted.spread],
    }
    looks = [
        {"element": element, "name": name, "bias": float(bias), "weights": weights.tolist()}
        for (element, name), bias, weights in zip(
            fitted.looks, fitted.bias, fitted.weights, strict=True
        )
    ]
    lines = ",\n".join(f"  {json.dumps(look)}" for look in looks)
    body = "".join(f' "{key}": {json.dumps(value)},\n' for key, value in head.items())
    write_text(path, f'{{\n{body} "looks": [\n{lines}\n ]\n}}\n')


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("rules.json")
    save(fit(), target)
