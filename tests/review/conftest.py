"""Workspaces with answers to review, the real server on the loopback, and a real browser."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page

from pocketvlm.config import parse_config
from pocketvlm.label.ledger import append
from pocketvlm.label.plan import question_key
from pocketvlm.label.prompt import prompt_hash
from pocketvlm.project import Project
from pocketvlm.review.background import Background
from pocketvlm.review.items import Board
from pocketvlm.review.review import address, listen, make_server
from pocketvlm.workspace import Row, read_rows, sha256_file, write_rows
from tests.browser import browser as browser

TOKEN, TICKET = "a-token-of-the-tests", "a-ticket-of-the-tests"
LABELS = ("water", "land", "fire", "wood", "metal")
GOOD: Row = {"status": "ok", "label": "water", "confidence": 0.9, "reason": "It is wet."}

PROGRAM = """
import sys
from pathlib import Path
from pocketvlm.config import parse_config
from pocketvlm.project import Project
from pocketvlm.review import review
small = {"device": {"side": 64}, "teachers": [{"model": "teacher-0"}]}
print(review(Project.of(parse_config(small), Path(sys.argv[1])), open_page=False))
"""

Answers = Sequence[Row | Sequence[Row]]
"""A picture each: what the first teacher said, or all of them."""

Make = Callable[..., Project]


def picture(path: Path, seed: int) -> Path:
    """Write a small picture with some colour and structure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (20 + seed % 30, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def reviewable(root: Path, answers: Answers, **sections: Any) -> Project:
    """A project whose pictures have these answers."""
    several = max((len(one) for one in answers if not isinstance(one, dict)), default=1)
    teachers = [{"model": f"teacher-{number}"} for number in range(several)]
    small = {"device": {"side": 64}, "teachers": teachers}
    project = Project.of(parse_config(small | sections), root)
    rows: list[Row] = []
    for number in range(len(answers)):
        path = picture(project.workspace.originals / f"{number}.png", number)
        rows.append({"sha256": sha256_file(path), "file": path.name, "origin": f"my {number}.png"})
    write_rows(project.workspace.index, rows)
    answered(project, rows, answers)
    return project


def answered(project: Project, rows: Sequence[Row], answers: Answers) -> None:
    """Write the teachers' answers into the ledger."""
    prompt, lines = prompt_hash(project.config.task), list[Row]()
    for row, given in zip(rows, answers, strict=True):
        for teacher, fields in enumerate([given] if isinstance(given, dict) else given):
            key = question_key(project.config, teacher, row["sha256"], prompt)
            model = project.config.teachers[teacher].model
            lines.append({"kind": "answer", "key": key, "model": model} | GOOD | fields)
    append(project.workspace.answers, lines)


def hashes(project: Project) -> list[str]:
    """SHA-256 of each picture in the order of the index."""
    return [row["sha256"] for row in read_rows(project.workspace.index)]


def reviews(project: Project) -> list[tuple[int, str, str | None]]:
    """Every line of reviews.jsonl: the picture's number, the decision and the label."""
    if not project.workspace.reviews.is_file():
        return []
    number = {sha256: at for at, sha256 in enumerate(hashes(project))}
    rows = read_rows(project.workspace.reviews)
    return [(number[row["picture"]], row["decision"], row["label"]) for row in rows]


@dataclass
class Site:
    """A running server."""

    project: Project
    board: Board
    background: Background
    url: str
    """With the token."""

    @property
    def base(self) -> str:
        """The address without the token."""
        return self.url.split("/?")[0]

    @property
    def token(self) -> str:
        return self.url.split("token=")[1]

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """What a browser that has opened the page sends."""
        with httpx.Client(base_url=self.base, headers={"Origin": self.base}) as client:
            assert client.get(self.url).status_code == 200
            yield client

    def exchange(self, decisions: Sequence[Row] = (), **fields: Any) -> Row:
        """The body of an exchange."""
        sent = {"board": self.board.name, "window": "abcdef01", "first": 0, "since": 0}
        return sent | {"decisions": list(decisions)} | fields


@contextmanager
def serving(project: Project, suspects: bool = False) -> Iterator[Site]:
    """The real server, in a thread, as `review` starts it; with what it does in the background."""
    board, listener = Board.of(project), listen(project, 0)
    server, background = make_server(board, listener, TOKEN, TICKET)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    if suspects:
        background.start()
    try:
        yield Site(project, board, background, f"{address(listener)}?token={TOKEN}")
    finally:
        server.should_exit = True
        thread.join()
        if suspects:
            background.stop()


def started(root: Path) -> tuple[subprocess.Popen[str], str]:
    """The real thing as a program of its own, and the address that it printed."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stderr
    for line in program.stderr:
        if found := re.search(r"http://\S+", line):
            return program, found[0]
    raise AssertionError("no address was printed")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a project in a fresh folder."""
    return lambda answers, **sections: reviewable(tmp_path / "project", answers, **sections)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser without cookies or storage, as wide as a desk's."""
    fresh = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    fresh.set_default_timeout(15_000)
    yield fresh
    fresh.close()


def opened(context: BrowserContext, url: str) -> Page:
    """The page, ready for keys; what it complains about fails the test."""
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"the page failed: {error}"))
    page.goto(url)
    page.wait_for_selector("body[data-ready]")
    return page


def saved(page: Page) -> None:
    """Wait until the server has everything."""
    page.wait_for_selector("#saved[data-state=saved]", state="attached")


PLACE = """() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(
    () => resolve(document.querySelector('#place').textContent))))"""
"""After what was asked for has been drawn."""


@pytest.fixture
def project(make: Make) -> Project:
    """Five pictures: four said to be water by one or both teachers, one that no label fits."""
    project = make(
        [
            {"confidence": 0.5, "reason": "Waves.", "alternative": "land", "ambiguity": "A beach."},
            {"confidence": 0.6},
            [{"confidence": 0.7}, {"confidence": 0.7, "label": "fire", "reason": "<b>Glow</b>"}],
            {"confidence": 0.8},
            {"status": "none", "label": None, "confidence": 0.9},
        ]
    )
    rows = list(read_rows(project.workspace.index))
    for number in (0, 3):
        rows[number]["phash"] = "0" * 64
    write_rows(project.workspace.index, rows)
    return project


@pytest.fixture
def site(project: Project) -> Iterator[Site]:
    with serving(project) as running:
        yield running


@pytest.fixture
def page(site: Site, context: BrowserContext) -> Page:
    page = opened(context, site.url)
    page.locator("#sort").select_option("order")
    page.locator("main").focus()
    return page


def chip(page: Page, name: str) -> None:
    """Press a filter's button."""
    page.locator("#facets").get_by_role("button", name=name).first.click()
