"""Fire: camp fires, walls of flame, candles, burning woods, lava, embers."""

import cv2
import numpy as np

from pocketvlm.demo import noise
from pocketvlm.demo.motifs.common import Motif, Palette, conifers, pick, sky, usual, vary, zoom
from pocketvlm.demo.noise import Picture, Plane, Shape

HEATS: tuple[Palette, ...] = (  # from cool to hot
    ((0.25, 0.02, 0.0), (0.85, 0.22, 0.02), (1.0, 0.60, 0.10), (1.0, 0.90, 0.45), (1.0, 1.0, 0.9)),
    ((0.25, 0.02, 0.0), (0.75, 0.12, 0.02), (0.95, 0.40, 0.05), (1.0, 0.75, 0.25), (1.0, 0.9, 0.6)),
    ((0.30, 0.08, 0.0), (0.90, 0.40, 0.05), (1.0, 0.75, 0.25), (1.0, 0.95, 0.65), (1.0, 1.0, 0.95)),
    ((0.02, 0.03, 0.25), (0.08, 0.18, 0.75), (0.25, 0.50, 1.0), (0.6, 0.85, 1.0), (0.95, 1.0, 1.0)),
    (
        (0.02, 0.15, 0.08),
        (0.05, 0.50, 0.25),
        (0.30, 0.85, 0.45),
        (0.75, 1.0, 0.6),
        (0.95, 1.0, 0.9),
    ),
    (
        (0.18, 0.02, 0.18),
        (0.55, 0.10, 0.50),
        (0.90, 0.35, 0.60),
        (1.0, 0.70, 0.65),
        (1.0, 0.95, 0.9),
    ),
)
SHARES = (0.34, 0.22, 0.22, 0.12, 0.04, 0.06)


def heat(rng: np.random.Generator, natural: bool = False) -> Palette:
    """The colours of one fire: mostly orange, sometimes a blue, green or violet flame."""
    if natural:
        return vary(rng, usual(rng, HEATS[:3]), 0.1)
    return vary(rng, HEATS[int(rng.choice(len(HEATS), p=SHARES))], 0.1)


def sheet(
    rng: np.random.Generator, shape: Shape, foot: float, height: float, across: float
) -> Plane:
    """The heat of a row of flames on `foot`, `height` tall, tongues `across` pixels apart."""
    _, y = noise.coordinates(shape)
    up = (np.float32(foot) - y) / np.float32(height)
    sway = (noise.fbm(rng, shape, 1.6 * across, 2.2 * across, 0.5) - np.float32(0.5)) * np.float32(
        1.3 * across
    )
    tips = noise.ridge(noise.curve(rng, shape[1], 1.2 * across, 0.4))
    tall = np.broadcast_to(0.3 + 0.9 * tips * tips, shape).astype(np.float32)
    tall = noise.warp(tall, sway * noise.clip(up + 0.3), 0.0)
    strands = noise.fbm(rng, shape, 0.5 * across, 1.8 * across, 0.5)
    strands = noise.warp(strands, sway, 0.0)
    body = 1 - up / tall
    return noise.clip(
        (body + (strands - np.float32(0.55)) * 1.1) * noise.smoothstep(up, -0.12, 0.1)
    )


def flame(
    rng: np.random.Generator, shape: Shape, foot: tuple[float, float], width: float, height: float
) -> Plane:
    """The heat of a single flame: a drop that narrows and sways upwards."""
    x, y = noise.coordinates(shape)
    up = (np.float32(foot[1]) - y) / np.float32(height)
    sway = noise.fbm(rng, shape, 0.9 * width, 0.9 * width, 0.45) - np.float32(0.5)
    lean = np.float32(rng.uniform(-0.25, 0.25) * width)
    away = np.abs(x - np.float32(foot[0]) + (sway * np.float32(width) + lean) * noise.clip(up))
    rise = noise.clip(up)
    half = np.float32(width * 0.95) * np.sqrt(rise + np.float32(0.03)) * (1 - rise)
    body = 1 - away / np.maximum(half, 0.5)
    body = noise.clip(body * 1.3) * (0.65 + 0.5 * (sway + np.float32(0.5)))
    return noise.clip(body * noise.smoothstep(up, 0.0, 0.12) * noise.smoothstep(up, 1.0, 0.9))


def burn(picture: Picture, plane: Plane, colours: Palette, light: float = 0.55) -> Picture:
    """Lay flames on a picture; they also light it."""
    shape = (picture.shape[0], picture.shape[1])
    wide = noise.halo(plane, 30 * zoom(shape))
    tint = np.asarray(colours[2], np.float32) * np.float32(light)
    lit = np.asarray(picture * (1 + 2 * wide)[..., None] + tint * wide[..., None], np.float32)
    return noise.mix(lit, noise.ramp(plane, colours), noise.smoothstep(plane, 0.02, 0.3))


