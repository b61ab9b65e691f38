"""W&B online: it is sent while it is recorded, and no state of the server reaches the training."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pocketvlm.student import wandb_run
from tests.student.tracked import WANDB_KEY, Watched, apart, make_tracked, sync, wrong
from tests.student.tracking_server import Mode, Wandb

__all__ = ["apart"]

STEP = 0.5
"""Seconds. Telling a step takes a few milliseconds; waiting for the server takes a second."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wandb]:
    monkeypatch.setattr(wandb_run, "ANSWER_WITHIN", 1.0)
    monkeypatch.setattr(wandb_run, "REST_WITHIN", 2.0)
    monkeypatch.setenv("WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL", "0.5")  # W&B's own is 15 s
    monkeypatch.setenv("WANDB_API_KEY", WANDB_KEY)
    with Wandb(WANDB_KEY) as running:
        monkeypatch.setenv("WANDB_BASE_URL", running.url)
        yield running


def waits(condition: Callable[[], object], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


def helpers(training: int | None = None) -> list[psutil.Process]:
    """The sender of a training (this process, or another) and its W&B service."""
    found = []
    for process in psutil.Process(training).children():
        with suppress(psutil.Error):
            if "sending.py" in " ".join(process.cmdline()):
                found += [process, *process.children()]
    return found


def test_seen_while_it_trains(
    tmp_path: Path,
    server: Wandb,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The key is one of .env, which nobody else reads."""
    monkeypatch.setattr(wandb_run, "REST_WITHIN", 20.0)
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / ".env").write_text(f"WANDB_API_KEY={WANDB_KEY}\n")
    (tmp_path / ".env").chmod(0o600)
    watched = Watched(make_tracked(tmp_path, wandb="online"))
    watched.steps(10)
    watched.evaluation(wrong(tmp_path))
    assert waits(lambda: server.rows("train/loss"))  # before its end
    watched.steps(5)
    assert watched.end() < 20
    assert [step for step, _ in server.rows("train/loss")] == list(range(1, 16))
    assert "val/mistakes.table.json" in server.files
    assert server.exit_code == 0
    said = capsys.readouterr().err
    assert f"{server.url}/me/pocketvlm/runs/" in said
    assert "wandb sync" not in said
    assert helpers() == []


@pytest.mark.parametrize(
    ("mode", "key", "why"),
    [
        ("hang", WANDB_KEY, "does not answer within 1 s"),
        ("error", WANDB_KEY, "answers with status 500"),
        ("garbage", WANDB_KEY, "does not answer as W&B does"),
        ("ok", "another1" * 5, "does not know the key in WANDB_API_KEY"),
    ],
)
def test_a_server_that_fails_at_the_start(
    tmp_path: Path,
    server: Wandb,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mode: Mode,
    key: str,
    why: str,
) -> None:
    server.mode = mode
    monkeypatch.setenv("WANDB_API_KEY", key)
    watched = Watched(make_tracked(tmp_path, wandb="online"))
    assert watched.began < 5
    said = capsys.readouterr().err
    assert f"{server.host} {why}. The training goes on offline" in said
    assert "wandb sync" not in said and key not in said
    watched.steps(5)
    assert watched.slowest < STEP
    assert watched.end() < 2
    said = capsys.readouterr().err
    assert said.count(f"wandb sync {tmp_path}/logs/wandb/offline-run-*-") == 1
    assert key not in said
    server.mode = "ok"
    sync(tmp_path)
    assert len(server.rows("train/loss")) == 5


def test_a_server_that_is_not_there(
    tmp_path: Path,
    server: Wandb,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.http.server_close()
    watched = Watched(make_tracked(tmp_path, wandb="online"))
    assert f"{server.host} cannot be reached" in capsys.readouterr().err
    watched.steps(5)
    assert watched.end() < 2


@pytest.mark.parametrize("mode", ["hang", "error"])
def test_a_server_that_dies_in_the_middle(
    tmp_path: Path, server: Wandb, capsys: pytest.CaptureFixture[str], mode: Mode
) -> None:
    """No step waits for it, nor does the end; what is missing is sent afterwards."""
    watched = Watched(make_tracked(tmp_path, wandb="online"))
    watched.steps(5)
    assert waits(lambda: server.rows("train/loss"))
    running = helpers()
    server.mode = mode
    watched.slowest = 0.0
    watched.steps(100, seconds=0.01)
    assert watched.slowest < STEP
    watched.evaluation(wrong(tmp_path))
    assert watched.slowest < 2  # the table's picture is written
    watched.steps(5)
    assert watched.end() < 10
    assert "W&B: the run is on the disk; this sends it" in capsys.readouterr().err
    assert psutil.wait_procs(running, timeout=10)[1] == []
    server.mode = "ok"
    sync(tmp_path)
    assert [step for step, _ in server.rows("train/loss")] == list(range(1, 111))
    assert "val/mistakes.table.json" in server.files


def test_an_answer_that_ends_the_sender_does_not_end_the_recording(
    tmp_path: Path, server: Wandb, capsys: pytest.CaptureFixture[str]
) -> None:
    """W&B's service falls over an answer that lacks the artifact it asked for; but it is the
    sender's own service."""
    watched = Watched(make_tracked(tmp_path, wandb="online"))
    watched.steps(5)
    assert waits(lambda: server.rows("train/loss"))
    running = helpers()
    assert len(running) >= 2
    server.mode = "garbage"
    watched.evaluation(wrong(tmp_path))
    assert psutil.wait_procs(running, timeout=20)[1] == []
    watched.steps(5)
    assert watched.end() < 2
    said = capsys.readouterr().err
    assert "left out" not in said and "wandb sync" in said
    server.mode = "ok"
    sync(tmp_path)
    assert [step for step, _ in server.rows("train/loss")] == list(range(1, 11))


def test_resumed_online(tmp_path: Path, server: Wandb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_run, "REST_WITHIN", 20.0)
    project = make_tracked(tmp_path, wandb="online")
    first = Watched(project)
    first.steps(4)
    first.close()
    second = Watched(project, step=4)
    second.steps(3)
    second.end()
    assert len(server.runs) == 1
    assert [step for step, _ in server.rows("train/loss")] == [1, 2, 3, 4, 5, 6, 7]


CHILD = """
import sys, time
from pathlib import Path
from pocketvlm.student import wandb_run
from tests.student.tracked import Watched, make_tracked
wandb_run.REST_WITHIN = 2.0
watched = Watched(make_tracked(Path(sys.argv[1]), wandb="online"))
watched.steps(10)
print("told", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_nothing_is_left_running_by_a_killed_training(tmp_path: Path, server: Wandb) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    )
    assert child.stdout and child.stdout.readline() == b"told\n"
    assert waits(lambda: server.rows("train/loss"))
    running = helpers(child.pid)
    assert len(running) >= 2
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    _, alive = psutil.wait_procs(running, timeout=30)
    assert alive == []


def test_a_service_that_dies_takes_nothing_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """W&B's own helper process, which also records, is killed."""
    watched = Watched(make_tracked(tmp_path, wandb="offline", tensorboard=True))
    watched.steps(2)
    services = [
        process
        for process in psutil.Process().children()
        if "wandb-core" in " ".join(process.cmdline())
    ]
    assert services
    for service in services:
        service.kill()
        service.wait()
    watched.steps(5)
    assert watched.end() < 10
    assert "W&B is left out from here on" in capsys.readouterr().err
