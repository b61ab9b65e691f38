"""What a source offers: a file with where it comes from, or why there is none."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Candidate:
    """A picture's file, not yet looked at."""

    path: Path
    origin: str
    """Names it for good: a path in the folder, `coco:train2017/000000391895.jpg`,
    `unsplash:Dwu85P9SOIk`, `hub:user/name/train/17`."""
    source: str
    """`folder`, `coco`, `unsplash` or `hub`."""
    licence: str
    """An SPDX id or a name; `unknown` where the source does not say."""
    author: str | None = None
    url: str | None = None
    """The page or file to credit."""
    sought: str | None = None
    """The label for which it was fetched; it never becomes the picture's label."""
    fetched: bool = False
    """Whether it is ours: moved into originals/ instead of copied."""


@dataclass(frozen=True)
class Skipped:
    """A file that is not collected, and why."""

    origin: str
    reason: str
