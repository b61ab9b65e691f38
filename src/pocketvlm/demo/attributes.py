"""Pictures with known attributes: what the tiny student's base is pre-trained on.

Every picture is made of one to four regions and up to three objects, each filled with a kind of
texture in a colour drawn independently of it, so that neither can be guessed from the other.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pocketvlm.demo import layout, noise, textures
from pocketvlm.demo.noise import Colour, Picture, Plane, Shape

COLOURS: dict[str, Colour] = {  # hue, saturation and value in the middle of each name
    "red": (0.99, 0.80, 0.75),
    "orange": (0.07, 0.85, 0.90),
    "yellow": (0.15, 0.75, 0.92),
    "green": (0.34, 0.65, 0.60),
    "cyan": (0.49, 0.60, 0.80),
    "blue": (0.61, 0.72, 0.72),
    "purple": (0.77, 0.55, 0.65),
    "pink": (0.92, 0.42, 0.92),
    "brown": (0.06, 0.60, 0.40),
    "grey": (0.60, 0.04, 0.50),
    "black": (0.60, 0.20, 0.10),
    "white": (0.60, 0.03, 0.95),
}
ANGLES = {"horizontal": 0.0, "rising": 45.0, "vertical": 90.0, "falling": 135.0}
SCALES = {"fine": 6.5, "medium": 14.0, "coarse": 32.0}  # repeat length in pixels of a side of 256
LIGHTS = {"dark": (0.48, 0.0), "medium": (0.9, 0.0), "bright": (0.78, 0.25)}  # gain and haze
KINDS = tuple(textures.KINDS)
PLACES = ("top", "bottom", "left", "right", "centre")

QUESTIONS: dict[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "texture": KINDS,
    "angle": (*ANGLES, "none"),
    "scale": (*SCALES, "none"),
    "depth": ("level", "receding"),
    "second": (*COLOURS, "none"),
    "beside": (*KINDS, "none"),
    "top": KINDS,
    "bottom": KINDS,
    "object": (*layout.OBJECTS, "none"),
    "inside": (*KINDS, "none"),
    "paint": (*COLOURS, "none"),
    "where": (*PLACES, "none"),
    "count": ("zero", "one", "two", "three"),
    "layout": tuple(layout.LAYOUTS),
    "light": tuple(LIGHTS),
    "edge": ("sharp", "soft"),
}
"""Each question's word and the words that answer it. The first five ask about the largest region,
`second` and `beside` for the colour and the texture of the next one."""
CELLS: dict[str, tuple[str, ...]] = {
    "texture": KINDS,
    "colour": tuple(COLOURS),
    "angle": QUESTIONS["angle"],
    "scale": QUESTIONS["scale"],
}
"""What is known of each of the 4 x 4 cells of a picture, with the names of its classes."""


@dataclass(frozen=True)
class AttributePicture:
    """A picture and what is true of it."""

    rgb: NDArray[np.uint8]
    """(side, side, 3) RGB."""
    answers: dict[str, str]
    """One word for every word of `QUESTIONS`."""
    cells: dict[str, NDArray[np.int64]]
    """For every word of `CELLS` a (4, 4) array of indices into its names."""


@dataclass(frozen=True)
class Fill:
    """How one region is filled."""

    texture: str
    colour: str
    angle: str
    scale: str
    depth: str


def draw(rng: np.random.Generator, side: int = 256) -> AttributePicture:
    """Draw one picture of `side` x `side` pixels and tell what is in it."""
    shape = (side, side)
    name = str(rng.choice(tuple(layout.LAYOUTS), p=tuple(layout.LAYOUTS.values())))
    regions = layout.regions(rng, name, shape)
    objects = layout.objects(rng, shape)
    masks = regions + objects.masks
    index = _topmost(masks, shape)
    fills = _fills(rng, len(regions))
    if objects.masks:
        fills += [_fill(rng, fills)] * len(objects.masks)
    picture = noise.solid(shape, (0.5, 0.5, 0.5))
    for number, (mask, fill) in enumerate(zip(masks, fills, strict=True)):
        _paint(rng, picture, fill, mask, objects.lit if number >= len(regions) else None)
    light, edge = _other(rng, tuple(LIGHTS), []), _other(rng, QUESTIONS["edge"], [])
    picture = _photograph(rng, picture, light, edge == "soft")
    answers = _answers(fills, index, len(regions), objects)
    answers |= {"layout": name, "light": light, "edge": edge}
    return AttributePicture(noise.to_bytes(picture), answers, _cells(fills, index))


def _fills(rng: np.random.Generator, count: int) -> list[Fill]:
    fills: list[Fill] = []
    while len(fills) < count:
        fills.append(_fill(rng, fills))
    return fills


def _fill(rng: np.random.Generator, others: list[Fill]) -> Fill:
    """A random filling whose texture and colour no other region has."""
    kind = _other(rng, KINDS, [fill.texture for fill in others])
    colour = _other(rng, tuple(COLOURS), [fill.colour for fill in others])
    angle = _other(rng, tuple(ANGLES), []) if kind in textures.ORIENTED else "none"
    if kind == "tongues":
        angle = "vertical"
    scale = "none" if kind in textures.EVEN else _other(rng, tuple(SCALES), [])
    deep = kind not in textures.EVEN and rng.random() < 0.25
    return Fill(kind, colour, angle, scale, "receding" if deep else "level")


def _other(rng: np.random.Generator, names: tuple[str, ...], taken: list[str]) -> str:
    free = [name for name in names if name not in taken]
    return free[int(rng.integers(len(free)))]


def _paint(
    rng: np.random.Generator, picture: Picture, fill: Fill, mask: Plane, lit: Plane | None
) -> None:
    """Fill the masked part of the picture in place."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    part = mask[window]
    shape = (max(part.shape[0], 8), max(part.shape[1], 8))
    filled = _texture(rng, fill, shape, mask.shape[0] / 256)[: part.shape[0], : part.shape[1]]
    if lit is not None:
        filled = noise.shade(filled, lit[window])
    below = np.ascontiguousarray(picture[window])
    picture[window] = noise.mix(below, np.ascontiguousarray(filled), part)


