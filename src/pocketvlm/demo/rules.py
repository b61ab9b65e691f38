"""The rule teacher: names the element in a picture from pixel measurements alone.

It compares a picture's measures (see `measures.py`) with the *looks* it knows, such as flames, bark
or a lake: each look has one weight a measure in `rules.json`, the weighted sums become
probabilities by a softmax, and the probabilities of an element's looks add up. The weights were
fitted once by `fit_rules.py`. Nothing but numpy and OpenCV is needed to judge.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from pocketvlm.demo.measures import Measures, measure

LIMIT = 4.0
"""Standardised measures are cut here, so that one odd figure cannot decide alone."""


@dataclass(frozen=True)
class Judgement:
    """What the rule teacher thinks of a picture."""

    label: str
    confidence: float
    """Probability of the label, 0..1."""
    scores: dict[str, float]
    """Probability of each element; they sum to 1."""
    visual_features: list[str]
    """Up to four phrases about what was measured, the most telling first."""
    colours: str
    texture: str
    reason: str
    alternative: str
    """The second most probable element."""


@dataclass(frozen=True)
class Rules:
    """The fitted weights, as kept in `rules.json`."""

    measures: tuple[str, ...]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    looks: tuple[tuple[str, str], ...]
    """The element and the name of each look."""
    weights: NDArray[np.float64]
    """(looks, measures)"""
    bias: NDArray[np.float64]
    sharpness: float
    """Factor on the sums that makes the confidences honest."""

    def standardised(self, measured: Measures) -> NDArray[np.float64]:
        """Measures in units of their spread over all scenes."""
        values = np.array([measured[name] for name in self.measures])
        return np.asarray(np.clip((values - self.mean) / self.spread, -LIMIT, LIMIT))

    def looks_like(self, standard: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of each look."""
        sums = (self.weights @ standard + self.bias) * self.sharpness
        likely = np.exp(sums - sums.max())
        return np.asarray(likely / likely.sum())


@lru_cache(maxsize=1)
def load_rules() -> Rules:
    """Read the weights that ship with the package."""
    text = resources.files("pocketvlm.demo").joinpath("rules.json").read_text("utf-8")
    data = json.loads(text)
    return Rules(
        tuple(data["measures"]),
        np.array(data["mean"]),
        np.array(data["spread"]),
        tuple((look["element"], look["name"]) for look in data["looks"]),
        np.array([look["weights"] for look in data["looks"]]),
        np.array([look["bias"] for look in data["looks"]]),
        float(data["sharpness"]),
    )


def judge(rgb: NDArray[np.uint8]) -> Judgement:
    """Judge an RGB picture of any size (height, width, 3)."""
    rules = load_rules()
    measured = measure(rgb)
    standard = rules.standardised(measured)
    likely = rules.looks_like(standard)
    scores: dict[str, float] = {}
    for (element, _), probability in zip(rules.looks, likely, strict=True):
        scores[element] = scores.get(element, 0.0) + float(probability)
    label, alternative = sorted(scores, key=lambda element: -scores[element])[:2]
    best = max(
        (i for i, look in enumerate(rules.looks) if look[0] == label), key=lambda i: likely[i]
    )
    telling = rules.weights[best] * standard
    features = _features(rules.measures, standard, telling)
    texture, colours = _texture(measured), _colours(rgb, measured)
    reason = (
        f"{_sentence(features)} {texture.capitalize()} in {colours}: together this looks most like "
        f"{rules.looks[best][1]}, so {label}, rather than {alternative}."
    )
    return Judgement(label, scores[label], scores, features, colours, texture, reason, alternative)


