"""How far apart copies and different pictures lie, and what it costs to compare all of them.

    python benchmarks/duplicates.py [FOLDER]

Scenes of the demo, or the pictures of FOLDER (only read). Every 64-bit and 256-bit hash is compared
with every other; copies are made of the first ones. Prints the bits in which they differ, and the
seconds that `near_groups` takes for 100,000 hashes. Exit code 1 when two different pictures are
taken for one, or more than 5% of a kind of copy (but for trimmed ones) is missed.
"""

import argparse
import io
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from pocketvlm.demo.scenes import write_scenes
from pocketvlm.duplicates import BITS, NEAR, near_groups
from pocketvlm.pictures import open_picture
from pocketvlm.progress import track

SCENES, COPIED, MANY = 600, 120, 100_000
MISSED = 0.05

Altered = Callable[[Image.Image], Image.Image]


def poor(picture: Image.Image) -> Image.Image:
    """As a JPEG of quality 50."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=50)
    return Image.open(buffer).convert("RGB")


def trimmed(share: float) -> Altered:
    """Without so much of each side."""

    def trim(picture: Image.Image) -> Image.Image:
        width, height = picture.size
        left, top = int(width * share), int(height * share)
        return picture.crop((left, top, width - left, height - top))

    return trim


COPIES: dict[str, Altered] = {
    "quality 50": poor,
    "half the size": lambda one: one.resize((one.width // 2, one.height // 2)),
    "a quarter brighter": lambda one: ImageEnhance.Brightness(one).enhance(1.25),
    "more contrast": lambda one: ImageEnhance.Contrast(one).enhance(1.3),
    "grey": lambda one: one.convert("L").convert("RGB"),
    "trimmed by 1%": trimmed(0.01),
    "trimmed by 3%": trimmed(0.03),
    "trimmed by 8%": trimmed(0.08),
    "mirrored": lambda one: one.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}
TOLERATED = ("trimmed by 3%", "trimmed by 8%", "mirrored")
"""Not promised to be found."""


def hashed(pictures: list[Image.Image], side: int) -> NDArray[np.uint8]:
    """Perceptual hashes of side x side bits, shape (pictures, bytes)."""
    rows = [imagehash.phash(one, hash_size=side).hash for one in pictures]
    return np.packbits(np.array(rows).reshape(len(pictures), -1), axis=1)


def compare(pictures: list[Image.Image], side: int) -> bool:
    """Print a table for one size of hash; whether the house's rule parts copies from others."""
    bits, limit = side * side, NEAR * side * side // BITS
    looks = hashed(pictures, side)
    apart = np.concatenate(
        [
            np.bitwise_count(looks[at + 1 :] ^ looks[at]).sum(axis=1)
            for at in track(range(len(looks) - 1), f"Comparing {bits} bits", len(looks) - 1)
        ]
    )
    wrong = int((apart <= limit).sum())
    print(
        f"\n{bits} bits, alike at {limit} or fewer: of {len(apart):,} pairs of different pictures"
    )
    print(f"  the closest differ in {apart.min()} bits, {wrong} pairs would be taken for one")
    sound = not wrong
    for name, alter in COPIES.items():
        copies = hashed([alter(one) for one in pictures[:COPIED]], side)
        away = np.bitwise_count(copies ^ looks[:COPIED]).sum(axis=1)
        found = float((away <= limit).mean())
        print(
            f"  {name:20} median {np.median(away):5.0f}, worst {away.max():3}: {found:4.0%} found"
        )
        sound &= name in TOLERATED or found >= 1 - MISSED
    return sound


def timed() -> None:
    """Seconds for many hashes."""
    looks = [secrets.token_hex(BITS // 8) for _ in range(MANY)]
    started = time.perf_counter()
    near_groups(looks)
    print(f"\n{MANY:,} hashes, every pair compared: {time.perf_counter() - started:.1f} s")


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path)
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        if folder is None:
            folder = Path(temporary) / "scenes"
            write_scenes(folder, Path(temporary) / "truth.jsonl", SCENES, seed=0)
        paths = sorted(path for path in folder.iterdir() if path.is_file())
        pictures = [
            Image.fromarray(open_picture(path)) for path in track(paths, "Reading", len(paths))
        ]
    compare(pictures, 8)
    sound = compare(pictures, 16)
    timed()
    print("\nthe rule of 256 bits parts them" if sound else "\nthe rule of 256 bits FAILS")
    return not sound


if __name__ == "__main__":
    sys.exit(main())
