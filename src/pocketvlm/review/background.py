"""What takes longer than a person would wait: thumbnails ahead of need, and the search for
suspects. The page is up meanwhile and says how far they are."""

import threading
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from pocketvlm.errors import PocketError
from pocketvlm.parallel import in_order
from pocketvlm.progress import say
from pocketvlm.review.items import Board
from pocketvlm.review.suspects import Floats, answered_otherwise, apart, features, unlike
from pocketvlm.review.thumbnails import Pictures
from pocketvlm.workspace import Row

PATIENCE = 2
"""Seconds that the picture at hand gets at the end."""


class Progress(NamedTuple):
    """Where the background is."""

    doing: str
    """`thumbnails`, `comparing` or `done`."""
    done: int
    total: int


class Background(threading.Thread):
    """Makes all thumbnails, then compares what they look like with their labels."""

    def __init__(self, board: Board, pictures: Pictures) -> None:
        super().__init__(daemon=True, name="review")
        self.board, self.pictures = board, pictures
        self.progress = Progress("thumbnails", 0, len(board.labelled))
        self.labels = board.standing()
        predictions = board.project.workspace.report / "predictions.jsonl"
        self.student = answered_otherwise(predictions, board.places, self.labels)
        self.apart = apart(board.groups, self.labels)
        self.looks: dict[int, tuple[str, float]] = {}
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Leave off after the picture at hand."""
        self._stopping.set()
        self.join(PATIENCE)

    def run(self) -> None:
        """A failure here costs the suspects, never the page."""
        try:
            looks = list(self._looks())
            if self._stopping.is_set():
                return
            self.progress = self.progress._replace(doing="comparing")
            self._compare(dict(looks))
        except Exception as error:
            say(f"  no suspects by their looks: {error}")
        self.progress = self.progress._replace(doing="done")

    def _looks(self) -> Iterator[tuple[int, Floats]]:
        """Each readable picture's features, from its thumbnail."""
        shas = list(self.board.places)
        for at, (_, found) in enumerate(in_order(self._features, shas)):
            if self._stopping.is_set():
                return
            self.progress = Progress("thumbnails", at + 1, len(shas))
            if found is not None:
                yield at, found

    def _features(self, sha256: str) -> Floats | None:
        try:
            with Image.open(self.pictures.thumbnail(sha256)) as picture:
                return features(np.asarray(picture))
        except (PocketError, OSError):  # the page says so where the picture would be
            return None

    def _compare(self, looks: dict[int, Floats]) -> None:
        if not looks:
            return
        at = list(looks)
        labels, groups = [self.labels[one] for one in at], [self.board.groups[one] for one in at]
        found = unlike(np.stack(list(looks.values())), labels, groups)
        self.looks = {at[one]: said for one, said in found.items()}

    def suspects(self) -> Row:
        """All that has been found so far, by index in the list."""
        return {
            "progress": self.progress._asdict(),
            "apart": self.apart,
            "student": self.student,
            "looks": self.looks,
        }
