"""Rows of equal size on the disk, each under a key: written once, mapped into memory after that."""

import mmap
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from pocketvlm.errors import PocketError

KEY = 16
"""Bytes of a key (BLAKE2b)."""

Keys = NDArray[np.bytes_]
"""Keys as an array of dtype S16: 16 bytes a picture, however many there are."""

LOCKED = 600
"""Seconds in which a process whose launcher was killed has ended, and lets a shard go."""

FLUSH = 5.0
"""Seconds after which rows are forced to the disk, and only then listed as there."""


class Shard:
    """One file of rows that one process at a time appends to, and the file of their keys.

    A row counts when its key is listed, which happens after it has reached the disk: what a kill or
    a full disk left half written is cut off."""

    def __init__(self, folder: Path, name: str, row: int) -> None:
        self.rows, self.keys, self.row = folder / f"{name}.rows", folder / f"{name}.keys", row
        self.lock = FileLock(folder / f"{name}.lock")

    def listed(self) -> Keys:
        """The keys of the rows that count."""
        if not self.rows.is_file() or not self.keys.is_file():
            return np.empty(0, f"S{KEY}")
        whole = min(self.keys.stat().st_size // KEY, self.rows.stat().st_size // self.row)
        return np.fromfile(self.keys, f"S{KEY}", whole)

    def __enter__(self) -> "Shard":
        """Open for appending."""
        self.rows.parent.mkdir(parents=True, exist_ok=True)
        self.lock.acquire(timeout=LOCKED)
        count = len(self.listed())
        self.files: list[BinaryIO] = [open(path, "ab") for path in (self.rows, self.keys)]  # noqa: PTH123, SIM115
        for file, size in zip(self.files, (self.row, KEY), strict=True):
            file.truncate(count * size)
        self.waiting, self.flushed = list[bytes](), time.monotonic()
        return self

    def append(self, keys: Sequence[bytes], rows: NDArray[np.uint8]) -> None:
        """Add rows (n, bytes a row) under their keys."""
        self.files[0].write(rows.data)
        self.waiting += keys
        if time.monotonic() - self.flushed > FLUSH:
            self._flush()

    def _flush(self) -> None:
        for file, data in zip(self.files, (b"", b"".join(self.waiting)), strict=True):
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self.waiting, self.flushed = [], time.monotonic()

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self._flush()
        finally:
            for file in self.files:
                file.close()
            self.lock.release()


class Rows:
    """The rows of some keys, in their order, from all shards of a folder; memory holds 8 bytes a
    key, and the pages in use of the files."""

    def __init__(self, folder: Path, row: int, wanted: Keys) -> None:
        self.maps = list[mmap.mmap]()
        self.row = row
        self.shard = np.full(len(wanted), -1, np.int32)
        self.place = np.zeros(len(wanted), np.int32)
        for path in sorted(folder.glob("*.rows")):
            listed = Shard(folder, path.stem, row).listed()
            if len(listed):
                self._find(listed, wanted, len(self.maps))
                with path.open("rb") as file:
                    length = len(listed) * row
                    self.maps.append(mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ))

    def _find(self, listed: Keys, wanted: Keys, number: int) -> None:
        order = np.argsort(listed, kind="stable")
        at = order[np.searchsorted(listed, wanted, sorter=order).clip(max=len(listed) - 1)]
        found = (listed[at] == wanted) & (self.shard < 0)
        self.shard[found], self.place[found] = number, at[found]

    def missing(self) -> NDArray[np.int64]:
        """Places of the keys that are in no shard."""
        return np.flatnonzero(self.shard < 0)

    def read(self, places: Sequence[int]) -> NDArray[np.uint8]:
        """Rows (n, bytes a row), copied; the pages are given back, so that memory stays flat."""
        rows = np.empty((len(places), self.row), np.uint8)
        for into, place in zip(rows, places, strict=True):
            start = int(self.place[place]) * self.row
            into[:] = np.frombuffer(self.maps[self.shard[place]], np.uint8, self.row, start)
        if sys.platform != "win32":
            for mapped in self.maps:
                mapped.madvise(mmap.MADV_DONTNEED)
        return rows


def check_room(folder: Path, needed: int) -> None:
    """PocketError when the disk has no room for `needed` bytes of rows."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise PocketError(
            f"training keeps {needed / 1e9:.1f} GB of features in {folder} and {free / 1e9:.1f} GB "
            "are free: make room there, or train with `--set train.cache=false`, which is slower"
        )
