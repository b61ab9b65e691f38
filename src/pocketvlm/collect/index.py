"""`originals/index.jsonl`: one line a collected picture, on the disk soon after it came."""

import shutil
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from pocketvlm.collect.candidate import Candidate, Skipped
from pocketvlm.project import Project
from pocketvlm.workspace import Row, append_rows, atomic_file, read_rows, write_rows

GROUP = 200
"""Pictures of a folder that share one flush; what a kill loses of them is looked at again."""


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
        """Pictures of each source for each label."""
        self.skipped: dict[str, str] = {}
        """Why what another source than the folder gave was not taken: it is not offered again."""
        self._corrected: dict[str, Row] = {}
        self._waiting: list[Row] = []
        if self.path.is_file():
            self._cut_torn_line()
            for row in read_rows(self.path):
                self._remember(row)
                if "phash" not in row:  # of an older version
                    self._corrected[row["sha256"]] = {}
        if (self.folder / "skipped.jsonl").is_file():
            rows = read_rows(self.folder / "skipped.jsonl")
            self.skipped = {r["origin"]: r["reason"] for r in rows if r.get("source") != "folder"}

    def _cut_torn_line(self) -> None:
        """A line that a kill tore off belongs to no picture yet."""
        whole = self.path.read_bytes().rfind(b"\n") + 1
        with self.path.open("rb+") as file:
            file.truncate(whole)

    def _remember(self, row: Row) -> None:
        source = row.get("source", "folder")
        self.known[row["sha256"]] = Known(row["origin"], source)
        self.origins.add(row["origin"])
        self.sought[source, row.get("sought") or ""] += 1

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

    def finish(self, skipped: list[Skipped]) -> None:
        """Write corrected rows and skipped.jsonl."""
        self.flush()
        if self.known and self._differs():
            write_rows(self.path, self._rows())
        others = {"folder": {one.origin: one.reason for one in skipped}, "other": self.skipped}
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
