"""Wood: bark, planks, growth rings, log piles."""

import cv2
import numpy as np

from pocketvlm.demo import noise, textures
from pocketvlm.demo.motifs.common import (
    Motif,
    Palette,
    pick,
    upright,
    usual,
    vary,
    zoom,
)
from pocketvlm.demo.noise import Picture, Plane, Shape

TIMBERS: tuple[Palette, ...] = (
    ((0.22, 0.12, 0.05), (0.50, 0.32, 0.16), (0.78, 0.58, 0.36)),
    ((0.25, 0.24, 0.23), (0.48, 0.47, 0.45), (0.74, 0.73, 0.71)),
    ((0.25, 0.06, 0.03), (0.52, 0.18, 0.10), (0.80, 0.42, 0.26)),
    ((0.05, 0.04, 0.03), (0.18, 0.13, 0.10), (0.40, 0.32, 0.26)),
    ((0.48, 0.38, 0.26), (0.80, 0.68, 0.50), (0.95, 0.87, 0.72)),
    ((0.10, 0.14, 0.07), (0.30, 0.36, 0.22), (0.58, 0.62, 0.45)),
    ((0.12, 0.17, 0.24), (0.30, 0.38, 0.46), (0.62, 0.68, 0.73)),
)
FOLIAGE: tuple[Palette, ...] = (
    ((0.02, 0.09, 0.02), (0.14, 0.36, 0.10), (0.55, 0.72, 0.30)),
    ((0.03, 0.08, 0.06), (0.10, 0.28, 0.22), (0.42, 0.62, 0.52)),
    ((0.16, 0.05, 0.01), (0.66, 0.28, 0.05), (0.98, 0.66, 0.22)),
    ((0.14, 0.02, 0.02), (0.55, 0.10, 0.08), (0.92, 0.38, 0.28)),
    ((0.18, 0.13, 0.01), (0.66, 0.52, 0.10), (0.96, 0.88, 0.45)),
    ((0.06, 0.06, 0.07), (0.30, 0.31, 0.32), (0.72, 0.73, 0.74)),
    ((0.04, 0.05, 0.14), (0.16, 0.22, 0.42), (0.50, 0.60, 0.78)),
)


def growth(rng: np.random.Generator, shape: Shape, scale: float, knots: int) -> Plane:
    """Growth lines of sawn timber, lying: long, sharp on one side, bent around knots."""
    x, y = noise.coordinates(shape)
    long = noise.value_noise(rng, shape, 14 * scale, 3.5 * scale)
    field = y / np.float32(scale) + long * np.float32(rng.uniform(2, 6))
    dark = np.zeros(shape, np.float32)
    for _ in range(knots):
        dx = (x - np.float32(rng.uniform(0, shape[1]))) / np.float32(3.2 * scale)
        dy = (y - np.float32(rng.uniform(0, shape[0]))) / np.float32(1.6 * scale)
        near = np.exp(-(dx * dx + dy * dy))
        field = field + near * np.float32(rng.uniform(3, 5))
        dark = np.maximum(dark, near * near * near)
    line = noise.fraction(np.asarray(field, np.float32))
    line = noise.smoothstep(line, 0.0, 0.75) * noise.smoothstep(line, 1.0, 0.88)
    pores = noise.value_noise(rng, shape, 5 * scale, max(1.0, 0.12 * scale))
    return noise.clip(0.30 + 0.35 * line + 0.35 * pores - 0.6 * dark)


def planks(rng: np.random.Generator, shape: Shape) -> Picture:
    """Boards side by side: seams, each with its own shade and growth lines, nails at times."""
    z = zoom(shape)
    palette = vary(rng, usual(rng, TIMBERS))
    angle = float(rng.choice([0, 90, 90, 0, rng.uniform(-40, 40)]))
    board = rng.uniform(34, 90) * z
    scale = rng.uniform(7, 14) * z

    def draw(size: Shape) -> Plane:
        plane = growth(rng, size, scale, int(rng.integers(0, 5)))
        _, y = noise.coordinates(size)
        number = np.asarray(y / np.float32(board), np.int32)
        count = int(number.max()) + 1
        shift = rng.uniform(0, size[1], count).astype(np.float32)
        plane = noise.warp(plane, shift[number], 0.0)
        gain = rng.uniform(0.75, 1.15, count).astype(np.float32)
        edge = np.abs(noise.fraction(y / np.float32(board)) - np.float32(0.5)) * np.float32(board)
        seam = noise.smoothstep(edge, board / 2 - 0.6 * z, board / 2 - 2.6 * z)
        return noise.clip(plane * gain[number] * (0.12 + 0.88 * seam))

    plane = noise.turned(shape, angle, draw)
    if rng.random() < 0.25:
        plane = noise.receding(plane, rng.uniform(0.5, 1.5))
    return noise.ramp(plane, palette)


