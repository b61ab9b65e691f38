"""Metal: brushed sheets, riveted plates, gears, pipes, vehicles, grilles, tools, girders."""

import cv2
import numpy as np

from pocketvlm.demo import noise, textures
from pocketvlm.demo.motifs.common import (
    Motif,
    Palette,
    pick,
    sky,
    upright,
    usual,
    vary,
    zoom,
)
from pocketvlm.demo.noise import Colour, Picture, Plane, Shape

ALLOYS: tuple[Palette, ...] = (
    ((0.10, 0.11, 0.12), (0.50, 0.52, 0.54), (0.98, 0.99, 1.00)),
    ((0.06, 0.09, 0.14), (0.36, 0.44, 0.54), (0.92, 0.97, 1.00)),
    ((0.16, 0.06, 0.03), (0.62, 0.34, 0.20), (1.00, 0.86, 0.70)),
    ((0.16, 0.11, 0.03), (0.66, 0.52, 0.22), (1.00, 0.96, 0.72)),
    ((0.03, 0.03, 0.04), (0.18, 0.19, 0.21), (0.75, 0.78, 0.80)),
    ((0.14, 0.10, 0.08), (0.44, 0.34, 0.28), (0.90, 0.82, 0.76)),
)
PAINTS: tuple[Colour, ...] = (
    (0.70, 0.10, 0.08),
    (0.10, 0.25, 0.60),
    (0.10, 0.42, 0.20),
    (0.90, 0.60, 0.08),
    (0.85, 0.85, 0.83),
    (0.10, 0.10, 0.11),
    (0.55, 0.30, 0.12),
    (0.15, 0.50, 0.52),
    (0.92, 0.42, 0.08),
    (0.45, 0.46, 0.48),
)


def lacquer(rng: np.random.Generator) -> Palette:
    """A paint in shade, in light and where it mirrors the lamp."""
    r, g, b = vary(rng, (pick(rng, PAINTS),))[0]
    return (r * 0.25, g * 0.25, b * 0.25), (r, g, b), (0.6 + r * 0.4, 0.6 + g * 0.4, 0.6 + b * 0.4)


def finish(rng: np.random.Generator) -> tuple[Palette, float]:
    """Bare metal in two cases of three, else paint; with the strength of its streaks."""
    if rng.random() < 0.65:
        return vary(rng, usual(rng, ALLOYS)), rng.uniform(0.22, 0.45)
    return lacquer(rng), rng.uniform(0.0, 0.12)


def sheen(rng: np.random.Generator, shape: Shape, angle: float) -> Plane:
    """Broad bands of mirrored light, as on a polished sheet."""
    x, y = noise.coordinates(shape)
    radians = np.deg2rad(angle)
    across = x * np.float32(np.cos(radians)) + y * np.float32(np.sin(radians))
    reach = np.float32(max(shape) / rng.uniform(0.8, 2.2))
    wave = 0.5 + 0.5 * np.sin(across * (2 * np.pi / reach) + np.float32(rng.uniform(0, 6)))
    second = 0.5 + 0.5 * np.sin(across * (5 * np.pi / reach) + np.float32(rng.uniform(0, 6)))
    return np.asarray(0.2 + 0.45 * wave * wave + 0.2 * second * second, np.float32)


def brushed_plane(
    rng: np.random.Generator, shape: Shape, angle: float, streak: float = 0.3
) -> Plane:
    """Hair-fine straight streaks under broad bands of light."""
    z = zoom(shape)
    streaks = textures.draw(rng, "brushed", shape, rng.uniform(7, 13) * z, angle)
    light = sheen(rng, shape, angle + float(rng.choice([0.0, 35.0, 90.0])))
    return noise.clip(light + (streaks - np.float32(0.5)) * np.float32(streak))


