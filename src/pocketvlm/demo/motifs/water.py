"""Water: open sea, mirroring lakes, waves and pools, falls, ice, snow, drops."""

import cv2
import numpy as np

from pocketvlm.demo import noise, textures
from pocketvlm.demo.motifs.common import (
    Motif,
    Palette,
    conifers,
    hills,
    pick,
    sky,
    usual,
    vary,
    zoom,
)
from pocketvlm.demo.noise import Picture, Plane, Shape

PALETTES: tuple[Palette, ...] = (
    ((0.02, 0.12, 0.30), (0.10, 0.32, 0.55), (0.70, 0.85, 0.95)),
    ((0.02, 0.20, 0.22), (0.12, 0.48, 0.50), (0.75, 0.95, 0.90)),
    ((0.06, 0.16, 0.08), (0.25, 0.38, 0.22), (0.75, 0.82, 0.65)),
    ((0.14, 0.15, 0.16), (0.38, 0.40, 0.42), (0.85, 0.86, 0.87)),
    ((0.22, 0.06, 0.08), (0.65, 0.28, 0.18), (1.00, 0.80, 0.50)),
    ((0.20, 0.14, 0.08), (0.48, 0.38, 0.25), (0.85, 0.78, 0.62)),
    ((0.01, 0.02, 0.05), (0.06, 0.09, 0.16), (0.75, 0.78, 0.80)),
    ((0.12, 0.08, 0.22), (0.42, 0.30, 0.48), (0.95, 0.75, 0.75)),
)
PALE: tuple[Palette, ...] = (
    ((0.45, 0.62, 0.75), (0.78, 0.88, 0.94), (0.98, 0.99, 1.00)),
    ((0.50, 0.52, 0.55), (0.76, 0.78, 0.80), (0.97, 0.97, 0.97)),
    ((0.45, 0.40, 0.58), (0.75, 0.68, 0.80), (1.00, 0.90, 0.92)),
    ((0.12, 0.20, 0.30), (0.30, 0.42, 0.54), (0.75, 0.85, 0.92)),
    ((0.60, 0.45, 0.35), (0.88, 0.74, 0.62), (1.00, 0.95, 0.88)),
)


def surface(rng: np.random.Generator, shape: Shape, palette: Palette, top: float) -> Picture:
    """Open water seen from above its edge; waves `top` times denser at the far end."""
    z = zoom(shape)
    scale = rng.uniform(9, 24) * z * max(0.5, shape[0] / shape[1])
    fine = textures.ripples(rng, shape, scale)
    swell = textures.waves(rng, shape, scale * rng.uniform(1.2, 2))
    plane = noise.receding(0.55 * fine + 0.45 * swell, top)
    _, y = noise.coordinates(shape)
    near = y / np.float32(shape[0])
    plane = noise.clip(plane * (0.45 + 0.45 * near) + 0.35 * (1 - near))
    picture = noise.ramp(plane, palette)
    if rng.random() < 0.6:
        picture = _glitter(rng, picture, fine, top)
    return picture


def _glitter(rng: np.random.Generator, picture: Picture, fine: Plane, top: float) -> Picture:
    """The low sun's broken column of light."""
    shape = (picture.shape[0], picture.shape[1])
    x, y = noise.coordinates(shape)
    half = (0.06 + 0.12 * y / shape[0]) * np.float32(shape[1])
    away = (x - np.float32(shape[1] * rng.uniform(0.2, 0.8))) / half
    sparks = noise.smoothstep(noise.receding(fine, top), 0.45, 0.75)
    light = sparks * np.exp(-away * away)
    return noise.mix(picture, noise.solid(shape, (1.0, 0.96, 0.85)), noise.clip(light))