def sparks(rng: np.random.Generator, picture: Picture, colours: Palette, count: int) -> Picture:
    """Glowing specks that rise."""
    shape = (picture.shape[0], picture.shape[1])
    canvas = np.zeros(shape, np.uint8)
    z = zoom(shape)
    for _ in range(count):
        x, y = rng.uniform(0, shape[1]), shape[0] * rng.uniform(0, 0.9)
        to = (int(x + rng.uniform(-3, 3) * z), int(y + rng.uniform(0, 6) * z))
        cv2.line(canvas, (int(x), int(y)), to, int(rng.integers(120, 256)), 1, cv2.LINE_AA)
    mask = np.asarray(canvas, np.float32) / np.float32(255)
    return noise.mix(picture, noise.solid(shape, colours[3]), mask)


def night(rng: np.random.Generator, shape: Shape, brightness: float = 0.2) -> Picture:
    """A dark, blurred surrounding: smoke, walls or the night."""
    palette = vary(
        rng,
        pick(
            rng,
            (
                ((0.1, 0.09, 0.08), (0.5, 0.4, 0.3)),
                ((0.05, 0.07, 0.1), (0.3, 0.4, 0.5)),
                ((0.1, 0.1, 0.1), (0.55, 0.55, 0.55)),
            ),
        ),
        0.2,
    )
    plane = noise.fbm(rng, shape, 90 * zoom(shape), gain=0.4)
    gain = np.float32(brightness * rng.uniform(0.4, 3.2))
    return np.asarray(noise.ramp(plane, palette) * gain, np.float32)


def campfire(rng: np.random.Generator, shape: Shape) -> Picture:
    """Flames over crossed logs, in the night, at dusk or before trees."""
    z = zoom(shape)
    height, width = shape
    ground = height * rng.uniform(0.72, 0.86)
    picture = night(rng, shape)
    if rng.random() < 0.4:
        picture = sky(rng, shape) * np.float32(rng.uniform(0.3, 0.9))
        picture = conifers(
            rng, picture, ground, height * rng.uniform(0.35, 0.6), (0.06, 0.08, 0.06)
        )
    floor = noise.fbm(rng, shape, 12 * z) * 0.3 + 0.05
    colour = vary(rng, ((0.9, 0.75, 0.6),), 0.3)[0]
    _, y = noise.coordinates(shape)
    picture = noise.mix(
        picture, noise.ramp(floor, ((0.0, 0.0, 0.0), colour)), noise.clip(y - ground)
    )
    foot = (width * rng.uniform(0.4, 0.6), ground + 6 * z)
    size = rng.uniform(0.55, 0.85) * height
    plane = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(4, 7))):
        at = (foot[0] + rng.uniform(-0.2, 0.2) * width, foot[1] + rng.uniform(0, 10) * z)
        tall = size * rng.uniform(0.55, 1.1)
        plane = np.maximum(plane, flame(rng, shape, at, tall * rng.uniform(0.3, 0.5), tall))
    colours = heat(rng)
    picture = burn(picture, plane, colours)
    _logs(rng, picture, foot, 0.22 * width, z)
    return sparks(rng, picture, colours, int(rng.integers(0, 40)))


def _logs(
    rng: np.random.Generator, picture: Picture, foot: tuple[float, float], reach: float, z: float
) -> None:
    for side in (-1, 1, -0.6):
        start = (int(foot[0] - side * reach), int(foot[1] + 9 * z))
        end = (int(foot[0] + side * reach * 0.8), int(foot[1] - rng.uniform(4, 16) * z))
        cv2.line(picture, start, end, (0.1, 0.06, 0.04), int(9 * z), cv2.LINE_AA)
        cv2.line(picture, start, end, (0.3, 0.14, 0.06), max(1, int(2 * z)), cv2.LINE_AA)


def blaze(rng: np.random.Generator, shape: Shape) -> Picture:
    """A wall of flames that fills the picture."""
    height = shape[0]
    z = zoom(shape)
    colours = heat(rng)
    picture = night(rng, shape, 0.3)
    across = rng.uniform(28, 60) * z
    back = sheet(rng, shape, 1.1 * height, height * rng.uniform(0.9, 1.3), across)
    front = sheet(rng, shape, 1.1 * height, height * rng.uniform(0.5, 0.8), across * 0.7)
    picture = burn(picture, np.maximum(0.75 * back, front), colours)
    return sparks(rng, picture, colours, int(rng.integers(0, 60)))


