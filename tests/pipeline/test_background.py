"""A real run in the background: it outlives the terminal, and can be watched and stopped."""

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pocketvlm.pipeline.background import Ended, lines
from pocketvlm.pipeline.work import last_run, recorded
from pocketvlm.project import Project
from pocketvlm.workspace import Row
from tests.label.conftest import make
from tests.label.server import Server, answer

COMMAND = [sys.executable, "-m", "pocketvlm"]
PATIENCE = 60.0


@pytest.fixture
def server() -> Iterator[Server]:
    """A teacher that takes its time, so that a run is at work for a while."""
    with Server() as server:
        server.delay = 0.3
        yield server


@pytest.fixture
def project(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Forty collected pictures, from a folder that holds them too; whatever runs is ended."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-nobody-may-read-this")
    server.queue.extend(answer() for _ in range(40))
    project = make(tmp_path, 40, server.url)
    (tmp_path / "pictures").mkdir()
    for path in project.workspace.originals.glob("*.png"):
        (tmp_path / "pictures" / path.name).write_bytes(path.read_bytes())
    yield project
    if (run := last_run(project.workspace)) and run["state"] in ("starting", "running"):
        psutil.Process(run["pid"]).kill()


def pocketvlm(project: Project, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, *words, "-c", str(project.workspace.root / "pocketvlm.yaml")]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


def detached(project: Project) -> Row:
    """The record of a run that has just been started."""
    started = pocketvlm(project, "run", "--until", "label", "--detach", "--json")
    assert started.returncode == 0, started.stderr
    run: Row = json.loads(started.stdout)
    return run


def status(project: Project) -> dict[str, Any]:
    asked = pocketvlm(project, "status", "--json")
    assert asked.returncode == 0, asked.stderr
    figures: dict[str, Any] = json.loads(asked.stdout)
    return figures