def sea(rng: np.random.Generator, shape: Shape) -> Picture:
    """A level horizon, sky above it, waves below."""
    horizon = int(shape[0] * rng.uniform(0.12, 0.42))
    palette = vary(rng, usual(rng, PALETTES))
    above = sky(rng, (horizon, shape[1]))
    z = zoom(shape)
    if rng.random() < 0.35:
        hue = vary(rng, ((0.30, 0.32, 0.36), (0.30, 0.26, 0.2)))
        above = hills(rng, above, horizon, horizon * rng.uniform(0.2, 0.6), hue[: 1 + horizon % 2])
    water = surface(rng, (shape[0] - horizon, shape[1]), palette, rng.uniform(3, 9))
    if rng.random() < 0.25:
        shore = shape[0] * rng.uniform(0.75, 0.9) - horizon
        water = _beach(rng, water, shore, z)
    return np.vstack([above, water])


def _beach(rng: np.random.Generator, water: Picture, shore: float, z: float) -> Picture:
    """Sand at the viewer's feet, behind a rim of foam."""
    shape = (water.shape[0], water.shape[1])
    line = np.float32(shore) + np.float32(18 * z) * noise.curve(rng, shape[1], 70 * z)
    _, y = noise.coordinates(shape)
    sand = noise.ramp(noise.white(rng, shape), vary(rng, ((0.62, 0.52, 0.38), (0.78, 0.68, 0.52))))
    foam = noise.smoothstep(np.abs(y - line), 9 * z, 2 * z) * noise.fbm(rng, shape, 9 * z)
    water = noise.mix(water, sand, noise.clip(y - line))
    return noise.mix(water, noise.solid(shape, (0.95, 0.96, 0.97)), noise.clip(foam * 1.6))


