"""What the frozen tower says of every picture: computed once, then read from the disk."""

import shutil
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pocketvlm.errors import PocketError
from pocketvlm.progress import track
from pocketvlm.sections import Train
from pocketvlm.student.data import Split, read_bitmap
from pocketvlm.student.inputs import pixel_values, tile_tokens, tower_states
from pocketvlm.student.student import BATCH, Student
from pocketvlm.workspace import atomic_file


class Lessons(Dataset[tuple[Tensor, str]]):
    """Features and label of every picture of a split; only the file's pages in use are in memory.

    With `train.mirror`, half of the training pictures, anew each time, are turned left to right.
    Kept are the connector's features (tile tokens, text hidden), or, for a connector that learns
    (`train.connector`), the tower's (patches, vision hidden), several times larger."""

    def __init__(self, student: Student, split: Split, folder: Path, config: Train) -> None:
        self.labels = split.labels
        self.views = 2 if config.mirror and split.name == "train" else 1
        self.connected = not config.connector
        dtype = student.model.dtype
        path = folder / f"features-{split.name}.{str(dtype).removeprefix('torch.')}"
        shape = (len(split), self.views, *self._shape(student))
        size = torch.Size(shape).numel()
        if not path.is_file() or path.stat().st_size != size * dtype.itemsize:
            self._write(student, split, path, size * dtype.itemsize)
        self.features = torch.from_file(str(path), size=size, dtype=dtype).view(shape)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, at: int) -> tuple[Tensor, str]:
        view = int(torch.rand(()) < 0.5) if self.views == 2 else 0
        return self.features[at, view], self.labels[at]

    def _shape(self, student: Student) -> tuple[int, int]:
        side, config = student.contract.side, student.model.config
        if self.connected:
            return tile_tokens(student.model, side), config.text_config.hidden_size
        vision = config.vision_config
        return (side // vision.patch_size) ** 2, vision.hidden_size

    def _write(self, student: Student, split: Split, path: Path, needed: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{path.name}.*"):  # by a look that was killed
            left.unlink()
        free = shutil.disk_usage(path.parent).free
        if needed > free:
            raise PocketError(
                f"training keeps {needed / 1e9:.1f} GB of features in {path.parent} and "
                f"{free / 1e9:.1f} GB are free: make room there"
            )
        with atomic_file(path) as partial, partial.open("wb") as file:
            self._see(student, split, file)

    @torch.inference_mode()
    def _see(self, student: Student, split: Split, file: BinaryIO) -> None:
        """Append the features of every picture; a mirrored view follows the picture itself."""
        paths = [path for path, _ in split.rows]
        step = BATCH // self.views
        starts = range(0, len(paths), step)
        for start in track(starts, f"Looking at {split.name}", len(starts)):
            bitmaps = [read_bitmap(path, split.side) for path in paths[start : start + step]]
            if self.views == 2:
                bitmaps = [view for bitmap in bitmaps for view in (bitmap, bitmap[:, ::-1])]
            states = tower_states(student.model, pixel_values(bitmaps).to(student.model.device))
            features = student.model.model.connector(states) if self.connected else states
            file.write(features.contiguous().cpu().view(torch.uint8).numpy().data)
