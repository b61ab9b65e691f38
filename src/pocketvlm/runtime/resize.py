"""Whether the runtime resizes a picture on its way into the tower, and by which filter.

llama.cpp does not show its pixels, so the picture is prepared with each candidate and the
embeddings are compared: the nearest names the filter.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocketvlm.pictures import Bitmap, bilinear, pillow

if TYPE_CHECKING:
    from pocketvlm.runtime.llama import Runtime

PREPROCESSED = "clip.vision.preproc_image_size"
"""The longer side to which llama.cpp enlarges a picture before it cuts tiles of image_size."""


FILTERS: dict[str, Callable[[Bitmap, int, int], Bitmap]] = {
    "nearest": pillow(Image.Resampling.NEAREST),
    "bilinear": bilinear,
    "bilinear, antialiased": pillow(Image.Resampling.BILINEAR),
    "bicubic, antialiased": pillow(Image.Resampling.BICUBIC),
    "Lanczos, antialiased": pillow(Image.Resampling.LANCZOS),
    "area": pillow(Image.Resampling.BOX),
}


def set_preprocessed_side(vision: Path, side: int) -> None:
    """Write another `preproc_image_size` into a vision file, in place."""
    field = gguf.GGUFReader(vision, "r+").fields[PREPROCESSED]
    field.parts[field.data[0]][0] = side


def preprocessed_side(vision: Path) -> int | None:
    """The file's `preproc_image_size`; None when it has none."""
    field = gguf.GGUFReader(vision).fields.get(PREPROCESSED)
    return None if field is None else int(field.contents())


def distances(reference: "Runtime", picture: Bitmap, seen: NDArray[np.float32]) -> dict[str, float]:
    """How far each filter's bitmap is from what the runtime made of `picture`, nearest first.

    `seen` are the overview's embeddings (tile tokens, hidden); `reference` takes bitmaps of the
    tower's side as they are. Distances are relative to the embeddings' deviation (root mean
    square)."""
    side = reference.side
    found = {}
    for name, resize in FILTERS.items():
        made = reference.embeddings(resize(picture, side, side))[-1]
        found[name] = float(np.sqrt(np.mean((made - seen) ** 2)) / seen.std())
    return dict(sorted(found.items(), key=lambda pair: pair[1]))