def _texture(rng: np.random.Generator, fill: Fill, shape: Shape, zoom: float) -> Picture:
    scale = SCALES.get(fill.scale, 14.0) * rng.uniform(0.8, 1.25) * zoom
    angle = ANGLES.get(fill.angle, 0.0) + rng.uniform(-12, 12)
    plane = textures.draw(rng, fill.texture, shape, scale, angle)
    if fill.depth == "receding":
        plane = noise.receding(plane, rng.uniform(1.5, 4))
    if fill.texture not in ("tongues", "leaves", "grid") and rng.random() < 0.4:
        plane = 1 - plane
    return noise.ramp(plane, _shades(rng, COLOURS[fill.colour]))


def _shades(rng: np.random.Generator, middle: Colour) -> tuple[Colour, Colour]:
    """A darker and a lighter shade of one named colour."""
    hue = middle[0] + rng.uniform(-0.015, 0.015)
    saturation = middle[1] * rng.uniform(0.8, 1.15)
    value = middle[2] * rng.uniform(0.9, 1.1)
    contrast = rng.uniform(0.18, 0.55)
    twist = rng.uniform(-0.03, 0.03)
    dark = noise.hsv(hue - twist, min(1, saturation * 1.1), value * (1 - contrast))
    light = noise.hsv(hue + twist, min(1, saturation * (1 - contrast / 2)), value + contrast * 0.35)
    return dark, light


def _photograph(rng: np.random.Generator, picture: Picture, light: str, soft: bool) -> Picture:
    """Uneven light, blur and sensor noise over the finished picture."""
    shape = (picture.shape[0], picture.shape[1])
    zoom = shape[0] / 256
    gain, haze = LIGHTS[light]
    gain *= rng.uniform(0.92, 1.1)
    if rng.random() < 0.6:
        centre = (rng.uniform(0, shape[1]), rng.uniform(0, shape[0]))
        lamp = noise.glow(shape, centre, rng.uniform(0.6, 1.3) * shape[0])
        picture = noise.shade(picture, np.float32(gain) * (0.75 + 0.35 * lamp))
    else:
        picture = picture * np.float32(gain)
    if soft:
        picture = noise.blur(picture, rng.uniform(1.6, 2.6) * zoom)
    elif rng.random() < 0.3:
        picture = noise.blur(picture, rng.uniform(0.4, 0.7) * zoom)
    amount = np.float32(rng.uniform(0, 0.06) if rng.random() < 0.5 else 0.01)
    speckle = noise.white(rng, shape) * amount + np.float32(haze - amount / 2)
    return np.asarray(cv2.add(picture, cv2.merge([speckle] * 3)), np.float32)


def _topmost(masks: list[Plane], shape: Shape) -> NDArray[np.uint8]:
    """The number of the mask that lies on top at every pixel."""
    index = np.zeros(shape, np.uint8)
    for number, mask in enumerate(masks):
        index[mask > 0.5] = number
    return index


def _answers(
    fills: list[Fill], index: NDArray[np.uint8], regions: int, objects: layout.Objects
) -> dict[str, str]:
    areas = np.bincount(index.ravel(), minlength=len(fills))[:regions]
    order = np.argsort(-areas, kind="stable")
    main = fills[order[0]]
    second = fills[order[1]] if regions > 1 else None
    inner = fills[regions] if objects.masks else None
    third = index.shape[0] // 6
    return {
        "colour": main.colour,
        "texture": main.texture,
        "angle": main.angle,
        "scale": main.scale,
        "depth": main.depth,
        "second": second.colour if second else "none",
        "beside": second.texture if second else "none",
        "top": fills[int(np.bincount(index[:third].ravel()).argmax())].texture,
        "bottom": fills[int(np.bincount(index[-third:].ravel()).argmax())].texture,
        "object": objects.name,
        "inside": inner.texture if inner else "none",
        "paint": inner.colour if inner else "none",
        "where": objects.where,
        "count": QUESTIONS["count"][len(objects.masks)],
    }


def _cells(fills: list[Fill], index: NDArray[np.uint8]) -> dict[str, NDArray[np.int64]]:
    """What fills most of each of the 4 x 4 cells."""
    step = index.shape[0] // 4
    blocks = index[: 4 * step, : 4 * step].reshape(4, step, 4, step).swapaxes(1, 2)
    most = np.array(
        [[np.bincount(blocks[i, j].ravel()).argmax() for j in range(4)] for i in range(4)]
    )
    return {
        word: np.array([names.index(getattr(fill, word)) for fill in fills], np.int64)[most]
        for word, names in CELLS.items()
    }