def stud(canvas: Plane, at: tuple[float, float], r: float) -> None:
    """A domed rivet: a lit upper left, a shadow at its lower right."""
    x, y, size = int(at[0]), int(at[1]), max(2, int(r))
    low = (x + max(1, size // 3), y + max(1, size // 3))
    cv2.circle(canvas, low, size + 1, 0.12, -1, cv2.LINE_AA)
    cv2.circle(canvas, (x, y), size, 0.55, -1, cv2.LINE_AA)
    lit = (x - size // 3, y - size // 3)
    cv2.circle(canvas, lit, max(1, size // 2), 0.95, -1, cv2.LINE_AA)


def sheet(rng: np.random.Generator, shape: Shape) -> Picture:
    """A brushed or polished sheet, bare, scratched or with a seam."""
    z = zoom(shape)
    angle = float(rng.choice([0.0, 90.0, rng.uniform(-60, 60)]))
    colours, streak = finish(rng)
    plane = brushed_plane(rng, shape, angle, streak)
    for _ in range(int(rng.integers(0, 6))):
        ends = rng.uniform(0, 1, (2, 2)) * shape[::-1]
        cv2.line(
            plane,
            ends[0].astype(int).tolist(),
            ends[1].astype(int).tolist(),
            float(rng.choice([0.15, 0.95])),
            1,
            cv2.LINE_AA,
        )
    if rng.random() < 0.6:
        edge = rng.uniform(0.06, 0.12) * min(shape)
        for x in (edge, shape[1] - edge):
            for y in (edge, shape[0] - edge):
                stud(plane, (x, y), rng.uniform(5, 9) * z)
    return noise.ramp(plane, colours)


def plates(rng: np.random.Generator, shape: Shape) -> Picture:
    """Plates with seams and rows of rivets; rust creeps over some."""
    z = zoom(shape)
    colours, streak = finish(rng)
    plane = brushed_plane(rng, shape, float(rng.choice([0.0, 90.0])), streak)
    tall, wide = rng.uniform(60, 130, 2) * z
    gap = rng.uniform(13, 22) * z
    for y in np.arange(rng.uniform(0, tall), shape[0] + tall, tall):
        cv2.line(plane, (0, int(y)), (shape[1], int(y)), 0.08, max(2, int(2.5 * z)))
        for x in np.arange(gap / 2, shape[1], gap):
            stud(plane, (x, y - 7 * z), 2.8 * z)
    for x in np.arange(rng.uniform(0, wide), shape[1] + wide, wide):
        cv2.line(plane, (int(x), 0), (int(x), shape[0]), 0.08, max(2, int(2.5 * z)))
        for y in np.arange(gap / 2, shape[0], gap):
            stud(plane, (x + 7 * z, y), 2.8 * z)
    picture = noise.ramp(plane, colours)
    return _rust(rng, picture, plane) if rng.random() < 0.4 else picture


def _rust(rng: np.random.Generator, picture: Picture, plane: Plane) -> Picture:
    shape = (picture.shape[0], picture.shape[1])
    z = zoom(shape)
    spread = noise.fbm(rng, shape, 60 * z, 90 * z, 0.6)
    rough = noise.clip(noise.fbm(rng, shape, 8 * z, gain=0.7) * 0.7 + 0.4 * plane)
    colours = vary(rng, ((0.16, 0.06, 0.02), (0.46, 0.20, 0.08), (0.74, 0.42, 0.22)))
    cover = noise.smoothstep(spread, 0.5, 0.68) * np.float32(0.85)
    return noise.mix(picture, noise.ramp(rough, colours), cover)


def tread(rng: np.random.Generator, shape: Shape) -> Picture:
    """Tread plate: raised lozenges in a regular pattern, lit from one side."""
    z = zoom(shape)
    step = rng.uniform(22, 40) * z
    height = np.zeros(shape, np.uint8)
    for row, y in enumerate(np.arange(0, shape[0] + step, step / 2)):
        for x in np.arange((row % 2) * step / 2, shape[1] + step, step):
            turn = 45 if row % 2 else -45
            axes = (int(step * 0.34), max(1, int(step * 0.1)))
            cv2.ellipse(height, (int(x), int(y)), axes, turn, 0, 360, 255, -1, cv2.LINE_AA)
    raised = noise.blur(upright(height), 1.2 * z)
    light = noise.emboss(raised, 135, 1.1)
    colours, streak = finish(rng)
    base = 0.6 * brushed_plane(rng, shape, 0.0, streak) + 0.1 * raised + 0.1
    return noise.ramp(noise.clip(base * light), colours)


def grille(rng: np.random.Generator, shape: Shape) -> Picture:
    """A perforated or slotted sheet: the same dark hole again and again."""
    z = zoom(shape)
    colours, streak = finish(rng)
    plane = brushed_plane(rng, shape, float(rng.choice([0.0, 90.0])), streak)
    step = rng.uniform(16, 34) * z
    slot = rng.random() < 0.35
    for row, y in enumerate(np.arange(step / 2, shape[0] + step, step * (0.6 if slot else 0.87))):
        for x in np.arange((row % 2) * step / 2, shape[1] + step, step * (2.0 if slot else 1.0)):
            axes = (int(step * 0.75), int(step * 0.16)) if slot else (int(step * 0.33),) * 2
            at = (int(x), int(y))
            cv2.ellipse(plane, (at[0] + 1, at[1] + 1), axes, 0, 0, 360, 0.9, -1, cv2.LINE_AA)
            cv2.ellipse(plane, at, axes, 0, 0, 360, 0.03, -1, cv2.LINE_AA)
    return noise.ramp(plane, colours)


def gears(rng: np.random.Generator, shape: Shape) -> Picture:
    """Toothed wheels with hubs and holes, turned faces mirroring in sectors."""
    z = zoom(shape)
    back = noise.clip(0.6 * brushed_plane(rng, shape, 0.0))
    dark = vary(rng, ((0.02, 0.02, 0.03), pick(rng, PAINTS)), 0.3)
    picture = noise.ramp(back, (dark[0], (dark[1][0] * 0.5, dark[1][1] * 0.5, dark[1][2] * 0.5)))
    for _ in range(int(rng.integers(3, 6))):
        radius = rng.uniform(48, 100) * z
        at = (rng.uniform(0.1, 0.9) * shape[1], rng.uniform(0.1, 0.9) * shape[0])
        picture = _gear(rng, picture, at, radius, vary(rng, usual(rng, ALLOYS)))
    return picture


def _gear(
    rng: np.random.Generator,
    picture: Picture,
    at: tuple[float, float],
    radius: float,
    alloy: Palette,
) -> Picture:
    shape = (picture.shape[0], picture.shape[1])
    teeth = int(rng.integers(9, 20))
    angles = np.linspace(0, 2 * np.pi, teeth * 4, endpoint=False) + rng.uniform(0, 1)
    reach = radius * np.where(np.arange(teeth * 4) % 4 < 2, 1.0, 0.84)
    outline = np.stack([at[0] + reach * np.cos(angles), at[1] + reach * np.sin(angles)], axis=1)
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    middle = (int(at[0]), int(at[1]))
    cv2.circle(mask, middle, int(radius * 0.16), 0, -1, cv2.LINE_AA)
    holes = int(rng.integers(0, 7))
    for i in range(holes):
        turn = 2 * np.pi * i / holes
        hole = (int(at[0] + 0.5 * radius * np.cos(turn)), int(at[1] + 0.5 * radius * np.sin(turn)))
        cv2.circle(mask, hole, int(radius * 0.15), 0, -1, cv2.LINE_AA)
    face = upright(mask)
    shadow = noise.warp(noise.blur(face, 3.0), -4.0, -5.0)
    picture = noise.shade(picture, 1 - 0.7 * shadow)
    light = noise.emboss(noise.blur(face, 1.0), 135, 0.5)
    return noise.mix(picture, noise.ramp(_turned(rng, shape, at) * light, alloy), face)


def _turned(rng: np.random.Generator, shape: Shape, at: tuple[float, float]) -> Plane:
    """A turned face: light in opposite sectors, fine circles."""
    x, y = noise.coordinates(shape)
    dx, dy = x - np.float32(at[0]), y - np.float32(at[1])
    away = noise.distance(dx, dy) + np.float32(1e-3)
    radians = np.float32(rng.uniform(0, np.pi))
    lean = (dx * np.cos(radians) + dy * np.sin(radians)) / away
    circles = noise.curve(rng, int(max(shape) * 3), 2.0, 0.6)
    fine = cv2.remap(circles[None], away, np.zeros_like(away), cv2.INTER_LINEAR)
    return noise.clip(0.25 + 0.55 * lean * lean + 0.22 * (fine - 0.5))


def pipes(rng: np.random.Generator, shape: Shape) -> Picture:
    """Parallel tubes: dark edges, one narrow line of light, flanges with bolts."""
    z = zoom(shape)
    upright_ = rng.random() < 0.5
    size = shape if not upright_ else (shape[1], shape[0])
    picture = np.ascontiguousarray(
        noise.ramp(
            noise.fbm(rng, size, 60 * z), vary(rng, ((0.04, 0.04, 0.05), (0.3, 0.29, 0.28)), 0.4)
        )
    )
    y = rng.uniform(-30, 10) * z
    same = finish(rng)[0]
    while y < size[0]:
        thick = rng.uniform(24, 78) * z
        colours = same if rng.random() < 0.6 else finish(rng)[0]
        _pipe(rng, picture, y, thick, colours, z)
        y += thick + rng.uniform(0, 18) * z
    return np.ascontiguousarray(picture.transpose(1, 0, 2)) if upright_ else picture


def _pipe(
    rng: np.random.Generator, picture: Picture, top: float, thick: float, colours: Palette, z: float
) -> None:
    first, last = max(0, int(top)), min(picture.shape[0], int(top + thick))
    if last - first < 3:
        return
    v = ((np.arange(first, last, dtype=np.float32) - np.float32(top)) / np.float32(thick)) * 2 - 1
    line = np.exp(-(((v + 0.4) / 0.13) ** 2)) * 0.6 + np.exp(-(((v - 0.62) / 0.1) ** 2)) * 0.18
    profile = 0.08 + 0.42 * np.sqrt(np.maximum(1 - v * v, 0)) + line
    shape = (last - first, picture.shape[1])
    streaks = noise.value_noise(rng, shape, 60 * z, 1.5) - np.float32(0.5)
    plane = noise.clip(np.repeat(profile[:, None], shape[1], axis=1) + 0.1 * streaks)
    tube = noise.ramp(plane, colours)
    for x in np.cumsum(rng.uniform(50, 200, 4)) * z:
        wide = int(rng.uniform(8, 16) * z)
        window = np.s_[:, int(x) : int(x) + wide]
        if int(x) + wide < shape[1]:
            tube[window] = noise.ramp(noise.clip(plane[window] * 0.8 + 0.12), colours)
            tube[:, int(x) : int(x) + 2] *= np.float32(0.3)
            tube[:, int(x) + wide - 2 : int(x) + wide] *= np.float32(0.3)
    picture[first:last] = tube


def girders(rng: np.random.Generator, shape: Shape) -> Picture:
    """A lattice of riveted beams before the sky."""
    z = zoom(shape)
    picture = sky(rng, shape)
    colours = finish(rng)[0]
    for depth in (0.45, 1.0):
        canvas = np.zeros(shape, np.uint8)
        step = rng.uniform(60, 110) * z
        thick = max(2, int(rng.uniform(9, 16) * z * depth))
        tilt = rng.uniform(-0.25, 0.25) * shape[0]
        for level in np.arange(rng.uniform(-0.3, 0.2) * step, shape[0] + step, step * 1.3):
            _truss(canvas, level, tilt, step, thick)
        mask = upright(canvas)
        light = noise.emboss(noise.blur(mask, 1.5 * z), 120, 0.8) * 0.5 * depth
        picture = noise.mix(picture, noise.ramp(noise.clip(light), colours), mask)
    return picture


def _truss(canvas: np.ndarray, level: float, tilt: float, step: float, thick: int) -> None:
    width = canvas.shape[1]
    low = level + step
    for y in (level, low):
        cv2.line(canvas, (0, int(y)), (width, int(y + tilt)), 255, thick, cv2.LINE_AA)
    for i, x in enumerate(np.arange(-step, width + step, step)):
        lift = tilt * x / width
        ends = (level, low) if i % 2 else (low, level)
        start, end = (int(x), int(ends[0] + lift)), (int(x + step), int(ends[1] + lift))
        cv2.line(canvas, start, end, 255, max(2, thick * 2 // 3), cv2.LINE_AA)
        cv2.line(
            canvas,
            (int(x), int(level + lift)),
            (int(x), int(low + lift)),
            255,
            max(1, thick // 2),
            cv2.LINE_AA,
        )


MOTIFS: dict[Motif, float] = {
    sheet: 5,
    plates: 4.5,
    tread: 0.7,
    grille: 0.8,
    gears: 4,
    pipes: 3.5,
    girders: 1,
}
"""The motifs with their shares."""
