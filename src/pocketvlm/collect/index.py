"""`originals/index.jsonl`: one line a collected picture, on the disk soon after it came."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from pocketvlm.collect.candidate import Candidate
from pocketvlm.project import Project
from pocketvlm.workspace import Row, append_rows, atomic_file, read_rows, write_rows

GROUP = 200
"""Pictures of a folder that share one flush; what a kill loses of them is looked at again."""


def shelf(source: str, origin: str) -> str:
    """What a picture counts for: its source, or its data set and split on the Hub."""
    return origin.rpartition("/")[0] if source == "hub" else source


class Known(NamedTuple):
    """What is remembered of a picture: memory grows by some hundred bytes each."""

    origin: str
    source: str


class Index:
    """The pictures that are there. Rows are appended while pictures come in; what is corrected in
    earlier ones is written at the end."""

    def __init__(self, project: Project) -> None:
        self.path, self.folder = project.workspace.index, project.workspace.originals
        self.known: dict[str, Known] = {}
        self.origins: set[str] = set()
        self.sought: Counter[tuple[str, str]] = Counter()
        """Pictures of each shelf for each label."""
        self.skipped: dict[str, str] = {}
        """Why what another source than the folder gave was not taken: it is not offered again."""
        self.of_folder: dict[str, str] = {}
        """The folder's files that were not taken when it was last searched."""
        self._corrected: dict[str, Row] = {}
        self._waiting: list[Row] = []
        for left in self.folder.glob(".*"):  # by a run that was killed
            left.unlink()
        if self.path.is_file():
            self._mend_last_line()
            for row in read_rows(self.path):
                self._remember(row)
                if "phash" not in row:  # of an older version
                    self._corrected[row["sha256"]] = {}
        if (self.folder / "skipped.jsonl").is_file():
            rows = read_rows(self.folder / "skipped.jsonl")
            for row in rows:
                of_folder = row.get("source", "folder") == "folder"
                (self.of_folder if of_folder else self.skipped)[row["origin"]] = row["reason"]

    def _mend_last_line(self) -> None:
        """A line that a kill tore off is no picture yet; one that only lacks its end is."""
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        try:
            sound = whole == len(data) or "sha256" in json.loads(data[whole:])
        except ValueError:
            sound = False
        with self.path.open("rb+") as file:
            if not sound:
                file.truncate(whole)
            elif whole < len(data):
                file.seek(0, os.SEEK_END)
                file.write(b"\n")

    def _remember(self, row: Row) -> None:
        source = row.get("source", "folder")
        self.known[row["sha256"]] = Known(row["origin"], source)
        self.origins.add(row["origin"])
        self.sought[shelf(source, row["origin"]), row.get("sought") or ""] += 1

    def __contains__(self, origin: object) -> bool:
        """Whether another source than the folder has offered this before."""
        return origin in self.origins or origin in self.skipped

    def add(self, candidate: Candidate, facts: Row) -> bool:
        """Keep a picture; False when its bytes are there already."""
        row = facts | {
            name: getattr(candidate, name)
            for name in ("origin", "source", "licence", "author", "url", "sought")
        }
        self._keep(candidate, row)
        first = self.known.get(row["sha256"])
        if first is None:
            self._remember(row)
            self._waiting.append(row)
            if candidate.fetched or len(self._waiting) >= GROUP:
                self.flush()
            return True
        if candidate.source == first.source == "folder":  # found again: the licence may be new
            self._corrected[row["sha256"]] = facts | {"licence": row["licence"]}
        return False

    def _keep(self, candidate: Candidate, row: Row) -> None:
        """A picture that lies there already is the same, because its name is its hash."""
        target = self.folder / row["file"]
        if not target.is_file():
            with atomic_file(target) as partial:
                shutil.copyfile(candidate.path, partial)
        if candidate.fetched:
            candidate.path.unlink()

    def flush(self) -> None:
        """Write what waits."""
        append_rows(self.path, self._waiting)
        self._waiting.clear()

    def finish(self) -> None:
        """Write corrected rows and skipped.jsonl."""
        self.flush()
        if self.known and self._differs():
            write_rows(self.path, self._rows())
        others = {"folder": self.of_folder, "other": self.skipped}
        write_rows(
            self.folder / "skipped.jsonl",
            (
                {"origin": origin, "reason": reason, "source": source}
                for source, reasons in others.items()
                for origin, reason in reasons.items()
            ),
        )

    def _rows(self) -> Iterator[Row]:
        for row in read_rows(self.path):
            yield row | self._corrected.get(row["sha256"], {})

    def _differs(self) -> bool:
        return any(old != new for old, new in zip(read_rows(self.path), self._rows(), strict=True))