def lake(rng: np.random.Generator, shape: Shape) -> Picture:
    """Hills or firs, standing on their heads in still water."""
    horizon = int(shape[0] * rng.uniform(0.22, 0.4))
    z = zoom(shape)
    above = sky(rng, (horizon, shape[1]))
    tint = vary(rng, pick(rng, (((0.16, 0.22, 0.14),), ((0.25, 0.22, 0.2),), ((0.3, 0.34, 0.4),))))
    above = hills(rng, above, horizon * 1.05, horizon * rng.uniform(0.4, 0.8), tint)
    if rng.random() < 0.5:
        above = conifers(rng, above, horizon, horizon * rng.uniform(0.25, 0.5), vary(rng, tint)[0])
    deep = (shape[0] - horizon, shape[1])
    mirror = cv2.resize(above[::-1], (deep[1], deep[0]), interpolation=cv2.INTER_LINEAR)
    x, y = noise.coordinates(deep)
    waves = noise.receding(noise.fbm(rng, deep, 40 * z, 5 * z), 3.0) - np.float32(0.5)
    reach = np.float32(rng.uniform(10, 26) * z) * (0.3 + y / deep[0])
    mirror = cv2.remap(
        mirror,
        x + waves * reach,
        y + waves * reach,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    own = surface(rng, deep, vary(rng, usual(rng, PALETTES)), 4.0)
    share = noise.clip(np.float32(rng.uniform(0.3, 0.5)) + 0.35 * y / deep[0])
    return np.vstack([above, noise.mix(np.asarray(mirror, np.float32), own, share)])


def swell(rng: np.random.Generator, shape: Shape) -> Picture:
    """Nothing but waves, with foam on their crests."""
    z = zoom(shape)
    scale = rng.uniform(14, 40) * z
    tilt = rng.uniform(-18, 18)
    plane = textures.draw(rng, "waves", shape, scale, tilt)
    ripple = textures.draw(rng, "ripples", shape, scale * 0.45, tilt)
    plane = noise.clip(0.6 * noise.blur(plane, 0.1 * scale) + 0.45 * ripple)
    plane = noise.receding(plane, rng.uniform(0.5, 3))
    picture = noise.ramp(plane, vary(rng, usual(rng, PALETTES)))
    if rng.random() < 0.5:
        spray = noise.fbm(rng, shape, 14 * z, 7 * z)
        foam = noise.smoothstep(plane, 0.62, 0.85) * noise.smoothstep(spray, 0.4, 0.65)
        picture = noise.mix(picture, noise.solid(shape, (0.94, 0.96, 0.97)), foam)
    return picture


def pool(rng: np.random.Generator, shape: Shape) -> Picture:
    """Clear shallow water: a bright net of bent light on the ground."""
    z = zoom(shape)
    scale = rng.uniform(22, 44) * z
    bend = [(noise.value_noise(rng, shape, scale) - np.float32(0.5)) * scale for _ in range(2)]
    net = np.zeros(shape, np.float32)
    for _ in range(2):
        _, _, border = noise.cells(rng, shape, scale * rng.uniform(0.8, 1.3))
        line = noise.warp(np.exp(-border / np.float32(2.2 * z)), bend[0], bend[1])
        net = np.maximum(net, noise.blur(line, 0.8 * z))
    deep = noise.value_noise(rng, shape, 90 * z)
    plane = noise.clip(0.3 + 0.3 * deep + 0.5 * net * (0.5 + 0.5 * deep))
    return noise.ramp(plane, vary(rng, usual(rng, PALETTES[:4])))


def waterfall(rng: np.random.Generator, shape: Shape) -> Picture:
    """White water falling between dark rocks into mist."""
    z = zoom(shape)
    rock = noise.fbm(rng, shape, 30 * z)
    palette = vary(
        rng,
        pick(
            rng, (((0.10, 0.10, 0.10), (0.35, 0.33, 0.30)), ((0.08, 0.12, 0.06), (0.28, 0.36, 0.2)))
        ),
    )
    picture = noise.shade(noise.ramp(rock, palette), noise.emboss(rock, 120, 3))
    x, y = noise.coordinates(shape)
    threads = noise.fbm(rng, shape, 5 * z, 90 * z, 0.6)
    sway = (noise.value_noise(rng, shape, 60 * z) - np.float32(0.5)) * np.float32(22 * z)
    threads = noise.warp(threads, sway, 0.0)
    half = np.float32(shape[1] * rng.uniform(0.24, 0.4)) * (0.75 + 0.35 * y / shape[0])
    away = np.abs(x + sway - np.float32(shape[1] * rng.uniform(0.4, 0.6))) / half
    fall = noise.clip(noise.smoothstep(away + (threads - 0.5) * 0.5, 1.05, 0.75))
    white = noise.ramp(threads, vary(rng, ((0.45, 0.52, 0.58), (0.82, 0.87, 0.9), (1.0, 1.0, 1.0))))
    picture = noise.mix(picture, white, fall)
    spray = noise.fbm(rng, shape, 50 * z) * 0.6 + 0.5
    mist = noise.smoothstep(y / shape[0], 0.66, 0.95) * spray
    return noise.mix(picture, noise.solid(shape, (0.86, 0.9, 0.92)), noise.clip(mist))


def ice(rng: np.random.Generator, shape: Shape) -> Picture:
    """A frozen surface: pale, cloudy, with straight bright fractures that branch."""
    z = zoom(shape)
    cloud = noise.fbm(rng, shape, 70 * z, gain=0.4)
    canvas = np.zeros(shape, np.uint8)
    for _ in range(int(rng.integers(8, 18))):
        _fracture(rng, canvas, z)
    lines = np.asarray(canvas, np.float32) / np.float32(255)
    bloom = noise.halo(lines, 8 * z)
    palette = vary(rng, usual(rng, (*PALE, PALETTES[0], PALETTES[1])))
    plane = noise.clip(0.55 * cloud + 0.1 * noise.white(rng, shape) + 0.9 * bloom)
    picture = noise.ramp(plane, palette)
    picture = noise.mix(picture, noise.solid(shape, (0.98, 0.99, 1.0)), lines * np.float32(0.85))
    bubbles = textures.dots(rng, shape, 14 * z) * noise.smoothstep(cloud, 0.55, 0.75)
    return noise.mix(picture, noise.solid(shape, (0.95, 0.97, 1.0)), bubbles * np.float32(0.4))


def _fracture(rng: np.random.Generator, canvas: np.ndarray, z: float) -> None:
    at = rng.uniform(0, 1, 2) * canvas.shape[::-1]
    turn = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(3, 8))):
        turn += rng.uniform(-0.5, 0.5)
        to = at + rng.uniform(25, 70) * z * np.array([np.cos(turn), np.sin(turn)])
        points = np.round(np.stack([at, to]) * 16).astype(np.int32)
        wide = int(rng.choice([1, 1, 2, 3]))
        cv2.polylines(canvas, [points], False, int(rng.integers(120, 256)), wide, cv2.LINE_AA, 4)
        at = to


