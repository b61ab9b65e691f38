"""The splits as the dataset holds them, and answers as the trainer takes them."""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pocketvlm.dataset import read_split
from pocketvlm.errors import PocketError
from pocketvlm.pictures import Bitmap
from pocketvlm.project import Project
from pocketvlm.student.student import Student

IGNORED = -100
"""Label of positions without loss (torch's cross entropy)."""


class Split:
    """Bitmaps and labels of one split; only paths and labels are kept in memory."""

    def __init__(self, project: Project, name: str) -> None:
        self.name = name
        folder = project.workspace.dataset
        lines = list(read_split(project, name))
        self.rows = [(folder / line.image, line.label) for line in lines]
        least = project.config.prepare.min_confidence
        self.confident = [line.confidence is None or line.confidence >= least for line in lines]
        unknown = Counter(label for _, label in self.rows if label not in project.contract.labels)
        if unknown:
            raise PocketError(
                f"{project.workspace.split(name)} holds labels outside task.labels: "
                f"{dict(unknown)}; correct them or run `pocketvlm prepare` again"
            )
        self.side = project.contract.side

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: int) -> tuple[Bitmap, str]:
        path, label = self.rows[at]
        return read_bitmap(path, self.side), label

    @property
    def labels(self) -> list[str]:
        """The label of every picture."""
        return [label for _, label in self.rows]


def read_bitmap(path: Path, side: int) -> Bitmap:
    """A device bitmap from the dataset; PocketError when it is missing or has another side."""
    try:
        with Image.open(path) as picture:
            bitmap = np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise PocketError(f"{path} cannot be read ({error}): run `pocketvlm prepare`") from None
    if bitmap.shape != (side, side, 3):
        raise PocketError(
            f"{path} is {bitmap.shape[1]}x{bitmap.shape[0]}, the device's bitmap is {side}x{side}: "
            "run `pocketvlm prepare` again"
        )
    return bitmap


class Collator:
    """Features and answers to one left-padded batch: every answer lies in the tail, so that
    logits are computed for the tail alone."""

    def __init__(self, student: Student) -> None:
        self.prompt = student.prompt
        self.pad = student.end  # masked out; SmolVLM's own pad id lies outside its vocabulary
        self.answers = {label: student.answer_ids(label) for label in student.contract.labels}
        self.tail = max(len(ids) for ids in self.answers.values())

    def __call__(self, examples: list[tuple[Tensor, str]]) -> dict[str, Tensor]:
        """`features` (n, tokens, hidden), `ids` and `mask` (n, length), `labels` (n, tail)."""
        answers = [self.answers[label] for _, label in examples]
        longest = max(map(len, answers))
        ids, mask, labels = [], [], []
        for answer in answers:
            short = longest - len(answer)
            ids.append([self.pad] * short + self.prompt + answer)
            mask.append([0] * short + [1] * (len(self.prompt) + len(answer)))
            labels.append([IGNORED] * (self.tail - len(answer)) + answer)
        return {
            "features": torch.stack([features for features, _ in examples]),
            "ids": torch.tensor(ids),
            "mask": torch.tensor(mask),
            "labels": torch.tensor(labels)[:, self.tail - longest :],
        }