def ended(project: Project) -> Row:
    """The record of the run once it has ended."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        run = last_run(project.workspace)
        if run and run["state"] not in ("starting", "running"):
            return run
        time.sleep(0.05)
    raise AssertionError("it does not end")


def test_it_runs_and_is_watched_to_its_end(project: Project) -> None:
    run = detached(project)
    assert psutil.Process(run["pid"]).ppid() != os.getpid()
    now = status(project)
    assert now["state"] == "running"
    assert now["run"]["pid"] == run["pid"]
    followed = pocketvlm(project, "logs", "-f", "-n", "100")
    assert followed.returncode == 0
    assert ended(project)["state"] == "done"
    said = followed.stdout.splitlines()
    assert said[-1].endswith("Z done")
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ ", line) for line in said)
    after = status(project)
    stages = {row["stage"]: row["state"] for row in after["stages"]}
    assert (stages["collect"], stages["label"], stages["train"]) == ("done", "done", "to do")
    assert after["state"] == "done"
    assert after["now"] is None


def test_a_second_run_is_refused(project: Project) -> None:
    run = detached(project)
    for more in (["--detach"], []):
        second = pocketvlm(project, "run", *more)
        assert second.returncode == 1
        assert f"pid {run['pid']}" in second.stderr
    assert len(list(project.workspace.logs.glob("run-*.log"))) == 1


def test_stop_waits_for_answers_that_are_paid(project: Project, server: Server) -> None:
    detached(project)
    while len(server.asked) < 3:
        time.sleep(0.02)
    stopped = pocketvlm(project, "stop")
    assert stopped.returncode == 0
    assert ended(project)["state"] == "stopped"
    rows = [json.loads(line) for line in project.workspace.answers.read_text().splitlines()]
    kinds = [row["kind"] for row in rows]
    assert kinds.count("intent") == kinds.count("answer") == len(server.asked) < 40
    again = pocketvlm(project, "stop")
    assert again.returncode == 0
    assert "nothing is at work" in again.stderr
    assert pocketvlm(project, "run", "--until", "label").returncode == 0
    assert len(server.asked) == 40


def test_it_outlives_its_terminal(project: Project) -> None:
    """The terminal hangs up: everything in its session is told, and the run is not in it."""
    ours, its = pty.openpty()
    command = [*COMMAND, "run", "--until", "label", "--detach"]

    def terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    shell = subprocess.Popen(
        ["bash", "-c", f"{' '.join(command)}; sleep 60"],
        cwd=project.workspace.root,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
        preexec_fn=terminal,
    )
    os.close(its)
    said = b""
    while b"stop -c" not in said:
        said += os.read(ours, 4096)
    os.close(ours)  # the terminal is gone
    assert shell.wait(timeout=PATIENCE) == -signal.SIGHUP
    assert ended(project)["state"] == "done"


def test_what_ends_it_before_it_is_under_way_is_told(project: Project) -> None:
    started = pocketvlm(
        project, "run", "--until", "label", "--detach", "--set", "collect.folder=no"
    )
    assert started.returncode == 2
    assert "collect.folder" in started.stderr
    wrong = pocketvlm(project, "run", "--until", "labl", "--detach")
    assert wrong.returncode == 2
    assert "no stage 'labl'" in wrong.stderr


def test_a_kill_is_seen_and_the_next_run_goes_on(project: Project, server: Server) -> None:
    run = detached(project)
    while len(server.asked) < 5:
        time.sleep(0.02)
    psutil.Process(run["pid"]).kill()
    assert ended(project)["state"] == "killed"
    told = pocketvlm(project, "status").stdout
    assert "killed" in told
    server.delay = 0.0
    again = pocketvlm(project, "run", "--until", "label")
    assert again.returncode == 0
    assert f"(pid {run['pid']}) was ended from outside" in again.stderr
    assert len(server.asked) <= 41  # the one in flight is asked again


def test_the_last_lines_alone(project: Project) -> None:
    pocketvlm(project, "run", "--until", "collect")
    assert next(lines(project.workspace, 1, False)).endswith("Z done")
    assert len(list(lines(project.workspace, 2, False))) == 2


def test_before_anything_has_run(project: Project) -> None:
    assert pocketvlm(project, "logs").returncode == 1
    assert status(project)["state"] == "never"
    assert "no run is on record" in pocketvlm(project, "status").stdout


def test_stopping_twice_loses_no_paid_answer(project: Project, server: Server) -> None:
    server.delay = 2.0
    detached(project)
    while not server.asked:
        time.sleep(0.02)
    first = subprocess.Popen(
        [*COMMAND, "stop", "-c", str(project.workspace.root / "pocketvlm.yaml")]
    )
    while "told" not in (project.workspace.root / "state" / "holder.json").read_text():
        time.sleep(0.01)
    assert pocketvlm(project, "stop").returncode == 0
    assert first.wait(timeout=PATIENCE) == 0
    rows = [json.loads(line) for line in project.workspace.answers.read_text().splitlines()]
    kinds = [row["kind"] for row in rows]
    assert kinds.count("intent") == kinds.count("answer") == len(server.asked) > 0


def test_modules_of_the_current_folder_are_not_taken(project: Project) -> None:
    (project.workspace.root / "random.py").write_text("raise SystemExit('shadowed')")
    program = Path(sys.executable).with_name("pocketvlm")
    command = [str(program), "run", "--until", "collect", "--detach"]
    done = subprocess.run(
        command, cwd=project.workspace.root, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert ended(project)["state"] == "done"


def test_a_torn_log_is_shown_as_far_as_it_goes(project: Project) -> None:
    """A letter of two bytes is torn apart; its other half comes while the log is followed."""
    with recorded(project, "run", []) as record:
        log = record.journal.log
        log.write_bytes(b"first\nhalf \xc3")
        shown = lines(project.workspace, 10, True)
        assert next(shown) == "first"
        with log.open("ab") as file:
            file.write(b"\xa9\nbad \xff\nlast")
        assert next(shown) == "half é"
        assert next(shown) == "bad \ufffd"
    assert next(shown).startswith("last")
    assert list(shown) == []
    assert list(lines(project.workspace, 0, False)) == []


def test_who_follows_one_run_is_not_shown_another(project: Project) -> None:
    with recorded(project, "run", []) as first:
        first.journal.line("first")
        shown = lines(project.workspace, 10, True)
        assert next(shown).endswith("Z first")
    with recorded(project, "run", []):
        assert [line.split("Z ")[-1] for line in shown] == ["done"]


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_what_fails_at_once_ends_as_without_detach(
    project: Project, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Also for programs: `remote run` asks for JSON, and goes by the exit code."""
    monkeypatch.delenv("OPENAI_API_KEY")
    gone = ("--set", "teachers.0.base_url=http://192.0.2.1:9/v1", "--until", "label")
    here = pocketvlm(project, "run", *gone)
    there = pocketvlm(project, "run", "--detach", *gone, *words)
    assert here.returncode == there.returncode == 2
    for done in (here, there):
        assert done.stderr.count("error: ") == 1
        assert "There is no key for it either" in done.stderr
    assert there.stdout == ""
    assert "  log: " in there.stderr


@pytest.mark.parametrize(
    ("log", "code", "words", "exit_code"),
    [
        ("2026 validate: first run\nerror: accuracy error: 0.1 misses", 3, "accuracy error: 0", 3),
        ("", -9, "it was killed before it was under way", 1),
        ("Fatal Python error: no memory", 134, "Fatal Python error", 134),
    ],
)
def test_how_it_ended_is_told(
    tmp_path: Path, log: str, code: int, words: str, exit_code: int
) -> None:
    path = tmp_path / "run.log"
    path.write_text(log)
    ended = Ended(path, code)
    assert str(ended).startswith(words)
    assert ended.exit_code == exit_code
