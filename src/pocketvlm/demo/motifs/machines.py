"""More metal: cars and lorries, tools on a bench, chains."""

import cv2
import numpy as np

from pocketvlm.demo import noise
from pocketvlm.demo.layout import polygon
from pocketvlm.demo.motifs.common import (
    Motif,
    Palette,
    below,
    pick,
    sky,
    skyline,
    upright,
    vary,
    zoom,
)
from pocketvlm.demo.motifs.metal import ALLOYS, brushed_plane, lacquer
from pocketvlm.demo.motifs.wood import TIMBERS, growth
from pocketvlm.demo.noise import Picture, Plane, Shape

Points = list[tuple[float, float]]
CAR: Points = [  # outline in lengths of the car, from the rear bumper over the roof to the front
    (0.00, -0.12), (0.01, -0.24), (0.12, -0.26), (0.22, -0.39), (0.52, -0.40), (0.68, -0.27),
    (0.92, -0.23), (1.00, -0.14), (0.99, -0.06), (0.02, -0.06),
]  # fmt: skip
CAR_GLASS: list[Points] = [
    [(0.16, -0.27), (0.24, -0.365), (0.37, -0.37), (0.37, -0.27)],
    [(0.39, -0.27), (0.39, -0.37), (0.51, -0.37), (0.63, -0.27)],
]
LORRY: Points = [
    (0.00, -0.08), (0.00, -0.52), (0.66, -0.52), (0.66, -0.14), (0.69, -0.14), (0.69, -0.42),
    (0.87, -0.42), (0.96, -0.26), (1.00, -0.24), (1.00, -0.08),
]  # fmt: skip
LORRY_GLASS: list[Points] = [[(0.80, -0.27), (0.80, -0.385), (0.86, -0.385), (0.92, -0.27)]]


def vehicle(rng: np.random.Generator, shape: Shape) -> Picture:
    """A car or a lorry from the side, large, on a road; its panels mirror sky and ground."""
    z = zoom(shape)
    height, width = shape
    road = height * rng.uniform(0.74, 0.88)
    picture = sky(rng, shape)
    far = noise.solid(shape, vary(rng, ((0.35, 0.37, 0.36),), 0.3)[0])
    line = skyline(rng, shape, road - 20 * z, height * rng.uniform(0.05, 0.3))
    picture = noise.mix(picture, far, below(shape, line))
    grey = vary(rng, ((0.14, 0.14, 0.15), (0.42, 0.42, 0.42)), 0.3)
    asphalt = noise.ramp(noise.fbm(rng, shape, 8 * z, 3 * z, 0.8), grey)
    ground = np.full(width, road - 14 * z, np.float32)
    picture = noise.mix(picture, asphalt, below(shape, ground))
    lorry = rng.random() < 0.35
    length = width * rng.uniform(0.82, 1.08)
    at = ((width - length) * rng.uniform(0.2, 0.8), road)
    picture = _body(rng, picture, at, length, lorry)
    return picture if rng.random() < 0.5 else np.ascontiguousarray(picture[:, ::-1])


def _body(
    rng: np.random.Generator, picture: Picture, at: tuple[float, float], length: float, lorry: bool
) -> Picture:
    shape = (picture.shape[0], picture.shape[1])
    z = zoom(shape)
    outline, panes = (LORRY, LORRY_GLASS) if lorry else (CAR, CAR_GLASS)
    hull = polygon(shape, _placed(outline, at, length))
    if not lorry:
        hull = noise.smoothstep(noise.blur(hull, 2.5 * z), 0.3, 0.7)
    _, y = noise.coordinates(shape)
    level = (np.float32(at[1]) - y) / np.float32(length)
    mirrored = 0.35 + 0.5 * noise.smoothstep(level, 0.06, 0.22) * noise.smoothstep(level, 0.6, 0.22)
    glint = 0.55 * np.exp(-(((level - np.float32(0.24)) / 0.012) ** 2))
    ribs = 0.12 * np.sin(y * np.float32(1.1 / z)) * (level > 0.14) if lorry else 0.0
    light = noise.clip(mirrored + glint + ribs - 0.3 * (level < 0.1))
    shadow = noise.warp(noise.halo(hull, 8 * z), 0.0, -10 * z)
    picture = noise.shade(picture, 1 - 0.55 * noise.clip(shadow))
    picture = noise.mix(picture, noise.ramp(np.asarray(light, np.float32), lacquer(rng)), hull)
    glass = np.asarray(0.15 + 0.5 * noise.smoothstep(level, 0.25, 0.4), np.float32)
    tint = noise.ramp(glass, ((0.02, 0.03, 0.05), (0.75, 0.85, 0.95)))
    for pane in panes:
        picture = noise.mix(picture, tint, polygon(shape, _placed(pane, at, length)))
    for x in (0.14, 0.30, 0.84) if lorry else (0.2, 0.8):
        _wheel(picture, (at[0] + x * length, at[1] - 0.065 * length), 0.082 * length)
    return picture


