"""The control `near-duplicates`: judged pictures that look like one the student was trained on.

`prepare` keeps alike originals in one split. This control looks at the bitmaps, and so also at
splits that were made elsewhere."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pocketvlm.dataset import read_split
from pocketvlm.duplicates import near_groups, perceptual_hash
from pocketvlm.parallel import in_order
from pocketvlm.pictures import Bitmap, open_picture
from pocketvlm.progress import track
from pocketvlm.project import Project
from pocketvlm.validate.controls.control import Control, Judged

NAME = "near-duplicates"

MEANS = (
    "Part of the accuracy is memory: without the pictures that train or val also hold, it falls "
    "out of its own interval. Let `pocketvlm prepare` make the splits, which keeps alike pictures "
    "together, or take the copies out of test."
)


def near_duplicates(project: Project, paths: Sequence[Path], judged: Judged) -> Control:
    """Accuracy without the pictures that have a near twin in train or val; `paths` are the bitmaps
    of what was judged, in the same order."""
    return without(have_twins(project, looks(paths, "Looking at the judged pictures")), judged)


def without(twins: Sequence[bool] | None, judged: Judged) -> Control:
    """The same where it is known of each picture whether it has a twin; None where no training is
    known."""
    if twins is None:
        words = "The training's pictures are not known here: nothing was compared."
        return Control(NAME, words, None, None, None, MEANS)
    others = [at for at, twin in enumerate(twins) if not twin]
    count, low = judged.n - len(others), judged.interval[0]
    if not count:
        words = f"None of the {judged.n} pictures looks like one of train or val."
        return Control(NAME, words, judged.accuracy, low, True, MEANS)
    found = f"{count} of {judged.n} pictures {'looks' if count == 1 else 'look'} like one of "
    if not others:
        words = f"{found}train or val: no picture is left that the student did not see."
        return Control(NAME, words, None, low, False, MEANS)
    rest = judged.part(others)
    words = f"{found}train or val. With them it is right on {judged}, without them on {rest}."
    return Control(NAME, words, rest.accuracy, low, rest.accuracy >= low, MEANS)


def have_twins(project: Project, hashes: Sequence[str | None]) -> list[bool]:
    """For each perceptual hash (`look`) whether a bitmap of train or val is so near that it must be
    the same picture, or is like one that is."""
    folder = project.workspace.dataset
    seen = [folder / line.image for name in ("train", "val") for line in read_split(project, name)]
    groups = near_groups([*looks(seen), *hashes])
    return [first < len(seen) for first in groups[len(seen) :]]


def looks(
    paths: Sequence[Path], description: str = "Looking for near-duplicates"
) -> list[str | None]:
    """`look` of many bitmaps' files."""
    found = in_order(lambda path: look(open_picture(path)), paths)
    return [one for _, one in track(found, description, len(paths))]


def look(bitmap: Bitmap) -> str | None:
    """A device bitmap's perceptual hash without its black border: of 500 photographs cut to 6:1,
    the borders alone make 22 pairs alike, and none without them."""
    shown = bitmap.max(axis=2) > 0
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    if not len(rows):
        return None
    inside = bitmap[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return perceptual_hash(np.ascontiguousarray(inside))
