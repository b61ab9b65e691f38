"""One command at a time in a folder, and the record of what became of it."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from pocketvlm.config import parse_config
from pocketvlm.errors import GateMissed, PocketError, Stopped
from pocketvlm.pipeline.work import (
    holder_of,
    is_held,
    last_run,
    one_at_a_time,
    recorded,
)
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_json, write_json

HOLD = """
import sys, time
from pathlib import Path
from pocketvlm.config import parse_config
from pocketvlm.pipeline.work import recorded
from pocketvlm.project import Project
with recorded(Project.of(parse_config({}), Path(sys.argv[1])), "run", ["train"]) as record:
    record.under_way()
    print("at work", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.of(parse_config({}), tmp_path)


def another(project: Project) -> "subprocess.Popen[str]":
    """Another process that is at work in the folder."""
    command = [sys.executable, "-c", HOLD, str(project.workspace.root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    return process


def test_the_second_is_refused_with_the_pid_of_the_first(project: Project) -> None:
    with another(project) as process:
        try:
            refusal = rf"`run`, pid {process.pid}, since .*stop`"
            with pytest.raises(PocketError, match=refusal), one_at_a_time(project):
                pass
            holder = holder_of(project.workspace)
            assert holder is not None
            assert holder["pid"] == process.pid
        finally:
            process.kill()


def test_what_a_killed_run_leaves_is_recognised(
    project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    """Lock, holder and record of a process that is gone stop nobody, and the next run says so."""
    with another(project) as process:
        process.kill()
    assert (project.workspace.root / "state" / "holder.json").is_file()
    assert holder_of(project.workspace) is None
    run = last_run(project.workspace)
    assert run is not None
    assert (run["state"], run["pid"]) == ("killed", process.pid)
    with recorded(project, "run", []) as record:
        record.under_way()
    said = capfd.readouterr().err
    assert f"(pid {process.pid}) was ended from outside" in said
    assert (last_run(project.workspace) or {})["state"] == "done"
    with recorded(project, "run", []):
        pass
    assert "ended from outside" not in capfd.readouterr().err


def test_the_lock_alone_knows_who_is_at_work(project: Project) -> None:
    """Clocks are set, pids are given again, containers come back under other names."""
    with another(project) as process:
        try:
            run = last_run(project.workspace)
            assert run is not None
            assert (run["state"], run["pid"]) == ("running", process.pid)
        finally:
            process.kill()
    for change in ({"pid": os.getpid()}, {"host": "another-container"}, {"began": 0.0}):
        for name in ("run.json", "holder.json"):
            path = project.workspace.root / "state" / name
            write_json(path, read_json(path) | change)
        assert holder_of(project.workspace) is None
        assert (last_run(project.workspace) or {})["state"] == "killed"


def test_a_look_never_refuses_a_run(project: Project) -> None:
    with one_at_a_time(project):
        pass
    looks = Event()

    def look() -> None:
        while not looks.is_set():
            is_held(project.workspace)

    threads = [Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            with one_at_a_time(project):
                pass
    finally:
        looks.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"pid": "x", "at": 3}', "\xff"])
def test_a_broken_record_is_none(project: Project, text: str) -> None:
    with recorded(project, "run", []):
        pass
    for name in ("run.json", "holder.json"):
        (project.workspace.root / "state" / name).write_text(text, encoding="latin-1")
    assert last_run(project.workspace) is None
    with recorded(project, "run", []):
        assert (last_run(project.workspace) or {})["state"] == "starting"


def test_on_a_full_disk_the_record_still_says_how_it_ended(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(PocketError), recorded(project, "run", []) as record:
        record.under_way()
        monkeypatch.setattr("pocketvlm.pipeline.work.write_json", full)
        raise PocketError("the disk is full")
    run = last_run(project.workspace)
    assert run is not None
    assert (run["state"], run["message"]) == ("failed", "the disk is full")


def test_what_is_missed_without_an_end_is_recorded(project: Project) -> None:
    with recorded(project, "run --vision-sizes", []) as record:
        record.gate = "side 64: accuracy 0.1"
    assert (last_run(project.workspace) or {})["state"] == "gate missed"


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Stopped("stopped by SIGTERM after step 3"), "stopped"),
        (KeyboardInterrupt(), "stopped"),
        (GateMissed("accuracy 0.1 misses 0.85", {}), "gate missed"),
        (PocketError("no pictures"), "failed"),
        (ZeroDivisionError("division by zero"), "failed"),
        (SystemExit(1), "failed"),
    ],
)
def test_the_record_says_how_it_ended(project: Project, error: BaseException, state: str) -> None:
    with pytest.raises(type(error)), recorded(project, "run", ["collect"]) as record:
        record.under_way()
        raising(error)()
    run = last_run(project.workspace)
    assert run is not None
    assert run["state"] == state
    assert run["message"] == (str(error) or "stopped by Ctrl-C")
    assert run["ended"] >= run["at"]
    log = (project.workspace.root / run["log"]).read_text()
    assert log.splitlines()[-1].split(" ", 2)[2].startswith(state)


def test_each_run_has_its_own_log(project: Project) -> None:
    for number in range(3):
        with recorded(project, "run", []):
            say(f"number {number}")
    logs = sorted(project.workspace.logs.glob("run-*.log"), key=lambda path: path.stat().st_mtime)
    assert [f"number {at}" in path.read_text() for at, path in enumerate(logs)] == [True] * 3


def test_a_run_inside_of_a_run_is_part_of_it(project: Project) -> None:
    with recorded(project, "run", ["collect"]) as outer:
        with recorded(project, "run", ["label"]) as inner:
            assert inner is outer
        assert (last_run(project.workspace) or {})["state"] == "starting"
    assert (last_run(project.workspace) or {})["state"] == "done"


def test_sigterm_is_a_stop(project: Project) -> None:
    with another(project) as process:
        started = time.monotonic()
        process.terminate()
        process.wait(timeout=30)
    assert time.monotonic() - started < 30
    run: Row = read_json(project.workspace.root / "state" / "run.json")
    assert (run["state"], run["message"]) == ("stopped", "stopped by SIGTERM")
    assert not (project.workspace.root / "state" / "holder.json").exists()
