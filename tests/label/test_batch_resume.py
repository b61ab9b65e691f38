"""Killed at any moment, labelling in batches goes on where it was: nothing is submitted or billed
twice, nothing is lost, and no file is left behind."""

import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from pocketvlm.label import batch, provider
from pocketvlm.label.batchrows import open_batches
from pocketvlm.label.ledger import Ledger
from pocketvlm.project import Project
from simulated import Stats

from .batching import ask, bill, left_over, make_batched, rows_of, start, teacher, wait_for
from .between import Instead
from .conftest import answers

SLOW_DISK = """
sync = os.fsync
os.fsync = lambda file: (time.sleep(0.05), sync(file))
batch.GROUP = 5
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses: nobody here takes a day."""
    monkeypatch.setattr(batch, "FIRST_LOOK", 0.02)
    monkeypatch.setattr(provider, "SETTLE", 0.2)
    monkeypatch.setattr(provider, "LOOK_AGAIN", 0.02)


def check(project: Project, stats: Stats, count: int, batches: int = 1) -> None:
    """Everything is answered, once, and paid for once; nothing is left."""
    told = stats()
    assert [row["sent"] for row in told["rows"]] == [1] * count
    assert told["batches"] == batches
    ledger = Ledger(project.workspace.answers)
    assert not ledger.open and not open_batches(ledger)
    assert ledger.spent == pytest.approx(bill(stats))
    assert len([row for row in answers(project) if row["status"] == "ok"]) == count
    assert left_over(project) == []


MOMENTS: list[tuple[str, str, Instead]] = [
    ("POST", "/files", "hold"),
    ("POST", "/files", "mute"),
    ("POST", "/batches", "hold"),
    ("POST", "/batches", "mute"),
    ("GET", r"/batches/\w+", "hold"),
    ("GET", r"/files/file-\d+/content", "mute"),
]


@pytest.mark.parametrize(("method", "path", "what"), MOMENTS)
def test_killed_while_it_waits_for_a_reply(
    tmp_path: Path, method: str, path: str, what: Instead
) -> None:
    with teacher() as (between, stats):
        project = make_batched(tmp_path, 8, between.url)
        between.on(method, path, what)
        process = start(project)
        wait_for(process, between.met.is_set)
        process.kill()
        process.communicate()
        assert bool(left_over(project)) == path.startswith("/files")
        assert stats()["batches"] == (path != "/files" and (path, what) != ("/batches", "hold"))
        assert ask(project) == {"ok": 8}
        check(project, stats, 8)


def test_killed_while_it_writes_the_answers_down(tmp_path: Path) -> None:
    with teacher() as (between, stats):
        project = make_batched(tmp_path, 101, between.url)
        process = start(project, SLOW_DISK)
        ledger = project.workspace.answers
        wait_for(process, lambda: ledger.is_file() and ledger.read_bytes().count(b"answer") > 30)
        process.kill()
        process.communicate()
        assert 30 < len(answers(project)) < 101
        assert ask(project) == {"ok": 101}
        check(project, stats, 101)
    assert len(answers(project)) == 101


def test_killed_after_any_row_of_the_ledger(tmp_path: Path) -> None:
    """Every prefix that a kill can leave, whole rows and torn ones."""
    with teacher() as (between, stats):
        whole = make_batched(tmp_path / "whole", 6, between.url)
        assert ask(whole) == {"ok": 6}
        content = whole.workspace.answers.read_bytes()
        submitted = content.index(b'"state": "submitted"')
        first = content.rindex(b"\n", 0, submitted) + 1  # all intents are on the disk
        ends = [at + 1 for at in range(first - 1, len(content)) if content[at : at + 1] == b"\n"]
        assert len(ends) == 1 + 1 + 5 + 1
        for end in [*ends, *(end - 20 for end in ends[1:])]:
            root = tmp_path / str(end)
            shutil.copytree(tmp_path / "whole", root)
            project = Project.of(whole.config, root)
            project.workspace.answers.write_bytes(content[:end])
            assert ask(project) == {"ok": 6}
            check(project, stats, 6)


def test_killed_again_and_again(tmp_path: Path) -> None:
    """At moments that nobody has chosen, with several batches at a time."""
    chance = random.Random(7)
    with teacher(batch_seconds=0.3) as (between, stats):
        project = make_batched(tmp_path, 31, between.url)
        for _ in range(3):
            seen = len(between.seen) + chance.randrange(3, 11)
            process = start(project, "batch.MOST_REQUESTS = 10; provider.SETTLE = 0.5")
            while len(between.seen) < seen and process.poll() is None:
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
            process.communicate()
        assert ask(project) == {"ok": 31}
        told = [row for row in stats()["rows"] if row["batch"]]
        assert {row["sent"] for row in told} == {1}
        assert {row["asked"] for row in told} == {1}
    assert left_over(project) == []


def test_an_open_batch_is_fetched_though_batches_are_off(tmp_path: Path) -> None:
    with teacher() as (between, stats):
        between.on("GET", r"/batches/\w+", "hold")
        process = start(make_batched(tmp_path, 6, between.url))
        wait_for(process, between.met.is_set)
        process.kill()
        process.communicate()
        project = make_batched(tmp_path, 9, between.url, batch=False)
        assert ask(project) == {"ok": 9}
        check(project, stats, 9)
    found = ["batch" in row for row in answers(project)]
    assert found == [False] + [True] * 5 + [False] * 3


def test_interrupted_while_it_waits(tmp_path: Path) -> None:
    with teacher(batch_seconds=1.5) as (between, stats):
        project = make_batched(tmp_path, 6, between.url)
        process = start(project)
        wait_for(process, lambda: between.count("GET", r"/batches/\w+") > 1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
        assert process.returncode == 1
        assert "Traceback" not in said and "batches under way go on" in said
        assert left_over(project) == []
        assert ask(project) == {"ok": 6}
        check(project, stats, 6)


def test_interrupted_while_it_sends(tmp_path: Path) -> None:
    with teacher() as (between, stats):
        project = make_batched(tmp_path, 6, between.url)
        between.on("POST", "/files", "hold")
        process = start(project)
        wait_for(process, between.met.is_set)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
        assert process.returncode == 1 and "Traceback" not in said
        assert left_over(project) == [] and rows_of(project, "batch") == []
        assert ask(project) == {"ok": 6}
        check(project, stats, 6)


def test_what_a_killed_run_left_is_swept_also_without_batches(tmp_path: Path) -> None:
    with teacher() as (between, _):
        project = make_batched(tmp_path, 2, between.url, batch=False)
        state = tmp_path / "state"
        (state / "batch-x1").mkdir(parents=True)
        (state / "batch-x1" / "0.jsonl").write_text("{}")
        (state / "batch-y.jsonl").write_text("{}")
        (state / "label.json").write_text("{}")
        assert ask(project) == {"ok": 2}
    assert [path.name for path in state.iterdir()] == ["label.json"]