def snow(rng: np.random.Generator, shape: Shape) -> Picture:
    """Soft white drifts under a sky, firs behind, flakes in the air."""
    z = zoom(shape)
    horizon = int(shape[0] * rng.uniform(0.2, 0.4))
    picture = np.vstack(
        [
            sky(rng, (horizon, shape[1])),
            noise.solid((shape[0] - horizon, shape[1]), (0.9, 0.9, 0.9)),
        ]
    )
    tree = vary(rng, ((0.16, 0.2, 0.2),), 0.3)[0]
    picture = conifers(rng, picture, horizon + 6 * z, horizon * rng.uniform(0.3, 0.8), tree)
    palette = vary(rng, usual(rng, PALE[:3]))
    for level in np.linspace(horizon / shape[0], 0.85, int(rng.integers(3, 5))):
        drift = noise.value_noise(rng, shape, 130 * z, 50 * z)
        line = np.float32(level * shape[0]) + np.float32(26 * z) * noise.curve(
            rng, shape[1], 120 * z, 0.2
        )
        _, y = noise.coordinates(shape)
        depth = noise.clip((y - line) / np.float32(70 * z))
        plane = noise.clip(1.0 - 0.55 * depth + 0.3 * (drift - 0.5))
        picture = noise.mix(picture, noise.ramp(plane, palette), noise.clip(y - line))
    flakes = textures.dots(rng, shape, rng.uniform(6, 10) * z)
    flakes = flakes * noise.smoothstep(noise.value_noise(rng, shape, 9 * z), 0.55, 0.75)
    return noise.mix(picture, noise.solid(shape, (1.0, 1.0, 1.0)), flakes)


def drops(rng: np.random.Generator, shape: Shape) -> Picture:
    """Drops on a pane: dark above, bright below, a spark of light in each."""
    z = zoom(shape)
    palette = vary(rng, usual(rng, (*PALETTES, *PALE)))
    back = 0.25 + 0.45 * noise.value_noise(rng, shape, 70 * z)
    canvas = np.asarray(back * 255, np.uint8)
    for _ in range(int(rng.integers(60, 130))):
        x, y = rng.integers(0, shape[1]), rng.integers(0, shape[0])
        radius = z * 3.5 * float(rng.pareto(2.5) + 1) + 1
        _drop(canvas, int(x), int(y), min(radius, 22 * z))
    plane = noise.blur(np.asarray(canvas, np.float32) / np.float32(255), 0.6)
    return noise.ramp(plane, palette)


def _drop(canvas: np.ndarray, x: int, y: int, r: float) -> None:
    ground = int(canvas[min(y, canvas.shape[0] - 1), min(x, canvas.shape[1] - 1)])
    size = max(1, int(r))
    cv2.circle(canvas, (x, y), size, max(0, ground - 60), -1, cv2.LINE_AA)
    cv2.circle(canvas, (x, y + size // 4), int(size * 0.75), ground, -1, cv2.LINE_AA)
    low = (x, y + size // 2)
    cv2.ellipse(canvas, low, (size // 2, max(1, size // 3)), 0, 0, 360, min(255, ground + 60), -1)
    cv2.circle(canvas, (x - size // 3, y - size // 3), max(1, size // 5), 255, -1, cv2.LINE_AA)


MOTIFS: dict[Motif, float] = {
    sea: 5,
    lake: 4,
    swell: 4,
    pool: 2,
    waterfall: 1,
    ice: 2,
    snow: 2,
    drops: 0.6,
}
"""The motifs with their shares."""