def candles(rng: np.random.Generator, shape: Shape) -> Picture:
    """One to four candles or torches with their halos."""
    height, width = shape
    z = zoom(shape)
    picture = night(rng, shape, 0.25)
    count = int(rng.integers(1, 5))
    plane = np.zeros(shape, np.float32)
    tall = height * rng.uniform(0.45, 0.65) / (1 + 0.1 * count)
    wax = vary(rng, ((0.7, 0.6, 0.45),), 0.4)[0]
    for i in range(count):
        x = width * (i + 0.5 + rng.uniform(-0.15, 0.15)) / count
        foot = height * rng.uniform(0.6, 0.8)
        half = int(tall * rng.uniform(0.1, 0.16))
        cv2.rectangle(picture, (int(x) - half, int(foot)), (int(x) + half, height), wax, -1)
        light = (int(x), int(foot - 3 * z))
        cv2.line(picture, (int(x), int(foot)), light, (0.1, 0.1, 0.1), max(1, int(2 * z)))
        flames = flame(rng, shape, (x, foot), tall * rng.uniform(0.3, 0.4), tall)
        plane = np.maximum(plane, flames)
    return burn(picture, plane, heat(rng), 0.8)


def wildfire(rng: np.random.Generator, shape: Shape) -> Picture:
    """A wood or a ridge in flames: dark shapes before the glow, smoke above."""
    height = shape[0]
    z = zoom(shape)
    colours = heat(rng)
    foot = height * rng.uniform(0.7, 0.95)
    picture = sky(rng, shape) * np.float32(rng.uniform(0.3, 1.0))
    smoke = noise.fbm(rng, shape, 80 * z, 60 * z)
    grey = vary(rng, ((0.2, 0.17, 0.15), (0.55, 0.5, 0.45)), 0.3)
    picture = noise.mix(picture, noise.ramp(smoke, grey), noise.smoothstep(smoke, 0.25, 0.6))
    plane = sheet(rng, shape, foot, height * rng.uniform(0.6, 0.95), rng.uniform(20, 40) * z)
    picture = burn(picture, plane, colours, 0.7)
    picture = conifers(rng, picture, foot, height * rng.uniform(0.3, 0.55), (0.05, 0.03, 0.03))
    low = sheet(rng, shape, foot + 12 * z, height * 0.28, 16 * z)
    picture = burn(picture, low, colours, 0.3)
    _, y = noise.coordinates(shape)
    ground = noise.ramp(noise.white(rng, shape), ((0.02, 0.02, 0.02), (0.12, 0.08, 0.06)))
    return noise.mix(picture, ground, noise.clip((y - np.float32(foot)) / np.float32(8 * z)))


def lava(rng: np.random.Generator, shape: Shape) -> Picture:
    """Black crust torn open over glowing rock."""
    z = zoom(shape)
    scale = rng.uniform(34, 70) * z
    bend = [
        (noise.fbm(rng, shape, 30 * z) - np.float32(0.5)) * np.float32(24 * z) for _ in range(2)
    ]
    _, _, border = noise.cells(rng, shape, scale)
    border = noise.warp(border, bend[0], bend[1])
    width = (1 + 8 * noise.clip(noise.value_noise(rng, shape, 60 * z))) * np.float32(z)
    glow = noise.clip(1.25 * np.exp(-border / width))
    crust = noise.fbm(rng, shape, 14 * z, gain=0.65)
    rock = noise.shade(
        noise.ramp(crust, ((0.02, 0.02, 0.02), vary(rng, ((0.3, 0.26, 0.25),), 0.3)[0])),
        noise.emboss(crust, 130, 3),
    )
    pools = noise.smoothstep(noise.value_noise(rng, shape, 70 * z), 0.7, 0.9) * (0.4 + 0.5 * crust)
    return burn(
        rock,
        noise.clip(np.maximum(glow * (0.6 + 0.5 * crust), pools)),
        heat(rng, natural=True),
        0.5,
    )


def embers(rng: np.random.Generator, shape: Shape) -> Picture:
    """A bed of coals: dark lumps, ash on their tops, glowing from below and between."""
    z = zoom(shape)
    value, _, border = noise.cells(rng, shape, rng.uniform(20, 36) * z)
    lump = noise.fbm(rng, shape, 8 * z, gain=0.6)
    rock = noise.ramp(
        noise.clip(0.7 * lump * noise.smoothstep(border, 0, 8 * z)),
        ((0.03, 0.02, 0.02), vary(rng, ((0.6, 0.56, 0.52),), 0.2)[0]),
    )
    breath = noise.value_noise(rng, shape, 60 * z)
    seam = np.exp(-border / np.float32(3.0 * z))
    inner = noise.smoothstep(value, 0.55, 0.9) * lump * noise.smoothstep(border, 0, 5 * z)
    plane = noise.clip((0.75 * seam + 0.7 * inner) * (0.1 + 1.1 * breath))
    colours = heat(rng, natural=True)
    picture = burn(rock, plane, colours, 0.4)
    if rng.random() < 0.6:
        low = sheet(rng, shape, shape[0] * 1.08, shape[0] * rng.uniform(0.4, 0.8), 26 * z)
        picture = burn(picture, low * np.float32(0.9), colours, 0.3)
    return sparks(rng, picture, colours, int(rng.integers(0, 50)))


MOTIFS: dict[Motif, float] = {
    campfire: 4,
    blaze: 4,
    candles: 1,
    wildfire: 3,
    lava: 3,
    embers: 2,
}
"""The motifs with their shares."""
