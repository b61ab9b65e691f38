"""What `inspect` concludes from a file's keys is what llama.cpp does with the file."""

from pathlib import Path

import numpy as np
import pytest

from pocketvlm.export.inspect import inspect
from pocketvlm.layout import runs
from pocketvlm.runtime import Runtime
from pocketvlm.sections import MARKER
from tests.export.remade import remade


@pytest.mark.parametrize("enlarged", [64, 128, 192, 256, 384, 512])
def test_tiles_and_image_tokens_are_those_of_the_runtime(
    pair: tuple[Path, Path], tmp_path: Path, enlarged: int
) -> None:
    key = "clip.vision.preproc_image_size"
    vision = remade(pair[1], tmp_path / "mmproj.gguf", {key: enlarged})
    said = inspect([vision])["files"][0]["vision"]
    with Runtime(pair[0], vision, stock=True, threads=1) as runtime:
        ids = runtime.ids(MARKER, np.zeros((128, 128, 3), np.uint8))
    tiles = [run["picture"] for run in runs(ids, runtime.image_id) if "picture" in run]
    assert said["tiles"] == len(tiles)
    assert said["tile_tokens"] == tiles[0]
    assert said["image_tokens"] == sum(tiles)
