"""Drawing primitives on float32 planes: noise, warps, cells, colours, light.

A plane is (height, width) with values about 0..1, a picture (height, width, 3) RGB in 0..1. Noise
is drawn by enlarging small random grids, which costs a fifth of a millisecond at 256 x 256.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating[Any]]
Picture = NDArray[np.floating[Any]]
"""Drawn in float32; arithmetic with NumPy's own scalars may widen what lies between."""
Shape = tuple[int, int]
"""Height and width in pixels."""
Colour = tuple[float, float, float]
"""Red, green, blue in 0..1."""


@lru_cache(maxsize=64)
def coordinates(shape: Shape) -> tuple[Plane, Plane]:
    """The x and y of every pixel, in pixels; shared, so not writable."""
    y, x = np.indices(shape, dtype=np.float32)
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


def clip(plane: Plane) -> Plane:
    """Cut to 0..1."""
    return np.asarray(np.clip(plane, 0.0, 1.0), dtype=np.float32)


def stretch(plane: Plane) -> Plane:
    """Spread to exactly 0..1."""
    low, high = float(plane.min()), float(plane.max())
    return np.asarray((plane - low) / max(high - low, 1e-6), dtype=np.float32)


def smoothstep(plane: Plane, low: float, high: float) -> Plane:
    """Rise smoothly from 0 at `low` to 1 at `high` (falls when `low` is above `high`)."""
    t = clip((plane - np.float32(low)) / np.float32(high - low))
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def resize(plane: Plane, shape: Shape, method: int = cv2.INTER_CUBIC) -> Plane:
    """Resize to (height, width)."""
    return np.asarray(cv2.resize(plane, (shape[1], shape[0]), interpolation=method), np.float32)


def white(rng: np.random.Generator, shape: Shape) -> Plane:
    """Independent uniform noise."""
    return rng.random(shape, dtype=np.float32)


def value_noise(rng: np.random.Generator, shape: Shape, across: float, down: float = 0.0) -> Plane:
    """Smooth noise with blobs `across` pixels wide and `down` pixels high (0: as wide)."""
    rows = max(2, round(shape[0] / (down or across)) + 1)
    columns = max(2, round(shape[1] / across) + 1)
    return resize(white(rng, (min(rows, shape[0]), min(columns, shape[1]))), shape)


def fbm(
    rng: np.random.Generator, shape: Shape, across: float, down: float = 0.0, gain: float = 0.5
) -> Plane:
    """Fractal noise: octaves from the given blob size down to single pixels, spread to 0..1."""
    rows = max(2, round(shape[0] / (down or across)) + 1)
    columns = max(2, round(shape[1] / across) + 1)
    plane, weight = white(rng, (rows, columns)), 1.0
    while 2 * rows <= shape[0] or 2 * columns <= shape[1]:
        rows, columns = min(2 * rows, shape[0]), min(2 * columns, shape[1])
        weight *= gain
        plane = resize(plane, (rows, columns)) + weight * white(rng, (rows, columns))
    return stretch(resize(plane, shape))


def fraction(plane: Plane) -> Plane:
    """The part after the point: a saw tooth of period 1 (np.mod takes ten times as long)."""
    return np.asarray(plane - np.floor(plane), dtype=np.float32)


def distance(x: Plane, y: Plane) -> Plane:
    """The length of (x, y)."""
    return np.asarray(cv2.magnitude(x, y), np.float32)


def ridge(plane: Plane) -> Plane:
    """Turn the middle values into bright lines: 1 at 0.5, 0 at both ends."""
    return np.asarray(1 - np.abs(2 * plane - 1), dtype=np.float32)


def curve(rng: np.random.Generator, width: int, across: float, rough: float = 0.5) -> Plane:
    """A random line: `width` heights of 0..1 that turn about every `across` pixels."""
    return np.asarray(fbm(rng, (2, width), across, 2.0, rough)[0])


def warp(plane: Plane, dx: Plane | float, dy: Plane | float) -> Plane:
    """Take every pixel from `dx`, `dy` pixels away; mirrored beyond the border."""
    x, y = coordinates((plane.shape[0], plane.shape[1]))
    x, y = np.asarray(x + dx, np.float32), np.asarray(y + dy, np.float32)
    moved = cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.float32)


def turned(shape: Shape, angle: float, draw: Callable[[Shape], Plane]) -> Plane:
    """What `draw` makes, turned by `angle` degrees (counter-clockwise) and cut to `shape`."""
    if abs(angle) < 1:
        return draw(shape)
    side = int(np.hypot(*shape)) + 2
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), angle, 1.0)
    matrix[:, 2] += np.array([(shape[1] - side) / 2, (shape[0] - side) / 2])
    turn = cv2.warpAffine(draw((side, side)), matrix, (shape[1], shape[0]), flags=cv2.INTER_LINEAR)
    return np.asarray(turn, np.float32)