def _placed(points: Points, at: tuple[float, float], length: float) -> Points:
    return [(at[0] + x * length, at[1] + y * length) for x, y in points]


def _wheel(picture: Picture, at: tuple[float, float], radius: float) -> None:
    middle = (int(at[0]), int(at[1]))
    cv2.circle(picture, middle, int(radius), (0.04, 0.04, 0.045), -1, cv2.LINE_AA)
    cv2.circle(picture, middle, int(radius * 0.62), (0.75, 0.76, 0.78), -1, cv2.LINE_AA)
    for i in range(10):
        turn = i * np.pi / 5
        hole = (
            int(at[0] + 0.4 * radius * np.cos(turn)),
            int(at[1] + 0.4 * radius * np.sin(turn)),
        )
        cv2.circle(picture, hole, max(1, int(radius * 0.09)), (0.1, 0.1, 0.11), -1, cv2.LINE_AA)
    cv2.circle(picture, middle, max(1, int(radius * 0.15)), (0.4, 0.4, 0.42), -1, cv2.LINE_AA)


def tools(rng: np.random.Generator, shape: Shape) -> Picture:
    """Spanners, nuts and blades that cover a bench of timber or stone."""
    z = zoom(shape)
    if rng.random() < 0.5:
        bench = noise.ramp(growth(rng, shape, 11 * z, 0), vary(rng, pick(rng, TIMBERS)))
    else:
        stone = noise.fbm(rng, shape, 20 * z, gain=0.7)
        bench = noise.ramp(stone, vary(rng, ((0.15, 0.14, 0.13), (0.5, 0.48, 0.46))))
    picture = np.asarray(bench * np.float32(rng.uniform(0.35, 0.8)), np.float32)
    alloy = vary(rng, pick(rng, ALLOYS))
    turn = rng.uniform(0, np.pi)
    middle = np.array([shape[1] / 2, shape[0] / 2])
    across = np.array([-np.sin(turn), np.cos(turn)])
    for step in (-0.3, 0.0, 0.3):
        at = middle + across * step * min(shape) * 1.1
        draw = pick(rng, (_spanner, _spanner, _saw, _nuts))
        canvas = np.zeros(shape, np.uint8)
        draw(rng, canvas, at, turn + rng.uniform(-0.15, 0.15), rng.uniform(95, 125) * z)
        picture = _lay(rng, picture, upright(canvas), alloy, np.degrees(turn))
    return picture


def _lay(
    rng: np.random.Generator, picture: Picture, mask: Plane, alloy: Palette, angle: float
) -> Picture:
    """Put a flat steel shape on the bench: its shadow, its bevel, its brushed face."""
    shape = (picture.shape[0], picture.shape[1])
    z = zoom(shape)
    shadow = noise.warp(noise.blur(mask, 3 * z), -4 * z, -5 * z)
    picture = noise.shade(picture, 1 - 0.7 * shadow)
    light = noise.emboss(noise.blur(mask, 1.6 * z), 135, 0.9)
    face = noise.clip((0.1 + brushed_plane(rng, shape, -angle)) * light)
    return noise.mix(picture, noise.ramp(face, alloy), mask)


