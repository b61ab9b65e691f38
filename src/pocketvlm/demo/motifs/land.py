"""Land: mountains, dunes, canyons, rock faces, cobbles, cracked ground, fields."""

import cv2
import numpy as np

from pocketvlm.demo import noise, textures
from pocketvlm.demo.motifs.common import (
    Motif,
    Palette,
    below,
    conifers,
    sky,
    skyline,
    usual,
    vary,
    zoom,
)
from pocketvlm.demo.noise import Picture, Plane, Shape

GROUNDS: tuple[Palette, ...] = (
    ((0.34, 0.24, 0.13), (0.72, 0.56, 0.34), (0.95, 0.84, 0.62)),
    ((0.16, 0.15, 0.14), (0.44, 0.42, 0.40), (0.76, 0.74, 0.71)),
    ((0.26, 0.08, 0.04), (0.64, 0.28, 0.15), (0.92, 0.58, 0.36)),
    ((0.05, 0.05, 0.05), (0.20, 0.19, 0.19), (0.46, 0.44, 0.43)),
    ((0.10, 0.14, 0.06), (0.34, 0.38, 0.20), (0.66, 0.66, 0.44)),
    ((0.14, 0.09, 0.05), (0.36, 0.25, 0.16), (0.62, 0.48, 0.34)),
    ((0.16, 0.20, 0.28), (0.42, 0.48, 0.56), (0.78, 0.82, 0.86)),
    ((0.46, 0.42, 0.37), (0.74, 0.70, 0.64), (0.96, 0.94, 0.90)),
)
SANDS = GROUNDS[:6]
"""What dunes are made of: pale or blue ones would be snow."""


def ground(rng: np.random.Generator) -> Palette:
    """The colours of one kind of rock or soil."""
    return vary(rng, usual(rng, GROUNDS))


