"""More wood: foliage, single trees, the inside of a wood, slopes of firs."""

import cv2
import numpy as np

from pocketvlm.demo import noise, textures
from pocketvlm.demo.layout import polygon
from pocketvlm.demo.motifs.common import (
    Motif,
    Palette,
    below,
    conifers,
    pick,
    sky,
    skyline,
    upright,
    usual,
    vary,
    zoom,
)
from pocketvlm.demo.motifs.wood import FOLIAGE, TIMBERS, bark_plane
from pocketvlm.demo.noise import Colour, Picture, Plane, Shape

MISTS: Palette = ((0.75, 0.78, 0.76), (0.85, 0.75, 0.60), (0.55, 0.62, 0.70), (0.35, 0.40, 0.30))


def leaf_plane(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Leaves in clumps: lit above, dark between."""
    clump = noise.fbm(rng, shape, 5 * scale, gain=0.5)
    return noise.clip(textures.leaves(rng, shape, scale) * (0.25 + 1.1 * clump))


def foliage(rng: np.random.Generator, shape: Shape) -> Picture:
    """Leaves everywhere, a branch or two between."""
    z = zoom(shape)
    plane = leaf_plane(rng, shape, rng.uniform(15, 42) * z)
    picture = noise.ramp(plane, vary(rng, usual(rng, FOLIAGE)))
    canvas = np.zeros(shape, np.uint8)
    for _ in range(int(rng.integers(0, 4))):
        points = np.cumsum(rng.uniform(-1, 1, (5, 2)) * 60 * z, axis=0) + rng.uniform(0, 200, 2) * z
        thick = max(2, int(rng.uniform(2, 6) * z))
        cv2.polylines(canvas, [points.astype(np.int32)], False, 255, thick, cv2.LINE_AA)
    branch = noise.solid(shape, vary(rng, ((0.14, 0.09, 0.05),))[0])
    return noise.mix(picture, branch, upright(canvas) * np.float32(0.9))


def tree(rng: np.random.Generator, shape: Shape) -> Picture:
    """One to three broad trees with trunk and crown, on grass or soil under the sky."""
    z = zoom(shape)
    height, width = shape
    ground = height * rng.uniform(0.78, 0.92)
    picture = sky(rng, shape)
    soil = noise.ramp(
        noise.fbm(rng, shape, 10 * z, 4 * z, 0.7), vary(rng, pick(rng, (FOLIAGE[0], TIMBERS[0])))
    )
    picture = noise.mix(picture, soil, below(shape, skyline(rng, shape, ground, 8 * z)))
    crowns = noise.ramp(
        leaf_plane(rng, shape, rng.uniform(12, 20) * z), vary(rng, usual(rng, FOLIAGE))
    )
    trunk = noise.ramp(bark_plane(rng, shape, 7 * z), vary(rng, usual(rng, TIMBERS)))
    count = int(rng.integers(1, 4))
    for i in range(count):
        x = width * (i + rng.uniform(0.35, 0.65)) / count
        foot = ground + rng.uniform(2, 14) * z
        thick = rng.uniform(9, 18) * z
        level = foot - height * rng.uniform(0.35, 0.5)
        points = [
            (x - thick, foot),
            (x + thick, foot),
            (x + thick / 2, level),
            (x - thick / 2, level),
        ]
        picture = noise.mix(picture, trunk, polygon(shape, points))
        picture = noise.mix(picture, crowns, _crown(rng, shape, (x, level), width / (count + 1.2)))
    return picture


def _crown(
    rng: np.random.Generator, shape: Shape, middle: tuple[float, float], radius: float
) -> Plane:
    canvas = np.zeros(shape, np.uint8)
    for _ in range(60):
        turn, away = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.uniform(0, 1))
        at = (
            int(middle[0] + away * np.cos(turn)),
            int(middle[1] - 0.3 * radius + away * np.sin(turn)),
        )
        cv2.circle(canvas, at, max(2, int(radius * rng.uniform(0.1, 0.28))), 255, -1, cv2.LINE_AA)
    return upright(canvas)


def woods(rng: np.random.Generator, shape: Shape) -> Picture:
    """Trunk behind trunk, paler with distance, leaves on the ground."""
    z = zoom(shape)
    haze = vary(rng, (pick(rng, MISTS),))[0]
    picture = noise.solid(shape, haze)
    ground = shape[0] * rng.uniform(0.72, 0.86)
    floor = noise.ramp(leaf_plane(rng, shape, 9 * z), vary(rng, usual(rng, FOLIAGE)))
    picture = noise.mix(picture, floor, below(shape, skyline(rng, shape, ground, 10 * z)))
    bark_ = noise.ramp(bark_plane(rng, shape, 8 * z), vary(rng, usual(rng, TIMBERS)))
    for near in (0.25, 0.55, 1.0):
        picture = _trunks(rng, picture, bark_, near, haze, ground)
    if rng.random() < 0.6:
        level = float(rng.uniform(0.12, 0.3) * shape[0])
        fringe = noise.curve(rng, shape[1], 25 * z, 0.7) * np.float32(40 * z) + np.float32(level)
        leaves = noise.ramp(leaf_plane(rng, shape, 14 * z), vary(rng, usual(rng, FOLIAGE)))
        picture = noise.mix(picture, leaves, 1 - below(shape, fringe))
    return picture


def _trunks(
    rng: np.random.Generator,
    picture: Picture,
    bark_: Picture,
    near: float,
    haze: Colour,
    ground: float,
) -> Picture:
    shape = (picture.shape[0], picture.shape[1])
    z = zoom(shape)
    canvas = np.zeros(shape, np.uint8)
    x = rng.uniform(0, 40) * z
    while x < shape[1]:
        half = max(1.5, rng.uniform(7, 15) * near * z)
        lean = rng.uniform(-10, 10) * z
        foot = ground + near * 20 * z
        points = [
            (x - half * 1.2, foot),
            (x + half * 1.2, foot),
            (x + half * 0.8 + lean, -5),
            (x - half * 0.8 + lean, -5),
        ]
        at = np.round(np.asarray(points) * 16).astype(np.int32)
        cv2.fillPoly(canvas, [at], 255, cv2.LINE_AA, 4)
        x += half * 2 + rng.uniform(14, 60) * z * (0.4 + near)
    front = noise.mix(
        noise.solid(shape, haze), bark_, np.full(shape, 0.35 + 0.65 * near, np.float32)
    )
    return noise.mix(picture, front, upright(canvas))


def firs(rng: np.random.Generator, shape: Shape) -> Picture:
    """A slope of firs, row before row, mist between."""
    height = shape[0]
    picture = sky(rng, shape)
    near = vary(rng, usual(rng, FOLIAGE))
    haze = np.asarray(vary(rng, (pick(rng, MISTS),))[0])
    rows = int(rng.integers(4, 7))
    first = rng.uniform(0.3, 0.5)
    for i in range(rows):
        share = (i + 1) / rows
        foot = height * (first + (1.05 - first) * share)
        colour = np.asarray(near[0]) * 0.5 + np.asarray(near[1]) * 0.5
        mixed = haze * (1 - share) * 0.8 + colour * (0.25 + 0.75 * share)
        tint = (float(mixed[0]), float(mixed[1]), float(mixed[2]))
        picture = conifers(rng, picture, foot, height * (0.22 + 0.28 * share), tint)
        _, y = noise.coordinates(shape)
        picture = noise.mix(picture, noise.solid(shape, tint), noise.clip(y - np.float32(foot)))
    return picture


MOTIFS: dict[Motif, float] = {foliage: 3, tree: 3, woods: 2.5, firs: 2}
"""The motifs with their shares."""
