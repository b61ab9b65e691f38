"""Ledgers lie on both sides and only ever grow: none is written over by one that has less."""

from pathlib import Path
from typing import Literal


def lines_of(path: Path) -> set[bytes]:
    """What stands in a ledger; a last line that was torn off is none. Empty where no file is."""
    if not path.is_file():
        return set()
    with path.open("rb") as file:
        return {line for line in file if line.endswith(b"\n")}


def newer(ours: Path, theirs: Path) -> Literal["same", "ours", "theirs", "neither"]:
    """Which of two copies has all that the other one has, and more; neither, when each has lines
    of its own."""
    here, there = lines_of(ours), lines_of(theirs)
    if here == there:
        return "same"
    if here > there:
        return "ours"
    return "theirs" if there > here else "neither"