def board(rng: np.random.Generator, shape: Shape) -> Picture:
    """One broad piece of timber: growth lines and knots from edge to edge."""
    z = zoom(shape)
    scale = rng.uniform(10, 22) * z
    angle = float(rng.choice([0.0, 90.0, rng.uniform(-60, 60)]))
    knots = int(rng.integers(1, 5))
    plane = noise.turned(shape, angle, lambda size: growth(rng, size, scale, knots))
    return noise.ramp(plane, vary(rng, usual(rng, TIMBERS)))


def bark_plane(rng: np.random.Generator, shape: Shape, scale: float) -> Plane:
    """Upright ridges of bark, lit from one side."""
    plane = noise.turned(shape, 90.0, lambda size: textures.furrows(rng, size, scale))
    rough = noise.fbm(rng, shape, 0.6 * scale, gain=0.7)
    height = 0.7 * plane + 0.3 * rough
    return noise.clip((0.15 + 0.85 * height) * noise.emboss(height, rng.choice([20.0, 160.0]), 0.9))


def bark(rng: np.random.Generator, shape: Shape) -> Picture:
    """A trunk's bark, close: fills the picture or stands before a blurred wood."""
    z = zoom(shape)
    palette = vary(rng, usual(rng, TIMBERS))
    plane = bark_plane(rng, shape, rng.uniform(9, 22) * z)
    picture = noise.ramp(plane, palette)
    if rng.random() < 0.35:
        moss = noise.smoothstep(noise.fbm(rng, shape, 60 * z), 0.55, 0.75) * np.float32(0.7)
        green = noise.ramp(plane, vary(rng, FOLIAGE[0]))
        picture = noise.mix(picture, green, moss)
    if rng.random() < 0.35:
        half = rng.uniform(0.28, 0.42) * shape[1]
        middle = rng.uniform(0.35, 0.65) * shape[1]
        picture = _trunk_before(rng, picture, middle, half)
    return picture


def _trunk_before(rng: np.random.Generator, bark_: Picture, middle: float, half: float) -> Picture:
    """Round a sheet of bark into a trunk that stands in front of a blurred wood."""
    shape = (bark_.shape[0], bark_.shape[1])
    z = zoom(shape)
    x, _ = noise.coordinates(shape)
    edge = np.float32(6 * z) * noise.curve(rng, shape[0], 30 * z)[:, None]
    away = np.abs(x - np.float32(middle)) / (np.float32(half) - edge)
    round_ = np.sqrt(noise.clip(1 - away * away * np.float32(0.9)))
    blobs = noise.value_noise(rng, shape, 30 * z)
    back = noise.ramp(blobs, vary(rng, usual(rng, FOLIAGE)))
    return noise.mix(
        back, noise.shade(bark_, 0.25 + 0.85 * round_), noise.smoothstep(away, 1.0, 0.985)
    )


def birch(rng: np.random.Generator, shape: Shape) -> Picture:
    """Pale smooth trunks with short dark scars."""
    z = zoom(shape)
    back = noise.ramp(noise.fbm(rng, shape, 40 * z), vary(rng, usual(rng, FOLIAGE)))
    scars = noise.fbm(rng, shape, 16 * z, 3.5 * z, 0.55)
    dark = noise.smoothstep(scars, 0.58, 0.70)
    plane = noise.clip(0.85 + 0.2 * (noise.fbm(rng, shape, 20 * z) - 0.5) - 0.8 * dark)
    pale = vary(rng, ((0.08, 0.07, 0.07), (0.55, 0.53, 0.50), (0.95, 0.93, 0.90)))
    trunk = noise.ramp(plane, pale)
    x, y = noise.coordinates(shape)
    count = int(rng.integers(2, 6))
    for i in range(count):
        half = np.float32(shape[1] * rng.uniform(0.25, 0.42) / count)
        lean = rng.uniform(-0.08, 0.08)
        middle = shape[1] * (i + 0.5) / count + (y - shape[0] / 2) * np.float32(lean)
        away = np.abs(x - middle) / half
        lit = 0.45 + 0.55 * np.sqrt(noise.clip(1 - away * away))
        back = noise.mix(back, noise.shade(trunk, lit), noise.smoothstep(away, 1.0, 0.96))
    return back


