"""Where things lie in a picture: regions that tile it, objects in front of them; as soft masks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pocketvlm.demo import noise
from pocketvlm.demo.noise import Plane, Shape

LAYOUTS = {"whole": 0.25, "bands": 0.3, "sides": 0.15, "quarters": 0.1, "patches": 0.2}
"""Ways to divide a picture, with their shares."""


@dataclass(frozen=True)
class Objects:
    """Up to three objects of one sort."""

    name: str
    where: str
    masks: list[Plane]
    lit: Plane | None
    """Shading that makes them look round, about 1."""


def regions(rng: np.random.Generator, name: str, shape: Shape) -> list[Plane]:
    """Masks laid over each other from the first to the last; the first covers everything."""
    whole = np.ones(shape, np.float32)
    if name == "whole":
        return [whole]
    if name == "bands":
        return [whole, *_bands(rng, shape)]
    if name == "sides":
        across = _below(rng, (shape[1], shape[0]), rng.uniform(0.35, 0.65))
        return [whole, np.ascontiguousarray(across.T)]
    if name == "quarters":
        return [whole, *_quarters(rng, shape)]
    blobs = noise.value_noise(rng, shape, shape[1] / rng.uniform(2.2, 4))
    level = float(np.quantile(blobs[::8, ::8], rng.uniform(0.5, 0.7)))
    return [whole, noise.smoothstep(blobs, level - 0.01, level + 0.01)]


def _below(rng: np.random.Generator, shape: Shape, share: float) -> Plane:
    """1 below an uneven horizon at `share` of the height."""
    _, y = noise.coordinates(shape)
    swing = rng.choice([0.0, 0.04, 0.15]) * shape[0]
    tilt = np.linspace(-0.5, 0.5, shape[1], dtype=np.float32) * np.float32(
        rng.uniform(-0.12, 0.12) * shape[0]
    )
    line = (noise.curve(rng, shape[1], shape[1] / 4) - np.float32(0.5)) * np.float32(swing)
    return noise.clip(y - (np.float32(share * shape[0]) + line + tilt) + np.float32(0.5))


def _bands(rng: np.random.Generator, shape: Shape) -> list[Plane]:
    if rng.random() < 0.6:
        return [_below(rng, shape, rng.uniform(0.3, 0.7))]
    return [_below(rng, shape, rng.uniform(0.2, 0.4)), _below(rng, shape, rng.uniform(0.6, 0.8))]


def _quarters(rng: np.random.Generator, shape: Shape) -> list[Plane]:
    x, y = noise.coordinates(shape)
    right = noise.clip(x - np.float32(shape[1] * rng.uniform(0.4, 0.6)))
    low = noise.clip(y - np.float32(shape[0] * rng.uniform(0.4, 0.6)))
    return [right * (1 - low), (1 - right) * low, right * low]


def objects(rng: np.random.Generator, shape: Shape) -> Objects:
    """None in two pictures of five, else one to three of one sort."""
    if rng.random() < 0.4:
        return Objects("none", "none", [], None)
    name = str(rng.choice(tuple(OBJECTS)))
    count = int(rng.choice([1, 1, 1, 2, 3]))
    side = float(min(shape))
    radius = side * rng.uniform(0.13, 0.24) / (1 + 0.25 * (count - 1))
    centres = _apart(rng, shape, count, radius)
    lit = np.ones(shape, np.float32)
    masks = []
    for centre in centres:
        masks.append(OBJECTS[name](rng, shape, centre, radius))
        light = (centre[0] - 0.4 * radius, centre[1] - 0.4 * radius)
        lit = np.maximum(lit, 0.6 + 0.9 * noise.glow(shape, light, 0.8 * radius))
    round_ = lit if rng.random() < 0.4 else None
    mean = np.mean(centres, axis=0)
    return Objects(name, _place(mean[0] / shape[1], mean[1] / shape[0]), masks, round_)


def _apart(
    rng: np.random.Generator, shape: Shape, count: int, radius: float
) -> list[tuple[float, float]]:
    """Centres at least two radii apart: one anywhere, more side by side."""
    width, height = shape[1], shape[0]
    if count == 1:
        place = rng.integers(0, 5)
        x, y = [(0.5, 0.24), (0.5, 0.76), (0.24, 0.5), (0.76, 0.5), (0.5, 0.5)][place]
        return [(width * (x + rng.uniform(-0.06, 0.06)), height * (y + rng.uniform(-0.06, 0.06)))]
    level = height * rng.choice([0.26, 0.5, 0.74])
    step = max(2.3 * radius, width / (count + 1))
    first = width / 2 - step * (count - 1) / 2
    return [(first + i * step, level + rng.uniform(-0.05, 0.05) * height) for i in range(count)]


def _place(x: float, y: float) -> str:
    dx, dy = x - 0.5, y - 0.5
    if max(abs(dx), abs(dy)) < 0.13:
        return "centre"
    if abs(dx) > abs(dy):
        return "left" if dx < 0 else "right"
    return "top" if dy < 0 else "bottom"


Shaper = Callable[[np.random.Generator, Shape, tuple[float, float], float], Plane]


def polygon(shape: Shape, points: Sequence[tuple[float, float]]) -> Plane:
    """A filled polygon with smooth edges."""
    canvas = np.zeros(shape, np.uint8)
    at = np.round(np.asarray(points) * 16).astype(np.int32)
    cv2.fillPoly(canvas, [at], 255, cv2.LINE_AA, 4)
    return np.asarray(canvas, np.float32) / np.float32(255)


def _regular(
    centre: tuple[float, float], radius: float, corners: int, turn: float
) -> list[tuple[float, float]]:
    angles = turn + np.arange(corners) * 2 * np.pi / corners
    return [(centre[0] + radius * np.cos(a), centre[1] + radius * np.sin(a)) for a in angles]


def _disc(
    rng: np.random.Generator, shape: Shape, centre: tuple[float, float], radius: float
) -> Plane:
    x, y = noise.coordinates(shape)
    away = noise.distance(x - np.float32(centre[0]), y - np.float32(centre[1]))
    return noise.clip(np.float32(radius + 0.5) - away)


def _ring(
    rng: np.random.Generator, shape: Shape, centre: tuple[float, float], radius: float
) -> Plane:
    hole = _disc(rng, shape, centre, radius * rng.uniform(0.45, 0.65))
    return _disc(rng, shape, centre, radius) - hole


def _box(
    rng: np.random.Generator, shape: Shape, centre: tuple[float, float], radius: float
) -> Plane:
    turn = np.pi / 4 + rng.choice([0.0, rng.uniform(-0.3, 0.3)])
    return polygon(shape, _regular(centre, radius * 1.2, 4, turn))


def _triangle(
    rng: np.random.Generator, shape: Shape, centre: tuple[float, float], radius: float
) -> Plane:
    return polygon(shape, _regular(centre, radius * 1.25, 3, -np.pi / 2 + rng.uniform(-0.2, 0.2)))


def _pole(
    rng: np.random.Generator, shape: Shape, centre: tuple[float, float], radius: float
) -> Plane:
    wide, long, lean = (
        radius * rng.uniform(0.25, 0.4),
        radius * 1.9,
        radius * rng.uniform(-0.3, 0.3),
    )
    x, y = centre
    return polygon(
        shape,
        [
            (x - wide + lean, y - long),
            (x + wide + lean, y - long),
            (x + wide - lean, y + long),
            (x - wide - lean, y + long),
        ],
    )


def _gear(
    rng: np.random.Generator, shape: Shape, centre: tuple[float, float], radius: float
) -> Plane:
    teeth = int(rng.integers(7, 13))
    angles = np.linspace(0, 2 * np.pi, teeth * 4, endpoint=False) + rng.uniform(0, 1)
    reach = radius * np.where(np.arange(teeth * 4) % 4 < 2, 1.12, 0.85)
    points = [
        (centre[0] + r * np.cos(a), centre[1] + r * np.sin(a))
        for a, r in zip(angles, reach, strict=True)
    ]
    return noise.clip(polygon(shape, points) - _disc(rng, shape, centre, 0.3 * radius))


def _bush(
    rng: np.random.Generator, shape: Shape, centre: tuple[float, float], radius: float
) -> Plane:
    canvas = np.zeros(shape, np.uint8)
    for _ in range(14):
        away, turn = radius * rng.uniform(0.2, 0.9), rng.uniform(0, 2 * np.pi)
        at = (int(centre[0] + away * np.cos(turn)), int(centre[1] + away * np.sin(turn)))
        cv2.circle(canvas, at, int(radius * rng.uniform(0.25, 0.5)), 255, -1, cv2.LINE_AA)
    wide = max(2, int(radius * 0.16))
    foot = (int(centre[0]), int(centre[1] + 1.7 * radius))
    cv2.line(canvas, (int(centre[0]), int(centre[1])), foot, 255, wide, cv2.LINE_AA)
    return np.asarray(canvas, np.float32) / np.float32(255)


OBJECTS: dict[str, Shaper] = {
    "disc": _disc,
    "ring": _ring,
    "box": _box,
    "triangle": _triangle,
    "pole": _pole,
    "gear": _gear,
    "bush": _bush,
}
