"""What torch makes of a sample of pictures, kept for comparing it with llama.cpp."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketvlm.dataset import Line, read_split
from pocketvlm.errors import PocketError
from pocketvlm.layout import Layout
from pocketvlm.pictures import Bitmap
from pocketvlm.progress import track
from pocketvlm.project import ORIGINALS, Project
from pocketvlm.workspace import read_record

if TYPE_CHECKING:
    from pocketvlm.student import Student
    from pocketvlm.student.student import Choice

Floats = NDArray[np.float32]

ASKED = 16
"""Pictures a forward pass."""


@dataclass(frozen=True)
class Picture:
    """One picture of the sample."""

    image: str
    """Its bitmap, relative to dataset/."""
    label: str
    original: Path | None
    """The file that the bitmap was prepared from, where it is still there."""


@dataclass(frozen=True)
class Taught:
    """What the student as trained makes of one picture."""

    picture: Picture
    bitmap: Bitmap
    layout: Layout
    features: Floats
    """Of the tile, (tile tokens, hidden)."""
    rounded: Floats
    """The same from a tower that rounds as llama.cpp's does."""
    embeddings: Floats
    """Of the whole prompt, (length, hidden)."""
    logits: Floats
    """Of the first token, (vocabulary,)."""
    choices: "list[Choice]"
    """Every token of the answer with its end token."""
    answer: str

    @property
    def image(self) -> str:
        """The picture's name."""
        return self.picture.image

    @property
    def original(self) -> Path | None:
        """The file it was prepared from."""
        return self.picture.original


def sample(project: Project, count: int) -> list[Picture]:
    """Up to `count` pictures: of test first, then val, then train. PocketError when there is none.

    Parity is no matter of generalisation, so trained pictures serve as well."""
    lines = (line for split in ("test", "val", "train") for line in read_split(project, split))
    names = project.workspace.dataset / ORIGINALS
    originals: dict[str, str] = read_record(names) if names.is_file() else {}
    pictures = [_picture(project, line, originals) for line in islice(lines, count)]
    if not pictures:
        raise PocketError("the dataset holds no picture: collect more and run `pocketvlm prepare`")
    return pictures


def _picture(project: Project, line: Line, originals: dict[str, str]) -> Picture:
    name = originals.get(line.image)
    path = project.workspace.root / str(name) if name else None
    return Picture(line.image, line.label, path if path and path.is_file() else None)


def layout_recorded(project: Project) -> bool:
    """Whether the layout of the training is known; otherwise the present build was asked."""
    from pocketvlm.student.load import recorded

    space = project.workspace
    made = space.adapter if space.adapter.is_dir() else space.merged
    return recorded(project, made) is not None


def teach(project: Project, pictures: Sequence[Picture]) -> list[Taught]:
    """Ask the student in torch, base and adapter; where nothing was trained here, the merged
    model."""
    from pocketvlm.student import load_adapter, load_merged
    from pocketvlm.student.data import read_bitmap

    trained = (project.workspace.adapter / "adapter_config.json").is_file()
    student = load_adapter(project) if trained else load_merged(project)
    taught: list[Taught] = []
    starts = range(0, len(pictures), ASKED)
    for start in track(starts, "Asking torch", len(starts)):
        part = pictures[start : start + ASKED]
        bitmaps = [
            read_bitmap(project.workspace.dataset / picture.image, project.contract.side)
            for picture in part
        ]
        taught += _ask(student, part, bitmaps)
    return taught


def _ask(
    student: "Student", pictures: Sequence[Picture], bitmaps: Sequence[Bitmap]
) -> list[Taught]:
    features, embeddings, logits = student.look(bitmaps)
    choices = student.choices(bitmaps)
    rows = zip(
        pictures,
        bitmaps,
        features,
        student.rounded(bitmaps),
        embeddings,
        logits,
        choices,
        [student.text([choice.token for choice in row]) for row in choices],
        strict=True,
    )
    return [Taught(picture, bitmap, student.layout, *outputs) for picture, bitmap, *outputs in rows]
