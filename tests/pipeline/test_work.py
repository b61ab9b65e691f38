"""One command at a time in a folder, and the record of what became of it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketvlm.config import parse_config
from pocketvlm.errors import GateMissed, PocketError, Stopped
from pocketvlm.pipeline.work import (
    holder_of,
    last_run,
    lives,
    one_at_a_time,
    recorded,
    this_process,
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


def test_another_process_with_the_same_number_is_not_the_run() -> None:
    me = this_process()
    assert lives(me)
    assert not lives(me | {"began": me["began"] - 5})
    assert lives(me | {"began": 0.0, "host": "elsewhere"})  # nobody can know


def test_a_process_nobody_waited_for_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    row = this_process() | {"pid": child.pid}
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not lives(row)
    child.wait()


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
    assert run["message"] == (str(error) or type(error).__name__)
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


def test_a_holder_that_cannot_be_read_is_nobody(project: Project) -> None:
    path = project.workspace.root / "state" / "holder.json"
    write_json(path, {})
    path.write_text("{")
    assert holder_of(project.workspace) is None
    with one_at_a_time(project):
        assert holder_of(project.workspace) is not None
    assert not path.exists()


def test_sigterm_is_a_stop(project: Project) -> None:
    with another(project) as process:
        started = time.monotonic()
        process.terminate()
        process.wait(timeout=30)
    assert time.monotonic() - started < 30
    run: Row = read_json(project.workspace.root / "state" / "run.json")
    assert (run["state"], run["message"]) == ("stopped", "stopped by SIGTERM")
    assert not (project.workspace.root / "state" / "holder.json").exists()
