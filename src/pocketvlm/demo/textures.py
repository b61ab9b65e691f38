"""Kinds of texture, each a plane of 0..1 drawn with its lines lying (along x)."""

from collections.abc import Callable

import cv2
import numpy as np

from pocketvlm.demo import noise
from pocketvlm.demo.noise import Plane, Shape

Draw = Callable[[np.random.Generator, Shape, float], Plane]


def flat(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Even, but for the slightest shading."""
    return noise.clip(0.5 + 0.12 * (noise.value_noise(rng, shape, max(shape)) - 0.5))


def gradient(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """From dark to light across the lines."""
    _, y = noise.coordinates(shape)
    bent = y / shape[0] + 0.1 * noise.value_noise(rng, shape, max(shape) / 2)
    plane = noise.stretch(bent)
    return plane if rng.random() < 0.5 else 1 - plane


def stripes(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Straight, even lines with hard or soft edges."""
    _, y = noise.coordinates(shape)
    wave = np.sin(y * np.float32(2 * np.pi / scale) + np.float32(rng.uniform(0, 6)))
    return noise.clip(0.5 + wave * np.float32(rng.uniform(0.5, 4)))


def waves(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Lines that swing, break off and begin again."""
    _, y = noise.coordinates(shape)
    bend = noise.value_noise(rng, shape, 4 * scale, 2 * scale) * np.float32(2 * scale)
    swell = noise.value_noise(rng, shape, 2.5 * scale, scale)
    wave = np.sin((y + bend) * np.float32(2 * np.pi / scale))
    return noise.clip(0.5 + wave * swell * 0.9)


def grain(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Sand: independent grains."""
    coarse = (round(shape[0] / scale * 5) + 1, round(shape[1] / scale * 5) + 1)
    coarse = (min(coarse[0], shape[0]), min(coarse[1], shape[1]))
    return noise.resize(noise.white(rng, coarse), shape, cv2.INTER_LINEAR)


def clouds(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Fractal blobs."""
    return noise.fbm(rng, shape, 2.5 * scale, gain=rng.uniform(0.35, 0.6))


def cracks(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Plates parted by dark seams."""
    value, _, border = noise.cells(rng, shape, 1.6 * scale)
    seam = noise.smoothstep(border, 0.5, max(1.6, 0.16 * scale))
    return noise.clip(seam * (0.55 + 0.35 * value) + 0.1 * noise.white(rng, shape))


def facets(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Flat faces, each lit its own way."""
    value, centre, _ = noise.cells(rng, shape, 1.8 * scale)
    return noise.clip(0.15 + 0.7 * value + 0.15 * centre / np.float32(scale))


def brushed(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Fine, long, straight streaks."""
    fine = noise.value_noise(rng, shape, 8 * scale, max(1.0, scale / 10))
    broad = noise.value_noise(rng, shape, 16 * scale, scale)
    return 0.65 * fine + 0.35 * broad


def furrows(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Long ridges with dark gaps that part and join."""
    lines = noise.fbm(rng, shape, 4 * scale, 0.8 * scale, 0.55)
    bend = noise.value_noise(rng, shape, 4 * scale) * np.float32(scale)
    gaps = noise.ridge(noise.warp(lines, 0.0, bend))
    return noise.clip(1.15 - 1.1 * gaps * gaps * gaps)


def tongues(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Shapes that lick upwards: bright below, torn into points above."""
    _, y = noise.coordinates(shape)
    wide = noise.fbm(rng, shape, 1.5 * scale, 4 * scale, 0.45)
    sway = (noise.fbm(rng, shape, 2.5 * scale, 3 * scale, 0.4) - 0.5) * np.float32(3 * scale)
    period = np.float32(rng.uniform(5, 9) * scale)
    shift = noise.curve(rng, shape[1], 2 * scale) * period
    height = noise.fraction((y + shift + sway) / period)
    return noise.clip(noise.warp(wide, sway, 0.0) * 0.9 + (height - 0.5) * 0.9)


def rings(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Closed lines around a centre, uneven."""
    x, y = noise.coordinates(shape)
    centre = rng.uniform(-0.2, 1.2, 2)
    oval = np.float32(rng.uniform(1, 1.6))
    away = noise.distance(
        x - np.float32(shape[1] * centre[0]), (y - np.float32(shape[0] * centre[1])) * oval
    )
    away += noise.value_noise(rng, shape, 4 * scale) * np.float32(1.5 * scale)
    wave = 0.5 + 0.5 * np.sin(away * np.float32(2 * np.pi / (0.8 * scale)))
    return noise.clip(wave * wave * 0.8 + 0.2 * noise.white(rng, shape))


def leaves(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Many small overlapping ovals, turned every way."""
    size = max(3.0, 0.4 * scale)
    part = (shape[0] // 2 + 1, shape[1] // 2 + 1) if size < 6 else shape
    count = min(800, int(2.6 * part[0] * part[1] / (size * size * 1.8)))
    plane = noise.sprites(rng, part, count, size, 1.9)
    if part == shape:
        return plane
    # Fine leaves repeat mirrored: drawing thousands of them would take most of the time.
    wide = np.hstack([plane, plane[::-1, ::-1]])
    return np.ascontiguousarray(np.vstack([wide, wide[:, ::-1]])[: shape[0], : shape[1]])


def dots(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Scattered round spots, apart from each other."""
    _, centre, _ = noise.cells(rng, shape, 1.1 * scale)
    radius = max(1.5, 0.28 * scale)
    return noise.smoothstep(centre, radius + 0.8, radius - 0.8)


def grid(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Square panels with seams and a stud at each corner."""
    x, y = noise.coordinates(shape)
    period = np.float32(2 * scale)
    u = np.abs(noise.fraction(x / period) - np.float32(0.5)) * period
    v = np.abs(noise.fraction(y / period) - np.float32(0.5)) * period
    seam = np.maximum(u, v) > period / 2 - max(1.0, 0.06 * scale)
    reach = noise.distance(u - period * np.float32(0.32), v - period * np.float32(0.32))
    stud = noise.smoothstep(reach, 0.22 * scale, 0.1 * scale)
    return noise.clip(0.5 - 0.4 * seam + 0.4 * stud + 0.08 * noise.value_noise(rng, shape, scale))


def strata(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Uneven layers, folded together."""
    _, y = noise.coordinates(shape)
    fold = noise.fbm(rng, shape, 6 * scale, gain=0.35) * np.float32(3 * scale)
    place = noise.fraction((y + fold) / np.float32(0.55 * scale * 32))
    layers = noise.resize(noise.white(rng, (1, 32)), (1, 128), cv2.INTER_NEAREST)
    table = noise.resize(layers, (1, 256)).astype(np.float32)
    layered = cv2.LUT(np.asarray(place * 255, np.uint8), table)
    return noise.clip(layered * np.float32(0.85) + 0.15 * noise.white(rng, shape))


def ripples(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Short lying glints on a calm ground."""
    fine = noise.fbm(rng, shape, 2.2 * scale, 0.45 * scale, 0.5)
    return noise.clip((noise.ridge(fine) - 0.35) * 1.5)


KINDS: dict[str, Draw] = {
    "flat": flat,
    "gradient": gradient,
    "stripes": stripes,
    "waves": waves,
    "grain": grain,
    "clouds": clouds,
    "cracks": cracks,
    "facets": facets,
    "brushed": brushed,
    "furrows": furrows,
    "tongues": tongues,
    "rings": rings,
    "leaves": leaves,
    "dots": dots,
    "grid": grid,
    "strata": strata,
    "ripples": ripples,
}
ORIENTED = frozenset({"gradient", "stripes", "waves", "brushed", "furrows", "strata", "ripples"})
"""Kinds whose lines have a direction; tongues always point up, the others have none."""
EVEN = frozenset({"flat", "gradient"})
"""Kinds without a scale."""


def draw(rng: np.random.Generator, kind: str, shape: Shape, scale: float, angle: float) -> Plane:
    """A texture of repeat length `scale` pixels, its lines turned by `angle` degrees if they have a
    direction."""
    if kind not in ORIENTED:
        return KINDS[kind](rng, shape, scale)
    return noise.turned(shape, angle, lambda size: KINDS[kind](rng, size, scale))
