"""The append-only ledger of every call: an intent before it, an answer after it, both on the disk
before anything goes on. It is what makes a kill harmless and a budget hard."""

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pocketvlm.errors import PocketError
from pocketvlm.progress import say
from pocketvlm.workspace import LONE, Row

FINAL = frozenset({"ok", "none", "refused", "rejected"})
"""Statuses that are answers; `failed` and `malformed` calls are made again by the next run."""


class Place(NamedTuple):
    """Where the last answer to a question lies; the answer itself stays on the disk, so that
    memory grows by a hundred bytes an answer."""

    offset: int
    status: str
    picture: str
    usd: float
    """Of all calls about the question so far."""


class Ledger:
    """`labels/answers.jsonl`: what was asked, what came back, what it cost.

    Only who writes may `repair` it: another run may be in the middle of its last line."""

    def __init__(self, path: Path, repair: bool = True) -> None:
        self.path = path
        self.places: dict[str, Place] = {}
        self.open: dict[str, Row] = {}
        """Intents without an answer, by call: killed in flight, or in a batch."""
        self.batches: dict[str, Row] = {}
        """The last row of each batch, by submission."""
        self.spent = self.reserved = 0.0
        """USD of all answers, and what the calls without one may cost at worst."""
        self.overrun = 1.0
        """How many times what it had reserved an answer has cost, at most; 1 or more."""
        self._waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        if repair:
            self._repair()
        unsound = 0
        for offset, row in self._read():
            try:
                self._remember(offset, row)
            except (KeyError, TypeError, ValueError):
                unsound += 1
        if unsound:
            say(f"{path}: {unsound} lines are no rows of a ledger and are passed over")

    def _repair(self) -> None:
        """Cut off what a kill left of the last line: no answer counts before its line is whole."""
        if not self.path.is_file():
            return
        with self.path.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            start = last_line(file, size)
            file.seek(start)
            tail = file.read()
            if not tail or tail.endswith(b"\n"):
                return
            if as_row(tail) is not None:  # whole, but for its end
                file.write(b"\n")
            else:
                file.truncate(start)
                say(f"{self.path}: its last line was torn off in mid-write and is removed")
            os.fsync(file.fileno())

    def _read(self) -> Iterator[tuple[int, Row | None]]:
        """Every sound line with its offset."""
        if not self.path.is_file():
            return
        offset = 0
        with self.path.open("rb") as file:
            for line in file:
                if line.strip():
                    yield offset, as_row(line)
                offset += len(line)

    def _remember(self, offset: int, row: Row | None) -> None:
        """Take a row in; KeyError, TypeError or ValueError for a line that is none."""
        if row is None:
            raise ValueError("no JSON object")
        match row.get("kind"):
            case "intent" if "call" in row:
                self.open[row["call"]] = row
                self.reserved += row["reserved_usd"]
            case "batch":
                self.batches[row["submission"]] = row
            case "answer":
                usd = row.get("usd") or 0.0
                self._close(row.get("call", ""), usd)
                self.spent += usd
                before = self.places.get(row["key"])
                usd += before.usd if before else 0.0
                if before and before.status in FINAL and row["status"] not in FINAL:
                    self.places[row["key"]] = before._replace(usd=usd)
                else:
                    place = Place(offset, row["status"], row.get("picture", ""), usd)
                    self.places[row["key"]] = place

    def _close(self, call: str, usd: float) -> None:
        """The intent of a call is answered, at a cost of `usd`."""
        intent = self.open.pop(call, None)
        if intent is None:
            return
        reserved = intent["reserved_usd"]
        self.reserved = self.reserved - reserved if self.open else 0.0  # no dust of rounding
        if reserved:
            self.overrun = max(self.overrun, usd / reserved)

    def answered(self, key: str) -> bool:
        """Whether this question needs no further call."""
        return key in self.places and self.places[key].status in FINAL

    def status(self, key: str) -> str | None:
        """The status of the last answer to a question; None before the first."""
        return self.places[key].status if key in self.places else None

    def answers(self, keys: Sequence[str]) -> list[Row | None]:
        """The last answer to each of some questions, read from the disk."""
        wanted = [self.places.get(key) for key in keys]
        if not any(wanted):
            return [None] * len(keys)
        with self.path.open("rb") as file:
            return [place and row_at(file, place.offset) for place in wanted]

    async def write(self, *rows: Row) -> None:
        """Append rows; returns when they are on the disk. OSError when they cannot be written.

        Rows that come while the disk is busy go together: one flush for all of them."""
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[None]] = [loop.create_future() for _ in rows]
        self._waiting += zip(rows, futures, strict=True)
        if self._writing is None:
            self._writing = loop.create_task(self._flush())
        await asyncio.gather(*futures)

    async def settle(self) -> None:
        """Wait until all that came is on the disk, also after a Ctrl-C."""
        while self._writing is not None:
            await asyncio.wait([self._writing])

    async def _flush(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            rows = [row for row, _ in group]
            try:
                offsets = await asyncio.to_thread(append, self.path, rows)
            except (OSError, TypeError, ValueError) as error:
                told(group, error)
                continue
            for offset, row in zip(offsets, rows, strict=True):
                self._remember(offset, row)
            told(group, None)
        self._writing = None


def told(group: list[tuple[Row, asyncio.Future[None]]], error: Exception | None) -> None:
    """Tell those who still wait."""
    for _, future in group:
        if future.cancelled():
            continue
        if error:
            future.set_exception(error)
        else:
            future.set_result(None)


def append(path: Path, rows: Sequence[Row]) -> list[int]:
    """Write rows at the end and force them to the disk; the offset of each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [(json.dumps(row, ensure_ascii=False) + "\n").encode(errors=LONE) for row in rows]
    with path.open("ab", buffering=0) as file:
        start = file.tell()
        data = memoryview(b"".join(lines))
        try:
            while data:
                data = data[file.write(data) :]
            os.fsync(file.fileno())
        except OSError as error:  # a full disk: half a line would spoil the next one
            file.truncate(start)
            raise OSError(error.errno, error.strerror, str(path)) from None
    return list(accumulate(map(len, lines[:-1]), initial=start))


def last_line(file: BinaryIO, size: int) -> int:
    """Where the line that the file ends in begins: at its end when the last one is whole."""
    at = size
    while at > 0:
        start = max(0, at - 65536)
        file.seek(start)
        found = file.read(at - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return 0


def as_row(line: bytes) -> Row | None:
    """One line as an object; None for what is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def row_at(file: BinaryIO, offset: int) -> Row:
    """The row that begins at an offset."""
    file.seek(offset)
    row = as_row(file.readline())
    if row is None:
        raise PocketError(f"{file.name} was altered while it was read: run the command again")
    return row


def now() -> str:
    """The time for a ledger row."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
