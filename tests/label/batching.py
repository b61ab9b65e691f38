"""A simulated teacher with a Batch API, what it bills, and a `pocketvlm label` to be killed."""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from pocketvlm.label.label import ask_all
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.plan import Plan
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows
from simulated import Settings, Stats
from simulated.loopback import BUFFER, Answerer, converse, fetch
from simulated.server import Teacher

from .between import Between
from .conftest import make

PRICES = {
    "stand-in": {
        "input_usd": 1.0,
        "output_usd": 4.0,
        "batch": 0.5,
        "image": {"rule": "fixed", "tokens": 1600},
        "source": "https://example.org/prices",
        "date": "2026-11-25",
    }
}

# A shell starts background jobs with SIGINT ignored, and what they start inherits that.
COMMAND = """
import os, signal, time
from pocketvlm.cli import main
from pocketvlm.label import batch, provider
batch.FIRST_LOOK = 0.05
signal.signal(signal.SIGINT, signal.default_int_handler)
{first}
main()
"""


@contextmanager
def teacher(**settings: Any) -> Iterator[tuple[Between, Stats]]:
    """A simulated teacher whose batches end at once, behind a proxy; and its accounts."""
    kept: dict[str, Any] = {"batch_seconds": 0.0} | settings
    with serve_here(Teacher(Settings(**kept)).answer) as url, Between(f"{url}/v1") as between:
        yield between, partial(fetch, f"{url}/stats")


@contextmanager
def serve_here(answer: Answerer) -> Iterator[str]:
    """Serve in a thread while the block runs: a process of its own takes longer to start than most
    tests here. The value is the address."""
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()
    thread = Thread(target=lambda: asyncio.run(_serve(answer, ready)), daemon=True)
    thread.start()
    loop, over, port = ready.result(30)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


async def _serve(answer: Answerer, ready: "Future[Any]") -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    talks: set[asyncio.Task[None]] = set()

    def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = loop.create_task(converse(reader, writer, answer))
        talks.add(talk)
        talk.add_done_callback(talks.discard)

    server = await asyncio.start_server(meet, "127.0.0.1", limit=BUFFER)
    ready.set_result((loop, over, server.sockets[0].getsockname()[1]))
    await over.wait()
    server.close()
    for talk in talks:
        talk.cancel()
    await asyncio.gather(*talks, return_exceptions=True)


def make_batched(
    root: Path, count: int, url: str, config: dict[str, Any] | None = None, **settings: Any
) -> Project:
    """A workspace of `count` pictures that asks in batches, at a known price."""
    kept: dict[str, Any] = {"batch": True} | settings
    return make(root, count, url, {"prices": PRICES} | (config or {}), **kept)


def ask(project: Project) -> dict[str | None, int]:
    """Label, but for the report, which takes longer than all else; how many questions to the first
    teacher ended in which way."""
    plan = Plan(project, Ledger(project.workspace.answers))
    asyncio.run(ask_all(project, plan))
    keys = [key for row in plan.pictures for key in plan.keys(0, row["sha256"])]
    return dict(Counter(plan.ledger.status(key) for key in keys))


def bill(stats: Stats) -> float:
    """USD that the teacher has to get."""
    total = 0.0
    for row in stats()["rows"]:
        usd = (row["prompt_tokens"] + 4 * row["completion_tokens"]) / 1e6
        total += usd / 2 if row["batch"] else usd
    return total


def rows_of(project: Project, kind: str) -> list[Row]:
    """The ledger's rows of a kind, in order."""
    return [row for row in read_rows(project.workspace.answers) if row["kind"] == kind]


def left_over(project: Project) -> list[str]:
    """What a batch should not leave behind."""
    return sorted(path.name for path in (project.workspace.root / "state").glob("*batch*"))


def start(project: Project, first: str = "") -> "subprocess.Popen[str]":
    """`pocketvlm label` as a process of its own, after some lines of Python."""
    code = COMMAND.format(first=first)
    command = [sys.executable, "-c", code, "label", "-c", "pocketvlm.yaml"]
    return subprocess.Popen(
        command,
        cwd=project.workspace.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )


def wait_for(process: "subprocess.Popen[str]", until: Callable[[], bool]) -> None:
    """Wait until something has happened while the process runs."""
    deadline = time.monotonic() + 60
    while not until():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