def receding(plane: Plane, strength: float) -> Plane:
    """Tilt a plane away from the viewer: the top lies (1 + strength) times as far as the bottom."""
    height, width = plane.shape
    x, y = coordinates((height, width))
    far = np.float32(1 / (1 + strength))
    depth = 1 / (far + (1 - far) * (y / np.float32(height)))
    across = (x - np.float32(width / 2)) * depth + np.float32(width / 2)
    down = np.float32(height) * depth
    moved = cv2.remap(
        plane,
        np.asarray(across, np.float32),
        np.asarray(down, np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(moved, np.float32)


def cells(rng: np.random.Generator, shape: Shape, across: float) -> tuple[Plane, Plane, Plane]:
    """Voronoi cells about `across` pixels wide: a random value a cell, distance to its centre and
    to its border (both in pixels)."""
    rows, columns = max(2, round(shape[0] / across)), max(2, round(shape[1] / across))
    at = np.indices((rows, columns), dtype=np.float32).reshape(2, -1) + rng.random(
        (2, rows * columns), dtype=np.float32
    )
    y = np.minimum(at[0] * (shape[0] / rows), shape[0] - 1).astype(np.int32)
    x = np.minimum(at[1] * (shape[1] / columns), shape[1] - 1).astype(np.int32)
    seeds = np.full(shape, 255, np.uint8)
    seeds[y, x] = 0
    centre, labels = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    inside = np.full(shape, 255, np.uint8)
    inside[:, 1:][labels[:, 1:] != labels[:, :-1]] = 0
    inside[1:][labels[1:] != labels[:-1]] = 0
    border = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_3)
    value = white(rng, (1, rows * columns + 2))[0][labels]
    return value, np.asarray(centre, np.float32), np.asarray(border, np.float32)


def sprites(
    rng: np.random.Generator,
    shape: Shape,
    count: int,
    size: float,
    length: float = 1.0,
    angle: float | None = None,
) -> Plane:
    """Many overlapping ellipses of random grey, `size` pixels wide, `length` times as long, turned
    at random or by `angle` degrees give or take 20; 0 where none lies."""
    canvas = np.zeros(shape, np.uint8)
    x = rng.integers(0, shape[1], count)
    y = rng.integers(0, shape[0], count)
    grey = rng.integers(70, 256, count)
    wide = np.maximum(1, size * rng.uniform(0.35, 0.65, count)).astype(int)
    long = np.maximum(1, wide * length).astype(int)
    turn = rng.uniform(0, 180, count) if angle is None else angle + rng.uniform(-20, 20, count)
    for i in range(count):
        centre, axes = (int(x[i]), int(y[i])), (int(long[i]), int(wide[i]))
        cv2.ellipse(canvas, centre, axes, float(turn[i]), 0, 360, int(grey[i]), -1)
    return np.asarray(canvas, np.float32) / np.float32(255)


def ramp(plane: Plane, colours: Sequence[Colour]) -> Picture:
    """Colour a plane: 0 takes the first colour, 1 the last, linear between."""
    stops = np.asarray(colours, np.float32)
    if len(stops) == 2:
        return np.asarray(
            cv2.merge([stops[0, c] + (stops[1, c] - stops[0, c]) * plane for c in range(3)]),
            np.float32,
        )
    position, place = np.linspace(0, 1, 256), np.linspace(0, 1, len(stops))
    table = np.stack([np.interp(position, place, stops[:, c]) for c in range(3)], axis=-1)
    index = np.asarray(clip(plane) * 255, np.uint8)
    return np.asarray(cv2.LUT(cv2.merge([index] * 3), table[None].astype(np.float32)), np.float32)


def mix(below: Picture, above: Picture, mask: Plane) -> Picture:
    """Lay `above` on `below` where `mask` is 1."""
    weight = np.asarray(mask, np.float32)
    return np.asarray(cv2.blendLinear(below, above, 1 - weight, weight), np.float32)


def shade(picture: Picture, plane: Plane) -> Picture:
    """Multiply every channel by a plane."""
    return np.asarray(
        cv2.multiply(picture, cv2.merge([np.asarray(plane, np.float32)] * 3)), np.float32
    )


def solid(shape: Shape, colour: Colour) -> Picture:
    """One colour everywhere."""
    return np.asarray(cv2.merge([np.full(shape, c, np.float32) for c in colour]), np.float32)


def glow(shape: Shape, centre: tuple[float, float], radius: float) -> Plane:
    """A soft round light: 1 at `centre` (x, y in pixels), falling off over `radius` pixels."""
    x, y = coordinates(shape)
    squared = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / np.float32(radius * radius)
    return np.asarray(1 / (1 + squared * squared), np.float32)


def blur(plane: Picture, sigma: float) -> Picture:
    """Gaussian blur, `sigma` in pixels."""
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)


def emboss(plane: Plane, angle: float, strength: float) -> Plane:
    """Light a height map from `angle` degrees: a factor about 1."""
    dx = cv2.Sobel(plane, cv2.CV_32F, 1, 0)
    dy = cv2.Sobel(plane, cv2.CV_32F, 0, 1)
    radians = np.deg2rad(angle)
    slope = np.float32(np.cos(radians)) * dx - np.float32(np.sin(radians)) * dy
    return np.asarray(np.clip(1 - strength * slope, 0.2, 2.0), np.float32)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """A colour from hue (0..1, wraps), saturation and value."""
    sector = (hue % 1) * 6
    mixes = [abs((sector + offset) % 6 - 3) - 1 for offset in (0, 4, 2)]
    red, green, blue = (value * (1 - saturation * (1 - min(max(m, 0), 1))) for m in mixes)
    return min(red, 1.0), min(green, 1.0), min(blue, 1.0)


def to_bytes(picture: Picture) -> NDArray[np.uint8]:
    """RGB of 0..1 to bytes."""
    return np.asarray(cv2.convertScaleAbs(np.maximum(picture, 0), alpha=255), np.uint8)


def halo(plane: Picture, sigma: float) -> Picture:
    """A wide Gaussian blur, made on a picture an eighth as large."""
    height, width = plane.shape[:2]
    small = cv2.resize(
        plane, (max(2, width // 8), max(2, height // 8)), interpolation=cv2.INTER_AREA
    )
    wide = cv2.GaussianBlur(small, (0, 0), max(sigma / 8, 0.3))
    return np.asarray(cv2.resize(wide, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