def _along(at: np.ndarray, turn: float, points: Points) -> np.ndarray:
    """Points given along and across a direction, in sixteenths of pixels."""
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    placed = [at + a * along + b * across for a, b in points]
    return np.round(np.asarray(placed) * 16).astype(np.int32)


def _spanner(
    rng: np.random.Generator, canvas: np.ndarray, at: np.ndarray, turn: float, reach: float
) -> None:
    half = reach * 0.1
    ends = [(-reach, -half), (reach, -half), (reach, half), (-reach, half)]
    cv2.fillPoly(canvas, [_along(at, turn, ends)], 255, cv2.LINE_AA, 4)
    for side in (-1, 1):
        head = _along(at, turn, [(side * reach, 0.0)])[0] / 16
        cv2.circle(canvas, head.astype(int).tolist(), int(reach * 0.24), 255, -1, cv2.LINE_AA)
        jaw = reach * 0.12
        mouth = [
            (side * reach * 0.95, -jaw),
            (side * reach * 1.35, -jaw),
            (side * reach * 1.35, jaw),
            (side * reach * 0.95, jaw),
        ]
        cv2.fillPoly(canvas, [_along(at, turn, mouth)], 0, cv2.LINE_AA, 4)


def _saw(
    rng: np.random.Generator, canvas: np.ndarray, at: np.ndarray, turn: float, reach: float
) -> None:
    half, tooth = reach * 0.2, reach * 0.07
    points: Points = [(-reach, -half), (reach, -half * 0.6)]
    for a in np.linspace(reach, -reach, int(2 * reach / tooth)):
        points += [(float(a), half), (float(a) - tooth / 2, half + tooth)]
    cv2.fillPoly(canvas, [_along(at, turn, points)], 255, cv2.LINE_AA, 4)


def _nuts(
    rng: np.random.Generator, canvas: np.ndarray, at: np.ndarray, turn: float, reach: float
) -> None:
    for place in (-0.75, -0.25, 0.25, 0.75):
        middle = _along(at, turn, [(place * reach * 1.1, 0.0)])[0] / 16
        radius = reach * rng.uniform(0.19, 0.27)
        corners = rng.uniform(0, 1) + np.arange(6) * np.pi / 3
        points = middle + radius * np.stack([np.cos(corners), np.sin(corners)], axis=1)
        cv2.fillPoly(canvas, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        cv2.circle(canvas, middle.astype(int).tolist(), int(radius * 0.5), 0, -1, cv2.LINE_AA)


def chain(rng: np.random.Generator, shape: Shape) -> Picture:
    """Rows of heavy links, each lit along its upper edge."""
    z = zoom(shape)
    back = noise.fbm(rng, shape, 40 * z)
    dark = vary(rng, ((0.02, 0.02, 0.03), (0.26, 0.25, 0.24)), 0.4)
    picture = noise.ramp(back, dark)
    alloy = vary(rng, pick(rng, ALLOYS))
    step = rng.uniform(40, 62) * z
    turn = rng.uniform(-60, 60)
    along = np.array([np.cos(np.radians(turn)), np.sin(np.radians(turn))])
    across = np.array([-along[1], along[0]])
    middle = np.array([shape[1] / 2, shape[0] / 2])
    for flat in (False, True):
        canvas = np.zeros(shape, np.uint8)
        for row in np.arange(-3, 4):
            for i in np.arange(-6, 7):
                at = middle + across * row * step * 1.15 + along * (2 * i + flat) * step * 0.62
                axes = (int(step * 0.56), int(step * (0.3 if flat else 0.1)))
                thick = max(3, int(step * 0.17))
                centre = at.astype(int).tolist()
                cv2.ellipse(canvas, centre, axes, turn, 0, 360, 255, thick, cv2.LINE_AA)
        picture = _lay(rng, picture, upright(canvas), alloy, 0.0)
    return picture


MOTIFS: dict[Motif, float] = {vehicle: 4, tools: 1, chain: 0.5}
"""The motifs with their shares."""
