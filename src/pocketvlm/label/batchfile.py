"""The files of a batch, questions out and answers in: one line after the other, for they are
large."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from uuid import uuid4

from pocketvlm.workspace import Row, Workspace

ENDPOINT: Final = "/v1/chat/completions"

MOST_BYTES = 190_000_000
"""Bytes of a batch's file; OpenAI takes 200 MB."""

PREFIX = "batch-"
"""How everything begins that a batch leaves in state/ for a while."""


@dataclass(frozen=True)
class Request:
    """What is asked about one picture."""

    body: str
    """JSON of the request, as it goes to the model online."""
    worst: float
    """USD that it may cost at most."""


class Draft:
    """A batch's file while it is written and sent; it is removed at the end of the block, however
    that comes. The name of each call begins with the submission's."""

    def __init__(self, workspace: Workspace) -> None:
        self.submission = uuid4().hex
        self.path = workspace.root / "state" / f"{PREFIX}{self.submission}.jsonl"
        self.intents: list[Row] = []
        self.usd = 0.0
        """What all its requests may cost at most."""
        self._bytes = 0

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("w", encoding="ascii")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def fits(self, request: Request) -> bool:
        """Whether the file stays small enough; a single request always goes."""
        return not self.intents or self._bytes + len(request.body) + 200 < MOST_BYTES

    def add(self, request: Request, intent: Row) -> None:
        """One more request, and the fields of its intent."""
        call = f"{self.submission}-{len(self.intents)}"
        head = f'{{"custom_id": "{call}", "method": "POST", "url": "{ENDPOINT}", "body": '
        self._bytes += self._file.write(f"{head}{request.body}}}\n")
        self.usd += request.worst
        both: Row = {"call": call, "batch": self.submission, "reserved_usd": request.worst}
        self.intents.append({"kind": "intent"} | intent | both)

    def close(self) -> Path:
        """The whole file."""
        self._file.close()
        return self.path


def sweep(workspace: Workspace) -> None:
    """Remove what runs that were killed have left."""
    for left in (workspace.root / "state").glob(f"{PREFIX}*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


@dataclass(frozen=True)
class Result:
    """What became of one request."""

    call: str
    reply: str | None
    """JSON of the reply, as it would have come online; None where there is none."""
    error: str


def read_results(path: Path) -> Iterator[Result]:
    """The results of an output or error file; lines that are none are left out."""
    with path.open("rb") as file:
        for line in file:
            result = read_result(line)
            if result is not None:
                yield result


def read_result(line: bytes) -> Result | None:
    """One line, read without trust; None for what names no call."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    call = fields(row).get("custom_id")
    if not isinstance(call, str):
        return None
    response = fields(row.get("response"))
    status, body = response.get("status_code"), response.get("body")
    if status == 200:
        return Result(call, json.dumps(body), "")
    error = row.get("error") or fields(body).get("error") or body or "no reason given"
    said = str(fields(error).get("message") or fields(error).get("code") or error)
    return Result(call, None, f"{status} - {said}" if status else said)


def fields(value: Any) -> dict[Any, Any]:
    """An object of JSON; an empty one for anything else."""
    return value if isinstance(value, dict) else {}
