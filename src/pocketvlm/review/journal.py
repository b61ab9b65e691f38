"""`labels/reviews.jsonl` as several windows and processes see it: each asks for what came after the
byte that it has read up to, so nobody has to remember who knows what."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pocketvlm.reviews import Review, read_review, review_row
from pocketvlm.workspace import append_rows


class Journal:
    """The ledger of decisions: written in order, on the disk before they are confirmed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._written: dict[str, int] = {}
        """How many decisions of each window are on the disk."""

    def write(self, window: str, first: int, decisions: Sequence[Review | None]) -> None:
        """Append a window's decisions, of which the first is its `first`-th; None stands for one
        that does not fit, which counts and is not written.

        Those that are on the disk already are passed over: a window that got no reply sends them
        again. OSError when the disk does not take them."""
        with self._lock:
            known = self._written.get(window, first)
            fresh = decisions[max(0, known - first) :]
            append_rows(self.path, [review_row(one, now()) for one in fresh if one])
            self._written[window] = max(known, first + len(decisions))

    def since(self, offset: int) -> tuple[int, list[Review]]:
        """The decisions after a byte, and the byte after them; a line being written is left for the
        next time. A file that became shorter is read from its start."""
        if not self.path.is_file():
            return 0, []
        with self.path.open("rb") as file:
            size = file.seek(0, 2)
            start = offset if offset <= size else 0
            file.seek(start)
            data = file.read(size - start)
        whole = data[: data.rfind(b"\n") + 1]
        found = (read_review(line) for line in whole.splitlines())
        return start + len(whole), [review for review in found if review]


def now() -> str:
    """The time for a line."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
