"""Procedural scenes of the five natural elements: each is drawn for its label, so truth is known.

Colour alone does not tell the elements apart: palettes are shared between them, pictures are toned,
cast, exposed and faded alike, and many show a second element that takes the smaller part.
"""

import hashlib
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pocketvlm.demo import noise
from pocketvlm.demo.motifs import fire, land, machines, metal, trees, water, wood
from pocketvlm.demo.motifs.common import Motif, zoom
from pocketvlm.demo.noise import Picture
from pocketvlm.demo.worker import become_worker
from pocketvlm.progress import track
from pocketvlm.workspace import atomic_folder, write_rows

ELEMENTS = ("water", "land", "fire", "wood", "metal")
"""The labels, in the order of the default task."""
MOTIFS: dict[str, dict[Motif, float]] = {
    "water": water.MOTIFS,
    "land": land.MOTIFS,
    "fire": fire.MOTIFS,
    "wood": wood.MOTIFS | trees.MOTIFS,
    "metal": metal.MOTIFS | machines.MOTIFS,
}
NEAR: dict[str, tuple[Motif, ...]] = {
    "water": (water.swell,),
    "land": (land.rockface, land.cobbles, land.gravel),
    "wood": (wood.planks, wood.bark, trees.foliage),
    "metal": (metal.sheet, metal.plates, metal.grille),
}
"""Motifs without a horizon, that may lie in front of another element."""


def draw(
    label: str, rng: np.random.Generator, side: int = 256, aspect: float = 1.0
) -> NDArray[np.uint8]:
    """Draw a scene of one of `ELEMENTS` as RGB bytes; `side` is the longer side in pixels, `aspect`
    the width divided by the height."""
    return paint(rng, label, choose_motif(rng, label), side, aspect)


def choose_motif(rng: np.random.Generator, label: str) -> Motif:
    """One of an element's motifs, each with its share."""
    motifs = MOTIFS[label]
    shares = np.cumsum(list(motifs.values()))
    return list(motifs)[int(np.searchsorted(shares, rng.random() * shares[-1]))]


def paint(
    rng: np.random.Generator, label: str, motif: Motif, side: int, aspect: float
) -> NDArray[np.uint8]:
    """Draw one motif of an element, sometimes with another element in front, and photograph it."""
    shape = (side, round(side * aspect)) if aspect <= 1 else (round(side / aspect), side)
    picture = motif(rng, shape)
    if rng.random() < 0.12:
        picture = _foreground(rng, picture, label)
    return noise.to_bytes(_photograph(rng, picture))


def _foreground(rng: np.random.Generator, picture: Picture, label: str) -> Picture:
    """A strip of another element in front, at the foot or at one side: a seventh to a quarter."""
    shape = (picture.shape[0], picture.shape[1])
    others = [element for element in NEAR if element != label]
    motifs = NEAR[others[int(rng.integers(len(others)))]]
    other = motifs[int(rng.integers(len(motifs)))](rng, shape)
    share = rng.uniform(0.13, 0.28)
    x, y = noise.coordinates(shape)
    rough = np.float32(rng.choice([0.0, 14.0]) * zoom(shape))
    if rng.random() < 0.6:
        edge = np.float32(shape[0] * (1 - share)) + rough * noise.curve(rng, shape[1], 40)
        mask = noise.clip(y - edge)
    else:
        edge = np.float32(shape[1] * share) - rough * noise.curve(rng, shape[0], 40)
        mask = noise.clip(edge[:, None] - x)
        mask = np.ascontiguousarray(mask[:, ::-1]) if rng.random() < 0.5 else mask
    shadow = noise.clip(1 - noise.halo(mask, 8 * zoom(shape)) * np.float32(0.6))
    return noise.mix(noise.shade(picture, shadow), other, mask)


