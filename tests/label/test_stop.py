"""Stopped in any way: what is paid is kept, nothing new starts, and nothing is asked twice."""

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from pocketvlm.label.client import encode_picture
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows

from .batching import ask
from .conftest import answers, make
from .process import Labelling
from .server import Reply, Server, answer

STOPPED = "stopped; what is finished is kept, run the same command to go on\n"


def intents(project: Project) -> list[Row]:
    """The ledger's intents."""
    return [row for row in read_rows(project.workspace.answers) if row["kind"] == "intent"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_answers_on_their_way_are_kept_and_nothing_new_starts(
    tmp_path: Path, server: Server, number: signal.Signals
) -> None:
    server.delay = 0.5
    project = make(tmp_path, 60, server.url, concurrency=4)
    with Labelling(project) as run:
        run.wait_for(lambda: run.answered() >= 4 and server.inside == 4)
        run.signal(number)
        time.sleep(0.2)
        asked = len(server.asked)
        assert run.end() == 1
        said = run.said()
    assert len(server.asked) == asked < 60
    rows = answers(project)
    assert [row["status"] for row in rows] == ["ok"] * asked
    assert len(intents(project)) == asked
    assert "stopping: waiting for 4 answers that are paid; " in said
    assert said.endswith(STOPPED)
    assert "Traceback" not in said
    server.delay = 0.0
    assert ask(project) == {"ok": 60}
    assert len(server.asked) == 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_time_it_ends_at_once(
    tmp_path: Path, server: Server, number: signal.Signals
) -> None:
    server.queue.extend([answer()] * 4)
    server.usual = Reply(instead="hang")
    project = make(tmp_path, 20, server.url, concurrency=4)
    with Labelling(project) as run:
        run.wait_for(lambda: run.answered() == 4 and len(server.asked) == 8)
        run.signal(number)
        run.wait_for(lambda: "again stops at once" in run.said())
        started = time.monotonic()
        run.signal(number)
        assert run.end() == 1
        assert time.monotonic() - started < 5
        said = run.said()
    assert "Traceback" not in said
    assert said.endswith(STOPPED)
    server.closing.set()
    server.usual = answer()
    assert ask(project) == {"ok": 20}
    assert len(server.asked) == 8 + 16


def test_killed_at_any_moment_no_answer_is_asked_for_again(tmp_path: Path, server: Server) -> None:
    chance = random.Random(7)
    server.delay = 0.05
    count, window, kills = 60, 6, 3
    project = make(tmp_path, count, server.url, concurrency=window)
    for _ in range(kills):
        with Labelling(project) as run:
            before = run.answered()
            run.wait_for(lambda run=run, before=before: run.answered() > before)  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.15))
            run.process.kill()
            run.end()
    assert ask(project) == {"ok": count}

    done: set[str] = set()
    for row in read_rows(project.workspace.answers):
        assert row["key"] not in done
        if row["kind"] == "answer":
            done.add(row["key"])
    sent = {
        encode_picture(project.workspace.originals / row["file"], 1024)[0]: row["sha256"]
        for row in read_rows(project.workspace.index)
    }
    asked = Counter(sent[image] for image in server.images())
    meant = Counter(row["picture"] for row in intents(project))
    assert all(asked[picture] <= meant[picture] for picture in meant)
    assert count < asked.total() <= count + kills * window
