"""The splits as the dataset holds them, and batches as the trainer takes them."""

from collections import Counter
from pathlib import Path
from sys import intern

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
        self.folder = project.workspace.dataset
        self.side = project.contract.side
        least = project.config.prepare.min_confidence
        self.images, self.labels, self.confident = list[str](), list[str](), list[bool]()
        for line in read_split(project, name):
            self.images.append(line.image)
            self.labels.append(intern(line.label))
            self.confident.append(line.confidence is None or line.confidence >= least)
        counts = Counter(self.labels)
        if unknown := {n: counts[n] for n in counts if n not in project.contract.labels}:
            raise PocketError(
                f"{project.workspace.split(name)} holds labels outside task.labels: "
                f"{unknown}; correct them or run `pocketvlm prepare` again"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, at: int) -> tuple[Bitmap, str]:
        return read_bitmap(self.path(at), self.side), self.labels[at]

    def path(self, at: int) -> Path:
        """The file of one picture."""
        return self.folder / self.images[at]


def read_bitmap(path: Path, side: int) -> Bitmap:
    """A device bitmap from the dataset; PocketError when it is missing or has another side."""
    try:
        with Image.open(path) as picture:
            bitmap = np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise unreadable(path, error) from None
    if bitmap.shape != (side, side, 3):
        raise PocketError(
            f"{path} is {bitmap.shape[1]}x{bitmap.shape[0]}, the device's bitmap is {side}x{side}: "
            "run `pocketvlm prepare` again"
        )
    return bitmap


def unreadable(path: Path, error: OSError) -> PocketError:
    """What is said of a bitmap that is missing or damaged."""
    return PocketError(f"{path} cannot be read ({error}): run `pocketvlm prepare`")


class Collator:
    """What is seen and the answers to one left-padded batch: every answer lies in the tail, so
    that logits are computed for the tail alone."""

    def __init__(self, student: Student) -> None:
        self.prompt = student.prompt
        self.pad = student.end  # masked out; SmolVLM's own pad id lies outside its vocabulary
        self.answers = {label: student.answer_ids(label) for label in student.contract.labels}
        self.tail = max(len(ids) for ids in self.answers.values())

    def __call__(self, examples: list[tuple[Tensor, str]]) -> dict[str, Tensor]:
        """`seen` (n, ...), `ids` and `mask` (n, length), `labels` (n, tail); nothing of none: the
        last batch of an epoch may be too small for every process."""
        if not examples:
            return {}
        answers = [self.answers[label] for _, label in examples]
        longest = max(map(len, answers))
        ids, mask, labels = [], [], []
        for answer in answers:
            short = longest - len(answer)
            ids.append([self.pad] * short + self.prompt + answer)
            mask.append([0] * short + [1] * (len(self.prompt) + len(answer)))
            labels.append([IGNORED] * (self.tail - len(answer)) + answer)
        return {
            "seen": torch.stack([seen for seen, _ in examples]),
            "ids": torch.tensor(ids),
            "mask": torch.tensor(mask),
            "labels": torch.tensor(labels)[:, self.tail - longest :],
        }