def _photograph(rng: np.random.Generator, picture: Picture) -> Picture:
    """What light, weather, film and camera do to a scene, whatever it shows."""
    shape = (picture.shape[0], picture.shape[1])
    picture = _expose(rng, np.clip(picture, 0, 1))
    picture = _tone(rng, picture)
    if rng.random() < 0.15:
        thick = noise.clip(
            np.float32(rng.uniform(0.1, 0.4)) + 0.2 * (noise.value_noise(rng, shape, 120) - 0.5)
        )
        grey = tuple(float(c) for c in rng.uniform(0.45, 0.8) * rng.uniform(0.9, 1.1, 3))
        picture = noise.mix(picture, noise.solid(shape, (grey[0], grey[1], grey[2])), thick)
    if rng.random() < 0.3:
        middle = (shape[1] * rng.uniform(0.3, 0.7), shape[0] * rng.uniform(0.3, 0.7))
        corner = noise.glow(shape, middle, max(shape) * rng.uniform(0.5, 0.8))
        picture = noise.shade(picture, 0.45 + 0.6 * corner)
    if rng.random() < 0.25:
        picture = noise.blur(picture, rng.uniform(0.4, 1.1) * zoom(shape))
    if rng.random() < 0.6:
        amount = np.float32(rng.uniform(0.01, 0.09))
        grain = (noise.white(rng, shape) - np.float32(0.5)) * amount
        picture = np.asarray(cv2.add(picture, cv2.merge([grain] * 3)), np.float32)
    return np.asarray(picture, np.float32)


def _expose(rng: np.random.Generator, picture: Picture) -> Picture:
    """Pull the mean brightness part of the way to one drawn at random, and the contrast too."""
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32)
    mean = float(np.clip(grey.mean(), 0.03, 0.97))
    target = mean**0.85 * rng.uniform(0.2, 0.62) ** 0.15
    gamma = float(np.clip(np.log(target) / np.log(mean), 0.45, 2.2))
    picture = np.asarray(cv2.pow(picture, gamma), np.float32)
    spread = float(picture.std())
    wanted = spread**0.8 * rng.uniform(0.13, 0.28) ** 0.2
    gain = np.float32(np.clip(wanted / max(spread, 0.02), 0.6, 1.35))
    middle = np.float32(picture.mean())
    return np.asarray((picture - middle) * gain + middle, np.float32)


def _tone(rng: np.random.Generator, picture: Picture) -> Picture:
    """Colours as they are, cast, or gone: black and white, sepia, blue, green."""
    kind = rng.random()
    grey = noise.clip(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32))
    if kind < 0.03:
        ink = noise.hsv(rng.random(), rng.uniform(0, 0.4), rng.uniform(0.45, 0.6))
        return noise.ramp(grey, ((0.02, 0.02, 0.02), ink, (0.98, 0.97, 0.95)))
    flat = np.asarray(cv2.merge([grey] * 3), np.float32)
    keep = np.float32(rng.uniform(0.8, 1.1))
    picture = flat + (picture - flat) * keep
    if kind < 0.15:
        cast = rng.uniform(0.8, 1.2, 3).astype(np.float32)
        picture = picture * (cast / cast.mean())
    return np.asarray(picture, np.float32)


def write_scenes(folder: Path, truth: Path, count: int, seed: int) -> None:
    """Write `count` JPEG scenes of varied sizes into `folder`, the same number of each element.

    `truth`, which must lie outside `folder`, gets one JSON line a picture: `sha256` of the file's
    bytes, `file` and `label`. Names say nothing about labels. The same seed gives the same files.
    """
    if folder.resolve() in truth.resolve().parents:
        raise ValueError(f"{truth} lies among the pictures of {folder}: keep the truth elsewhere")
    labels = [ELEMENTS[i % len(ELEMENTS)] for i in range(count)]
    np.random.default_rng(seed).shuffle(labels)
    jobs = [(seed, number, label) for number, label in enumerate(labels)]
    rows = []
    with (
        atomic_folder(folder) as draft,
        get_context("spawn").Pool(initializer=become_worker) as pool,
    ):
        scenes = pool.imap(_scene, jobs, chunksize=8)
        for (_, number, label), data in zip(
            jobs, track(scenes, "drawing scenes", count), strict=True
        ):
            name = f"scene-{number:05d}.jpg"
            (draft / name).write_bytes(data)
            rows.append({"sha256": hashlib.sha256(data).hexdigest(), "file": name, "label": label})
    write_rows(truth, rows)


def _scene(job: tuple[int, int, str]) -> bytes:
    """A scene as JPEG; its generator depends on seed and number alone."""
    seed, number, label = job
    rng = np.random.default_rng([seed, number])
    return _jpeg(draw_any_size(label, rng), int(rng.integers(90, 95)))


def draw_any_size(label: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A scene of a size drawn at random."""
    side, aspect = any_size(rng)
    return draw(label, rng, side, aspect)


def any_size(rng: np.random.Generator) -> tuple[int, float]:
    """A longer side of 224 to 384 pixels and an aspect: upright, square or lying."""
    return int(rng.integers(224, 385)), float(rng.choice([0.75, 1.0, 1.0, 4 / 3, 1.5]))


def _jpeg(rgb: NDArray[np.uint8], quality: int) -> bytes:
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
