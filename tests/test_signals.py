"""SIGTERM ends a run in order, also where a library swallows it, and after a room has listened."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pocketvlm.config import parse_config
from pocketvlm.errors import Stopped
from pocketvlm.label.signals import on_signals
from pocketvlm.pipeline import STAGES, Stage, run
from pocketvlm.pipeline.work import last_run
from pocketvlm.progress import track
from pocketvlm.project import Project
from pocketvlm.signals import end_if_told, ended_by_signals
from pocketvlm.workspace import Row, write_text
from tests.pipeline.conftest import draw_pictures


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) is before


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_it_is_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt, match="stopped by SIGTERM"), ended_by_signals():
        terminate()


def test_one_that_was_swallowed_is_not_forgotten() -> None:
    with ended_by_signals():
        with contextlib.suppress(KeyboardInterrupt):  # as a callback of a library that is loading
            terminate()
        with pytest.raises(Stopped, match="SIGTERM"):
            end_if_told()
    with ended_by_signals():
        end_if_told()  # the next run knows nothing of it


@pytest.fixture
def ignored(monkeypatch: pytest.MonkeyPatch) -> list[type[BaseException]]:
    """What Python prints with a traceback, because it cannot raise it where it happened."""
    kinds: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: kinds.append(it.exc_type))
    return kinds


def test_one_that_was_swallowed_ends_at_the_next_step(ignored: list[type]) -> None:
    """And nobody is shown a traceback."""
    asked: list[int] = []
    with ended_by_signals(), pytest.raises(Stopped, match="SIGTERM"):
        for number in track(range(5), "Asking", 5):
            asked.append(number)
            if number == 1:
                swallowed_by_a_callback(terminate)
    assert asked == [0, 1]
    assert not ignored


def test_of_others_the_traceback_stays(ignored: list[type]) -> None:
    with ended_by_signals():
        swallowed_by_a_callback(broken)
    assert ignored == [ValueError]


def broken() -> None:
    """As a library's callback with an error of its own."""
    raise ValueError("a library's own")


class Noise:
    """Something that can be forgotten."""


def swallowed_by_a_callback(what: Callable[[], None]) -> None:
    """As where a signal comes while a library's weak reference is being called back."""
    thing = Noise()
    kept = weakref.ref(thing, lambda _: what())
    del thing
    gc.collect()
    assert kept() is None


def test_no_other_stage_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_pictures(tmp_path / "pictures", 1)
    project = Project.of(parse_config({}), tmp_path)
    began: list[str] = []

    def swallow(stage: Stage, project: Project) -> Row:
        began.append(stage.name)
        with contextlib.suppress(KeyboardInterrupt):
            terminate()
        write_text(project.workspace.index, "")
        return {}

    monkeypatch.setattr(Stage, "run", swallow)
    monkeypatch.setattr(sys.modules["pocketvlm.pipeline.run"], "examine_first", lambda *_: None)
    with pytest.raises(Stopped):
        run(project)
    assert began == [STAGES[0].name]
    assert (last_run(project.workspace) or {})["state"] == "stopped"


def test_after_a_room_has_listened_it_is_as_before() -> None:
    """asyncio alone would leave the next one to the system, which ends the process at once."""
    heard: list[str] = []

    async def listen(twice: bool) -> None:
        with on_signals(heard.append):
            terminate()
            await asyncio.sleep(0)
            while not heard:
                await asyncio.sleep(0.001)
            if twice:
                terminate()

    with ended_by_signals():
        asyncio.run(listen(False))
        with pytest.raises(KeyboardInterrupt):
            terminate()
        heard.clear()
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(listen(True))


def test_a_terminal_that_hangs_up_is_a_stop_too() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
    try:
        with pytest.raises(KeyboardInterrupt, match="SIGHUP"), ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
