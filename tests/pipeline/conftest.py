"""Pictures for the pipeline's tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def draw_pictures(folder: Path, count: int) -> None:
    """Write `count` different noisy pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(count):
        pixels = np.random.default_rng(at).integers(0, 255, (80, 100, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{at}.png")