def disc_plane(rng: np.random.Generator, side: int) -> tuple[Plane, Plane]:
    """The cut end of a log: growth rings with radial cracks and a bark rim; its mask."""
    x, y = noise.coordinates((side, side))
    middle = side / 2
    dx, dy = x - np.float32(middle), y - np.float32(middle)
    uneven = noise.value_noise(rng, (side, side), side / 3) - np.float32(0.5)
    away = noise.distance(dx, dy) / np.float32(middle) * (1 + 0.16 * uneven)
    rings = noise.fraction(away * np.float32(rng.uniform(0.10, 0.16) * min(side, 160)))
    rings = noise.smoothstep(rings, 0.0, 0.8) * noise.smoothstep(rings, 1.0, 0.85)
    cracks = np.zeros((side, side), np.uint8)
    for _ in range(int(rng.integers(1, 6))):
        turn, inner = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.25)
        points = [
            (middle * (1 + r * np.cos(turn)), middle * (1 + r * np.sin(turn)))
            for r in (inner, 0.95)
        ]
        at = np.round(np.asarray(points) * 16).astype(np.int32)
        cv2.polylines(cracks, [at], False, 255, max(1, side // 120), cv2.LINE_AA, 4)
    plane = 0.5 + 0.4 * rings - 0.25 * noise.smoothstep(away, 0.45, 0.0) - 0.5 * upright(cracks)
    rim = noise.smoothstep(away, 0.88, 0.91)
    rough = noise.white(rng, (side, side)) * 0.3
    return noise.clip(plane * (1 - rim) + rough * rim), noise.smoothstep(away, 1.0, 0.97)


def stump(rng: np.random.Generator, shape: Shape) -> Picture:
    """One large cut end with its growth rings."""
    z = zoom(shape)
    side = int(max(shape) * rng.uniform(0.8, 1.7))
    plane, mask = disc_plane(rng, side)
    top = int((side - shape[0]) * rng.uniform(0.2, 0.8)) if side > shape[0] else 0
    left = int((side - shape[1]) * rng.uniform(0.2, 0.8)) if side > shape[1] else 0
    pad = ((0, max(0, shape[0] - side)), (0, max(0, shape[1] - side)))
    plane = np.pad(plane, pad)[top : top + shape[0], left : left + shape[1]]
    mask = np.pad(mask, pad)[top : top + shape[0], left : left + shape[1]]
    back = noise.ramp(noise.fbm(rng, shape, 25 * z, gain=0.6), vary(rng, usual(rng, FOLIAGE)))
    front = noise.ramp(np.ascontiguousarray(plane), vary(rng, usual(rng, TIMBERS)))
    return noise.mix(back, front, np.ascontiguousarray(mask))


def pile(rng: np.random.Generator, shape: Shape) -> Picture:
    """Stacked logs, seen at their cut ends."""
    z = zoom(shape)
    palette = vary(rng, usual(rng, TIMBERS))
    picture = noise.solid(shape, (palette[0][0] * 0.3, palette[0][1] * 0.3, palette[0][2] * 0.3))
    step = rng.uniform(46, 84) * z
    patterns = [disc_plane(rng, int(step * 1.1)) for _ in range(3)]
    y, row = -0.2 * step, 0
    while y < shape[0] + step / 2:
        x = -0.3 * step + (row % 2) * step / 2
        while x < shape[1] + step / 2:
            _stamp(rng, picture, pick(rng, patterns), palette, (x, y), step)
            x += step
        y, row = y + 0.87 * step, row + 1
    return picture


def _stamp(
    rng: np.random.Generator,
    picture: Picture,
    pattern: tuple[Plane, Plane],
    palette: Palette,
    at: tuple[float, float],
    step: float,
) -> None:
    """Lay one log's end on the picture, turned and shaded its own way."""
    side = max(8, int(step * rng.uniform(0.85, 1.08)))
    turns = int(rng.integers(4))
    plane, mask = (
        noise.resize(np.ascontiguousarray(np.rot90(p, turns)), (side, side), cv2.INTER_LINEAR)
        for p in pattern
    )
    left, top = int(at[0] - side / 2), int(at[1] - side / 2)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + side, picture.shape[1]), min(top + side, picture.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    inner = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    front = noise.ramp(
        np.ascontiguousarray(plane[inner]) * np.float32(rng.uniform(0.7, 1.1)), palette
    )
    below_ = np.ascontiguousarray(picture[y0:y1, x0:x1])
    picture[y0:y1, x0:x1] = noise.mix(below_, front, np.ascontiguousarray(mask[inner]))


MOTIFS: dict[Motif, float] = {bark: 4, planks: 4, board: 2, birch: 0.8, stump: 0.8, pile: 0.8}
"""The motifs with their shares."""
