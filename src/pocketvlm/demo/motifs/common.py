"""What several elements share: palettes, skies, hills and rows of trees in the distance."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import cv2
import numpy as np

from pocketvlm.demo import noise
from pocketvlm.demo.noise import Colour, Picture, Plane, Shape

T = TypeVar("T")
Motif = Callable[[np.random.Generator, Shape], Picture]
Palette = tuple[Colour, ...]
"""Colours from dark to light."""

SKIES: tuple[tuple[Colour, Colour], ...] = (  # at the top and at the horizon
    ((0.25, 0.45, 0.80), (0.75, 0.85, 0.93)),
    ((0.55, 0.60, 0.65), (0.80, 0.82, 0.83)),
    ((0.35, 0.25, 0.45), (0.95, 0.55, 0.30)),
    ((0.75, 0.45, 0.35), (0.98, 0.80, 0.50)),
    ((0.05, 0.07, 0.16), (0.16, 0.20, 0.32)),
    ((0.45, 0.20, 0.15), (0.90, 0.40, 0.15)),
    ((0.60, 0.70, 0.68), (0.90, 0.88, 0.80)),
    ((0.20, 0.22, 0.25), (0.45, 0.46, 0.48)),
)


def zoom(shape: Shape) -> float:
    """How much larger a picture is than the 256 pixels that lengths are given for."""
    return min(shape) / 256


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options."""
    return options[int(rng.integers(len(options)))]


def usual(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options, the first ones more often than the last."""
    return options[int(len(options) * rng.random() ** 2.4)]


def vary(rng: np.random.Generator, palette: Palette, amount: float = 0.15) -> Palette:
    """The palette, slightly lighter or darker and warmer or colder."""
    gain = rng.uniform(1 - amount, 1 + amount) * rng.uniform(1 - amount / 2, 1 + amount / 2, 3)
    return tuple(
        (min(r * gain[0], 1.0), min(g * gain[1], 1.0), min(b * gain[2], 1.0)) for r, g, b in palette
    )


def sky(rng: np.random.Generator, shape: Shape) -> Picture:
    """A sky down to the horizon, clear or clouded, sometimes with a sun."""
    top, low = vary(rng, pick(rng, SKIES))
    _, y = noise.coordinates(shape)
    picture = noise.ramp(y / np.float32(max(shape[0] - 1, 1)), (top, low))
    if rng.random() < 0.5:
        clouds = noise.fbm(rng, shape, shape[1] / 2, shape[1] / rng.uniform(5, 9))
        cover = noise.smoothstep(clouds, rng.uniform(0.4, 0.6), 0.85) * np.float32(0.7)
        picture = noise.mix(picture, noise.solid(shape, vary(rng, ((0.88, 0.86, 0.85),))[0]), cover)
    if rng.random() < 0.3:
        at = (shape[1] * rng.uniform(0.1, 0.9), shape[0] * rng.uniform(0.2, 0.9))
        sun = noise.glow(shape, at, zoom(shape) * rng.uniform(10, 24))
        picture = noise.mix(picture, noise.solid(shape, (1.0, 0.95, 0.8)), noise.clip(sun))
    return picture


def below(shape: Shape, line: Plane) -> Plane:
    """1 under a line given by one height in pixels a column, with a smooth edge."""
    _, y = noise.coordinates(shape)
    return noise.clip(y - line + np.float32(0.5))


def skyline(rng: np.random.Generator, shape: Shape, foot: float, rise: float) -> Plane:
    """Heights of a mountain range: at most `rise` pixels above `foot`."""
    across = shape[1] / rng.uniform(1.5, 4)
    return np.float32(foot) - np.float32(rise) * noise.curve(rng, shape[1], across, 0.45)


def hills(
    rng: np.random.Generator, picture: Picture, foot: float, rise: float, palette: Palette
) -> Picture:
    """Distant hills in front of a picture, standing on the height `foot`."""
    shape = (picture.shape[0], picture.shape[1])
    relief = noise.emboss(noise.fbm(rng, shape, 40 * zoom(shape)), rng.uniform(0, 180), 2.5)
    mask = below(shape, skyline(rng, shape, foot, rise))
    return noise.mix(picture, noise.shade(noise.solid(shape, palette[0]), relief), mask)


def conifers(
    rng: np.random.Generator, picture: Picture, foot: float, height: float, colour: Colour
) -> Picture:
    """A row of firs in front of a picture, their feet at `foot`."""
    shape = (picture.shape[0], picture.shape[1])
    canvas = np.zeros(shape, np.uint8)
    x = -height / 4
    while x < shape[1] + height / 4:
        tall = height * rng.uniform(0.5, 1.0)
        fir(canvas, x, foot + 2, tall)
        x += tall * rng.uniform(0.15, 0.45)
    mask = np.asarray(canvas, np.float32) / np.float32(255)
    return noise.mix(picture, noise.solid(shape, colour), mask)


def fir(canvas: np.ndarray, x: float, foot: float, tall: float) -> None:
    """Draw one fir, in steps that narrow towards the top, on a byte canvas."""
    points = [(x, foot - tall)]
    for step in range(1, 5):
        half = tall * 0.055 * step
        level = foot - tall * (1 - step / 4.3)
        points += [(x + half, level), (x + half * 0.5, level)]
    points += [(2 * x - a, b) for a, b in points[:0:-1]]
    at = np.round(np.asarray(points) * 16).astype(np.int32)
    cv2.fillPoly(canvas, [at], 255, cv2.LINE_AA, 4)


def upright(mask: np.ndarray) -> Plane:
    """A byte mask as a plane of 0..1."""
    return np.asarray(mask, np.float32) / np.float32(255)
