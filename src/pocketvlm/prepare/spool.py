"""Rich rows on the disk instead of in memory, while it is found out where each belongs."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self

from pocketvlm.workspace import LONE, Row, named_if_full


class Spool:
    """A file without a name: it is gone with the process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self.end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk has been told, and nobody needs this any more
            self.file.close()

    def add(self, row: Row) -> int:
        """Keep a row; what brings it back."""
        line = (json.dumps(row, ensure_ascii=False) + "\n").encode(errors=LONE)
        place, self.end = self.end, self.end + len(line)
        with named_if_full(self.folder):
            self.file.seek(place)
            self.file.write(line)
            self.file.flush()
        return place

    def row(self, place: int) -> Row:
        """The row that was kept there."""
        self.file.seek(place)
        row: Row = json.loads(self.file.readline())
        return row