def mountains(rng: np.random.Generator, shape: Shape) -> Picture:
    """Ranges behind each other, paler with distance; rocky slopes lit from one side."""
    z = zoom(shape)
    height = shape[0]
    picture = sky(rng, shape)
    haze = np.asarray(picture[min(height - 1, height // 2), 0])
    palette = np.asarray(ground(rng))
    count = int(rng.integers(2, 5))
    top, light = rng.uniform(0.3, 0.45), float(rng.choice([30.0, 150.0]))
    for i in range(count):
        near = (i + 1) / count
        line = skyline(rng, shape, height * (top + (0.95 - top) * near * 0.8), height * 0.38)
        rock = _slopes(rng, shape, line, light, z)
        share = np.float32(0.3 + 0.7 * near)
        mixed = [tuple(float(c) for c in haze * (1 - share) + p * share) for p in palette]
        colours: Palette = tuple((r, g, b) for r, g, b in mixed)
        picture = noise.mix(picture, noise.ramp(rock, colours), below(shape, line))
    if rng.random() < 0.25:
        picture = conifers(
            rng, picture, height + 4, height * rng.uniform(0.1, 0.18), (0.06, 0.1, 0.06)
        )
    return picture


def _slopes(rng: np.random.Generator, shape: Shape, line: Plane, light: float, z: float) -> Plane:
    """Gullied slopes: ridged noise that runs down from the crest, embossed."""
    wide = noise.fbm(rng, shape, 60 * z, 80 * z, 0.55)
    height = noise.ridge(wide) + np.float32(0.25) * noise.fbm(rng, shape, 12 * z, gain=0.7)
    shaded = noise.emboss(noise.blur(height, 0.7), light, 4.0) * np.float32(0.48)
    return noise.clip(shaded)


def dunes(rng: np.random.Generator, shape: Shape) -> Picture:
    """Sand in long curves, one flank in light and one in shade, wind ripples in front."""
    z = zoom(shape)
    height = shape[0]
    picture = sky(rng, shape)
    colours = vary(rng, usual(rng, SANDS))
    horizon = rng.uniform(0.12, 0.42)
    _, y = noise.coordinates(shape)
    count = int(rng.integers(3, 6))
    for i in range(count):
        near = (i + 0.3) / count
        foot = height * (horizon + (0.9 - horizon) * near)
        curve = noise.curve(rng, shape[1], shape[1] / rng.uniform(1.2, 2.5), 0.25)
        line = np.float32(foot) - np.float32(height * 0.2) * noise.blur(curve[None], 4 * z)[0]
        crest = noise.curve(rng, shape[1], shape[1] / 2.5, 0.2) - np.float32(0.5)
        depth = (y - line) / np.float32(height)
        lean = crest * 2 + (depth * np.float32(rng.uniform(2, 5))) * np.float32(rng.choice([-1, 1]))
        shade = noise.smoothstep(lean, -0.12, 0.12)
        fade = noise.clip(1 - 1.6 * depth)
        wind = textures.draw(
            rng, "waves", shape, rng.uniform(5, 9) * z * (0.6 + near), rng.uniform(-30, 30)
        )
        grains = noise.white(rng, shape) - np.float32(0.5)
        plane = 0.25 + 0.45 * shade * fade + 0.12 * near * (wind - 0.5) + 0.10 * grains
        picture = noise.mix(picture, noise.ramp(noise.clip(plane), colours), below(shape, line))
    return picture


def canyon(rng: np.random.Generator, shape: Shape) -> Picture:
    """A wall of layers, broken by clefts; sky above it at times."""
    z = zoom(shape)
    scale = rng.uniform(12, 30) * z
    layers = textures.draw(rng, "strata", shape, scale, rng.uniform(-25, 25))
    rough = noise.fbm(rng, shape, 10 * z, gain=0.7)
    clefts = noise.fbm(rng, shape, 22 * z, 90 * z, 0.55)
    gap = noise.smoothstep(noise.ridge(clefts), 0.86, 0.97)
    relief = noise.emboss(0.6 * layers + 0.7 * rough + 0.8 * clefts, 60, 1.2)
    plane = noise.clip((0.15 + 0.6 * layers + 0.2 * rough) * relief * (1 - 0.6 * gap))
    picture = noise.ramp(plane, ground(rng))
    if rng.random() < 0.4:
        line = skyline(rng, shape, shape[0] * rng.uniform(0.2, 0.4), shape[0] * 0.2)
        picture = noise.mix(sky(rng, shape), picture, below(shape, line))
    return picture


def rockface(rng: np.random.Generator, shape: Shape) -> Picture:
    """Bare rock, close: facets, ledges and cracks in hard light."""
    z = zoom(shape)
    scale = rng.uniform(26, 60) * z
    value, _, border = noise.cells(rng, shape, scale)
    bend = [
        (noise.fbm(rng, shape, 40 * z) - np.float32(0.5)) * np.float32(30 * z) for _ in range(2)
    ]
    x, y = noise.coordinates(shape)
    tilt = np.cos(value * 40) * x + np.sin(value * 40) * y
    faces = noise.warp(value + tilt * np.float32(0.25 / scale / 4), bend[0], bend[1])
    rough = noise.fbm(rng, shape, 34 * z, gain=0.65)
    height = 0.35 * noise.fraction(faces) + 1.2 * rough
    crack = noise.warp(noise.smoothstep(border, 2.2 * z, 0.4), bend[0], bend[1])
    shaded = noise.emboss(height, rng.uniform(20, 160), 2.2)
    plane = noise.clip((0.3 + 0.25 * rough + 0.12 * value) * shaded * (1 - 0.55 * crack))
    return noise.ramp(plane, ground(rng))


def cobbles(rng: np.random.Generator, shape: Shape) -> Picture:
    """Round stones: each lit on one side, dark between."""
    z = zoom(shape)
    value, _, border = noise.cells(rng, shape, rng.uniform(16, 58) * z)
    dome = np.sqrt(noise.clip(border / np.float32(rng.uniform(6, 12) * z)))
    dome = noise.blur(dome, 1.2 * z)
    grain = noise.fbm(rng, shape, 6 * z, gain=0.75)
    light = noise.emboss(dome, rng.uniform(30, 150), 1.2)
    plane = noise.clip((0.16 + 0.4 * value + 0.22 * (grain - 0.5)) * light * noise.clip(dome * 1.3))
    plane = noise.clip(plane + 0.10 * dome)
    if rng.random() < 0.3:
        plane = noise.receding(plane, rng.uniform(0.8, 2.0))
    return noise.ramp(plane, ground(rng))


def drought(rng: np.random.Generator, shape: Shape) -> Picture:
    """Dried ground, split into plates by dark cracks, often running to a horizon."""
    z = zoom(shape)
    height = shape[0]
    horizon = int(height * rng.uniform(0.15, 0.35)) if rng.random() < 0.5 else 0
    low = (height - horizon, shape[1])
    value, _, border = noise.cells(rng, low, rng.uniform(26, 54) * z)
    bend = (noise.fbm(rng, low, 18 * z) - np.float32(0.5)) * np.float32(12 * z)
    border, value = noise.warp(border, bend, -bend), noise.warp(value, bend, -bend)
    grain = noise.fbm(rng, low, 9 * z, gain=0.75)
    plate = 0.42 + 0.2 * value + 0.35 * (grain - 0.5)
    plate = plate * noise.emboss(noise.smoothstep(border, 0, 6 * z), 135, 0.7)
    plane = noise.clip(plate * noise.smoothstep(border, 0.6 * z, 3.2 * z))
    if horizon:
        plane = noise.receding(plane, rng.uniform(1.5, 4))
    picture = noise.ramp(plane, ground(rng))
    return np.vstack([sky(rng, (horizon, shape[1])), picture]) if horizon else picture


def field(rng: np.random.Generator, shape: Shape) -> Picture:
    """Ploughed soil: rows of clods that meet at the horizon, under the sky."""
    z = zoom(shape)
    horizon = int(shape[0] * rng.uniform(0.2, 0.4))
    low = (shape[0] - horizon, shape[1])
    x, y = noise.coordinates(low)
    near = (y + 3) / np.float32(low[0])
    middle = np.float32(shape[1] * rng.uniform(0.2, 0.8))
    rows = (x - middle) / near / np.float32(rng.uniform(26, 44) * z)
    clods = noise.receding(noise.fbm(rng, low, 11 * z, gain=0.75), 3.0)
    wave = 0.5 + 0.5 * np.sin(rows * 2 * np.pi + 1.5 * clods)
    fade = noise.smoothstep(near, 0.0, 0.3)
    plane = noise.clip(0.4 + fade * (0.5 * (wave - 0.5) + 0.75 * (clods - 0.5)))
    picture = np.vstack([sky(rng, (horizon, shape[1])), noise.ramp(plane, ground(rng))])
    if rng.random() < 0.4:
        line = skyline(rng, shape, horizon + 2, horizon * 0.4)
        hill = noise.solid(shape, vary(rng, ((0.3, 0.34, 0.3),), 0.3)[0])
        mask = below(shape, line)
        mask[horizon:] = 0
        picture = noise.mix(picture, hill, mask)
    return picture


def gravel(rng: np.random.Generator, shape: Shape) -> Picture:
    """Bare soil, sand or scree: grains of every size, a few stones on it."""
    z = zoom(shape)
    fine = noise.fbm(rng, shape, rng.uniform(10, 24) * z, gain=0.85)
    slopes = noise.value_noise(rng, shape, 90 * z)
    plane = noise.clip((0.25 + 0.35 * fine + 0.3 * slopes) * noise.emboss(fine, 60, 1.0))
    picture = noise.ramp(plane, ground(rng))
    stones = np.zeros(shape, np.uint8)
    for _ in range(int(rng.integers(8, 50))):
        at = (int(rng.uniform(0, shape[1])), int(rng.uniform(0, shape[0])))
        size = 2 + float(rng.pareto(2.2)) * 3 * z
        axes = (int(min(size, 26 * z)) + 1, int(min(size, 26 * z) * rng.uniform(0.5, 0.8)) + 1)
        cv2.ellipse(
            stones,
            at,
            axes,
            float(rng.uniform(-30, 30)),
            0,
            360,
            int(rng.integers(150, 256)),
            -1,
            cv2.LINE_AA,
        )
    body = np.asarray(stones, np.float32) / np.float32(255)
    mask = noise.smoothstep(body, 0.2, 0.5)
    light = noise.emboss(noise.blur(mask, 1.5 * z), 120, 0.9)
    picture = noise.shade(picture, 1 - 0.5 * noise.warp(mask, -2 * z, -3 * z) * (1 - mask))
    stone = noise.ramp(noise.clip(body * light * (0.45 + 0.3 * fine)), ground(rng))
    return noise.mix(picture, stone, mask)


MOTIFS: dict[Motif, float] = {
    mountains: 4,
    dunes: 3,
    canyon: 3,
    rockface: 2.5,
    cobbles: 2.5,
    drought: 2,
    field: 1,
    gravel: 1.5,
}
"""The motifs with their shares."""
