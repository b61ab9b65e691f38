"""A teacher that bills: what its owner would have to pay is counted on its own side, by its own
reading of each request, also for calls whose answer never arrived."""

import base64
import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from pocketvlm.cli import main
from pocketvlm.label.money import Tariff
from pocketvlm.prices import OpenAIPatches, Price
from pocketvlm.project import Project
from pocketvlm.workspace import Row, sha256_file, write_rows

from .conftest import make
from .server import GOOD, Reply, Server, busy

PRICE = Price(
    input_usd=2.0,
    output_usd=8.0,
    image=OpenAIPatches(),
    source="https://example.org/prices",
    date=date(2026, 11, 25),
)

Fate = Literal[
    "full",  # as long an answer as may be, every byte of the text a token
    "plain",  # an ordinary answer, four bytes a token
    "silent",  # a full one that does not say what it took
    "zeros",  # a full one that says it took nothing
    "absurd",  # a full one that says what no call takes
    "malformed",
    "declined",
    "cut",  # billed, and the connection breaks before a whole reply
    "half",
    "hang",  # billed, and never answered
    "busy",  # a 429: not billed
    "broken",  # a 500: not billed
]

FRAME = 50
"""Tokens around the text."""


class Biller(Server):
    """Bills each call as `fate` of its number says."""

    def __init__(self, price: Price = PRICE) -> None:
        super().__init__()
        self.price = price
        self.fate: Callable[[int], Fate] = lambda number: "plain"
        self.count = 0
        """Calls that have come."""
        self.times_over = 1
        """How many times `max_tokens` its answers take."""
        self.billed = 0.0
        """USD."""
        self.answers: dict[str, int] = {}
        """Whole answers that can be used, by picture (data URL)."""

    def take(self, request: dict[str, Any], key: str) -> Reply:
        """One request's reply; what it costs is on the bill once it is asked for."""
        with self.lock:
            fate = self.fate(self.count)
            self.count += 1
        if fate in ("busy", "broken"):
            super().take(request, key)
            return busy(429 if fate == "busy" else 500)
        with self.lock:
            tokens = self.tokens(request, full=fate != "plain")
            self.billed += self.price.usd(*tokens)
            if fate in ("full", "plain", "silent", "zeros", "absurd", "declined"):
                url = request["messages"][0]["content"][1]["image_url"]["url"]
                self.answers[url] = self.answers.get(url, 0) + 1
        super().take(request, key)
        return reply(fate, tokens)

    def tokens(self, request: dict[str, Any], full: bool) -> tuple[int, int]:
        """Tokens in and out."""
        words, picture = request["messages"][0]["content"]
        schema = request.get("response_format", {}).get("json_schema", {}).get("schema")
        text = len(words["text"].encode()) + (len(json.dumps(schema)) if schema else 0)
        data = base64.b64decode(picture["image_url"]["url"].partition(",")[2])
        with Image.open(io.BytesIO(data)) as opened:
            image = self.price.image.count(*opened.size)
        if not full:
            return text // 4 + FRAME + image, len(json.dumps(GOOD)) // 4
        return text + FRAME + image, request["max_tokens"] * self.times_over


def reply(fate: Fate, tokens: tuple[int, int]) -> Reply:
    """What is sent."""
    usage: dict[str, int] | None = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    match fate:
        case "silent":
            usage = None
        case "zeros":
            usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        case "absurd":
            usage = {"prompt_tokens": -5, "completion_tokens": 10**400}
    content = "It is water." if fate == "malformed" else json.dumps(GOOD)
    message: dict[str, Any] = {"content": content}
    if fate == "declined":
        message = {"content": None, "refusal": "I cannot help with that."}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    whole = Reply(body=json.dumps({"choices": [choice], "usage": usage}))
    return replace(whole, instead=fate) if fate in ("cut", "half", "hang") else whole


def priced(
    root: Path,
    url: str,
    count: int = 8,
    budget: float | None = None,
    config: dict[str, Any] | None = None,
    **teacher: Any,
) -> Project:
    """A workspace whose teacher has the price; the same pictures each time it is made."""
    settings: dict[str, Any] = {
        "prices": {"stand-in": PRICE.model_dump(mode="json")},
        "label": {"budget_usd": budget},
    }
    return make(root, count, url, settings | (config or {}), **teacher)


def worst(project: Project, size: tuple[int, int] = (40, 40)) -> float:
    """USD that a call of the first teacher may cost."""
    return Tariff.of(project.config, project.config.teachers[0]).worst(size)


def collect_sizes(project: Project, sizes: Sequence[tuple[int, int]], drawn: bool = True) -> None:
    """Put pictures of these sizes in the place of those that are there; without their files unless
    they are `drawn`."""
    rows: list[Row] = []
    for number, (width, height) in enumerate(sizes):
        path = project.workspace.originals / f"{width}x{height}-{number}.png"
        if drawn and not path.exists():
            draw(path, number, width, height)
        sha256 = sha256_file(path) if drawn else f"{number}"
        row: Row = {"sha256": sha256, "file": path.name, "origin": path.name}
        rows.append(row | {"width": width, "height": height})
    write_rows(project.workspace.index, rows)


def draw(path: Path, number: int, width: int, height: int) -> None:
    """A grey picture with a corner of its own."""
    pixels = np.full((height, width, 3), number % 256, np.uint8)
    corner = np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    pixels[:32, :32] = corner[:height, :width]
    Image.fromarray(pixels).save(path, compress_level=1)


def command(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, with no person at its input."""
    return subprocess.run(
        [sys.executable, "-c", "from pocketvlm.cli import main; main()", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=60,
    )


def cli(*arguments: str) -> int:
    """Exit code of the command line, called in this process; pytest's input is nobody's."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["pocketvlm", *arguments])
        main()
    return int(ended.value.code or 0)
