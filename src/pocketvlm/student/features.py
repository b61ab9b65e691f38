"""What a tower that does not learn says of every picture: computed once, then read from the disk.

A picture is known by the bytes of its bitmap, the tower by its weights: rows outlive a change of
labels, prompt, rank or rate, and of the data set only what is new is looked at."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pocketvlm.errors import PocketError
from pocketvlm.parallel import in_order
from pocketvlm.pictures import Bitmap
from pocketvlm.progress import say, track
from pocketvlm.sections import Train
from pocketvlm.student.cache import KEY, Keys, Rows, Shard, check_room
from pocketvlm.student.data import Split, read_bitmap, unreadable
from pocketvlm.student.inputs import pixel_values, tile_tokens, tower_states
from pocketvlm.student.order import Item
from pocketvlm.student.ranks import Ranks
from pocketvlm.student.student import BATCH, Student
from pocketvlm.workspace import named_if_full

MANY = 10_000
"""More pictures take over two seconds to read."""

PATIENCE = 60
"""Seconds after which a network's folder shows what another machine wrote."""

Kind = Literal["pixels", "states", "features"]
"""What a lesson shows: the bitmap, the tower's states before the connector, or the connector's
features after it."""


def kind_of(config: Train) -> Kind:
    """Features where nothing before the text model learns (at 256 and bfloat16 18 to 31 KB a
    picture); the tower's states where the connector does (393 KB); bitmaps where the tower does."""
    if config.vision == "lora" or not config.cache:
        return "pixels"
    return "states" if config.vision == "connector" else "features"


class Lessons(Dataset[tuple[Tensor, str]]):
    """What is seen of every picture of a split, and its label: `seen` is uint8 (side, side, 3),
    (patches, vision hidden) or (tile tokens, text hidden), as `kind_of` the configuration says."""

    def __init__(
        self, student: Student, split: Split, root: Path, config: Train, ranks: Ranks
    ) -> None:
        self.split, self.labels, self.kind = split, split.labels, kind_of(config)
        self.views = 2 if config.mirror and split.name == "train" else 1
        if self.kind == "pixels":
            return
        self.shape, self.dtype = shape_of(student, self.kind), student.model.dtype
        self.keys = keys_of(split, self.views)
        folder = folder_of(student, self.kind, root)
        if ranks.first:
            discard_others(folder)
        self.rows = self._looked(student, folder, ranks)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, item: Item) -> tuple[Tensor, str]:
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[Item]) -> list[tuple[Tensor, str]]:
        """A batch at once (torch's DataLoader asks for it)."""
        if self.kind == "pixels":
            bitmaps = in_order(lambda item: self._bitmap(*item), items)
            seen = [torch.tensor(bitmap) for _, bitmap in bitmaps]
        else:
            rows = torch.from_numpy(self.rows.read([at * self.views + view for at, view in items]))
            seen = [row.view(self.dtype).view(self.shape) for row in rows]  # of none, none
        return list(zip(seen, [self.labels[at] for at, _ in items], strict=True))

    def _bitmap(self, at: int, view: int) -> Bitmap:
        bitmap = read_bitmap(self.split.path(at), self.split.side)
        return np.ascontiguousarray(bitmap[:, ::-1]) if view else bitmap

    def _looked(self, student: Student, folder: Path, ranks: Ranks) -> Rows:
        """The rows of all pictures; what is missing is computed, each process its share."""
        size = self.shape.numel() * self.dtype.itemsize
        rows = Rows(folder, size, self.keys)
        ranks.wait()  # all have seen the same before one of them adds to it
        _, first = np.unique(self.keys[rows.missing()], return_index=True)  # equal pictures once
        missing = rows.missing()[np.sort(first)]
        if not len(missing):
            return rows
        check_room(folder, len(missing) * size)
        with named_if_full(folder), Shard(folder, f"{ranks.rank:03}", size) as shard:
            self._look(student, missing[ranks.rank :: ranks.processes].tolist(), shard)
        ranks.wait()
        return _all_rows(folder, size, self.keys)

    @torch.inference_mode()
    def _look(self, student: Student, missing: Sequence[int], shard: Shard) -> None:
        starts = range(0, len(missing), BATCH)
        parts = (missing[start : start + BATCH] for start in starts)
        bitmaps = in_order(
            lambda part: [self._bitmap(*divmod(at, self.views)) for at in part], parts
        )
        for part, seen in track(bitmaps, f"Looking at {self.split.name}", len(starts)):
            states = tower_states(student.model, pixel_values(seen).to(student.model.device))
            kept = states if self.kind == "states" else student.model.model.connector(states)
            rows = kept.flatten(1).contiguous().cpu().view(torch.uint8).numpy()
            shard.append([_key(self.keys, at) for at in part], rows)


def _all_rows(folder: Path, size: int, keys: Keys) -> Rows:
    """The rows of all keys; a network's folder may show late what another machine wrote."""
    for _ in range(PATIENCE):
        rows = Rows(folder, size, keys)
        if not len(rows.missing()):
            return rows
        time.sleep(1)
    raise PocketError(
        f"{folder} lost rows while they were written: all processes must see one folder"
    )


def shape_of(student: Student, kind: Kind) -> torch.Size:
    """The shape of one picture's states or features."""
    side, config = student.contract.side, student.model.config
    if kind == "features":
        return torch.Size((tile_tokens(student.model, side), config.text_config.hidden_size))
    vision = config.vision_config
    return torch.Size(((side // vision.patch_size) ** 2, vision.hidden_size))


def keys_of(split: Split, views: int) -> Keys:
    """BLAKE2b of every bitmap's file, and after each that of its mirrored view, if `views` is 2."""

    def digest(at: int) -> bytes:
        try:
            return hashlib.blake2b(split.path(at).read_bytes(), digest_size=KEY).digest()
        except OSError as error:
            raise unreadable(split.path(at), error) from None

    def all_keys() -> Iterator[bytes]:
        keys: Iterator[tuple[int, bytes]] = in_order(digest, range(len(split)))
        if len(split) > MANY:
            keys = track(keys, f"Reading {split.name}", len(split))
        for _, key in keys:
            yield key
            if views == 2:
                yield hashlib.blake2b(key + b"mirrored", digest_size=KEY).digest()

    return np.fromiter(all_keys(), f"S{KEY}", len(split) * views)


def _key(keys: Keys, at: int) -> bytes:
    """One key whole: numpy cuts zeros off the end of a single one."""
    return bytes(keys[at]).ljust(KEY, b"\0")


def folder_of(student: Student, kind: Kind, root: Path) -> Path:
    """Where the rows of these weights and this side lie: the states are the tower's alone."""
    model = student.model.model
    parts = [model.vision_model] if kind == "states" else [model.vision_model, model.connector]
    config = student.model.config
    shape = [student.contract.side, str(student.model.dtype), config.scale_factor]
    told = json.dumps([*shape, config.vision_config.to_dict()], sort_keys=True, default=str)
    digest = hashlib.blake2b(told.encode())
    for name, value in ((n, v) for part in parts for n, v in part.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return root / kind / digest.hexdigest()[:16]


def discard_others(folder: Path) -> None:
    """Remove the rows that other weights or another side left beside `folder`: gigabytes."""
    for other in folder.parent.glob("*"):
        if other.is_dir() and other != folder:
            say(f"{other} is of other weights or another side: removed.")
            shutil.rmtree(other)