PHRASES: dict[str, tuple[str, str]] = {  # a measure's beginning: what little and much of it mean
    "horizon_height": ("a break high in the picture", "a break low in the picture"),
    "horizon": ("no horizon", "a level horizon"),
    "rows_differ": ("rows of equal brightness", "brightness that changes from top to bottom"),
    "columns_differ": ("columns of equal brightness", "brightness that changes from side to side"),
    "lying_cells": ("few lying lines", "many lying lines"),
    "standing_cells": ("few upright lines", "many upright lines"),
    "lying": ("upright lines", "lying lines"),
    "slanted": ("lines without a slant", "slanting lines"),
    "slanting": ("lines that rise", "lines that fall"),
    "straight": ("few straight edges", "many straight edges"),
    "coherence": ("lines in every direction", "lines that keep together"),
    "one_way": ("no main direction", "one main direction"),
    "radial": ("edges that point to the middle", "edges that circle the middle"),
    "lit_from": ("even relief", "relief lit from one side"),
    "edges_sparse": ("edges everywhere", "few, strong edges"),
    "repeats": ("no repetition", "a pattern that repeats"),
    "grain_0": ("a smooth surface", "a grainy surface"),
    "grain_1": ("little fine structure", "much fine structure"),
    "grain_2": ("little structure of middle size", "much structure of middle size"),
    "grain_3": ("few large shapes", "large shapes"),
    "grain_4": ("few large shapes", "large shapes"),
    "sparks": ("dark seams and gaps", "lines and points of light"),
    "sparse": ("structure everywhere", "isolated details"),
    "smooth": ("no smooth parts", "smooth parts"),
    "patchy": ("the same texture throughout", "texture in patches"),
    "highlights": ("no highlights", "strong highlights"),
    "shadows": ("shallow shadows", "deep shadows"),
    "light_skew": ("dark parts on a light ground", "light parts on a dark ground"),
    "light_top": ("a dark upper part", "a light upper part"),
    "light_low": ("a dark lower part", "a light lower part"),
    "light_centre": ("a dark middle", "a light middle"),
    "contrast": ("soft contrast", "strong contrast"),
    "brightness": ("a dark picture", "a bright picture"),
    "bright_is_warm": ("cold lights", "lights warmer than the shadows"),
    "bright_is_colourful": ("pale lights", "colourful lights"),
    "highlight_chroma": ("colourless highlights", "glowing highlights"),
    "highlight_warmth": ("cold highlights", "warm highlights"),
    "white": ("no white", "white parts"),
    "saturation": ("greyish colours", "strong colours"),
    "chroma": ("greyish colours", "strong colours"),
    "warmth": ("cold colours", "warm colours"),
    "greenness": ("little green", "green parts"),
}


def _features(
    names: tuple[str, ...], standard: NDArray[np.float64], telling: NDArray[np.float64]
) -> list[str]:
    """Phrases for the measures that spoke most for the chosen look."""
    found: dict[str, str] = {}
    for i in np.argsort(-telling):
        starts = [start for start in PHRASES if names[i].startswith(start)]
        if starts and telling[i] > 0 and abs(standard[i]) > 0.5:
            start = max(starts, key=len)
            phrase = PHRASES[start][int(standard[i] > 0)]
            if phrase not in found.values():
                found.setdefault(start, phrase)
        if len(found) == 4:
            break
    return list(found.values()) or ["nothing that stands out"]


def _sentence(features: list[str]) -> str:
    text = ", ".join(features[:-1]) + (" and " if features[1:] else "") + features[-1]
    return f"The picture shows {text}."


def _texture(measured: Measures) -> str:
    grain = "fine" if measured["spectrum_2"] + measured["spectrum_3"] > -3.5 else "coarse"
    if measured["one_way_fine"] < 0.25:
        lines = "undirected"
    elif measured["lying_fine"] > 0.25:
        lines = "lying"
    elif measured["lying_fine"] < -0.25:
        lines = "upright"
    else:
        lines = "slanting"
    return f"{grain}, {lines} texture"


def _colours(rgb: NDArray[np.uint8], measured: Measures) -> str:
    """The brightness and the one or two strongest hues, in words."""
    shade = (
        "dark"
        if measured["brightness"] < 0.3
        else "light"
        if measured["brightness"] > 0.6
        else "mid"
    )
    if measured["chroma"] < 0.06:
        return f"{shade} greys"
    hues = {name[4:]: share for name, share in measured.items() if name.startswith("hue_")}
    strong = sorted((hue for hue in hues if hues[hue] > 0.2), key=lambda hue: -hues[hue])[:2]
    return f"{shade} {' and '.join(strong) or 'mixed colours'}"
