"""What is seen while it asks: on a terminal, in a log, and by a script."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import termios
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pocketvlm import progress
from pocketvlm.journal import duration
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.live import Live, fit
from pocketvlm.label.money import Budget
from pocketvlm.label.pace import Pace
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows

from .batching import ask
from .conftest import answers, make
from .process import Labelling
from .server import Server, answer, refusal, says

PRICES = {
    "stand-in": {
        "input_usd": 1.0,
        "output_usd": 4.0,
        "image": {"rule": "fixed", "tokens": 100},
        "source": "https://example.org/prices",
        "date": "2026-01-31",
    }
}


def priced(root: Path, count: int, server: Server, **teacher: Any) -> Project:
    """A workspace whose teacher costs money, with a budget."""
    config = {"prices": PRICES, "label": {"budget_usd": 2.5}}
    return make(root, count, server.url, config=config, **teacher)


def events(run: Labelling) -> list[Row]:
    """All that is left on standard output: nothing but objects."""
    assert run.process.stdout is not None
    return [json.loads(line) for line in run.process.stdout]


def test_a_script_sees_events_and_at_last_the_figures(tmp_path: Path, server: Server) -> None:
    server.delay = 0.15
    server.queue.extend([answer(label="fire"), answer(label="none"), *[says("So.")] * 4])
    project = priced(tmp_path, 20, server, concurrency=2)
    with Labelling(project, "--json") as run:
        told = events(run)
        assert run.end() == 0
        assert "Labelling" not in run.said()
    assert [event["event"] for event in told] == ["progress"] * (len(told) - 1) + ["done"]
    *progress, last, done = told
    assert progress
    assert all(event["teacher"] == "stand-in" and event["total"] == 20 for event in told[:-1])
    seen = [event["done"] for event in told[:-1]]
    assert seen == sorted(seen) and 0 < seen[0] < 20
    assert progress[0]["rate"] > 0
    assert progress[0]["eta_seconds"] > 0
    assert progress[0]["in_flight"] <= 2
    assert (last["done"], last["in_flight"], last["eta_seconds"]) == (20, 0, 0)
    assert (last["budget_usd"], last["reserved_usd"], last["paused_seconds"]) == (2.5, 0, 0)
    assert last["usd"] == pytest.approx(sum(row["usd"] for row in answers(project)), abs=1e-6)
    final = {row["key"]: row.get("label", row["status"]) for row in answers(project)}
    assert last["counts"] == Counter(final.values())
    assert done["asked"] == 20
    assert done["status"]["none"] == last["counts"]["none"] == 1
    assert done["labels"] == {"water": last["counts"]["water"], "fire": 1}


def test_nothing_to_ask_is_done_too(tmp_path: Path, server: Server) -> None:
    project = make(tmp_path, 2, server.url)
    ask(project)
    with Labelling(project, "--json") as run:
        (done,) = events(run)
        assert run.end() == 0
    assert (done["event"], done["asked"], done["status"]) == ("done", 0, {"ok": 2})


def test_an_error_is_told_people_and_by_the_exit_code(tmp_path: Path, server: Server) -> None:
    server.usual = refusal(401, "wrong key")
    with Labelling(make(tmp_path, 5, server.url), "--json") as run:
        assert {event["event"] for event in events(run)} <= {"progress"}
        assert run.end() == 1
        assert re.search(r"\nerror: http\S+ refused the key .*wrong key", run.said())


def test_a_long_pause_is_told_and_can_be_left(tmp_path: Path, server: Server) -> None:
    server.queue.extend([answer()] * 4)
    server.usual = refusal(429, "busy", retry_after="300")
    project = make(tmp_path, 20, server.url, concurrency=2)
    with Labelling(project, "--json") as run:
        event = run.event()
        while not event.get("paused_seconds"):
            event = run.event()
        assert 295 < event["paused_seconds"] <= 300
        assert event["eta_seconds"] > event["paused_seconds"]
        later = run.event()
        assert later["paused_seconds"] < event["paused_seconds"]
        asked = len(server.asked)
        started = time.monotonic()
        run.signal(signal.SIGINT)
        assert run.end() == 1
        assert time.monotonic() - started < 5
    assert len(server.asked) == asked <= 6
    assert sum(row["status"] == "ok" for row in answers(project)) == 4


def test_who_stops_listening_loses_no_answer(tmp_path: Path, server: Server) -> None:
    """As `pocketvlm label --json | head -1` does; the answers take longer than an event."""
    server.delay = 1.6
    project = make(tmp_path, 60, server.url, concurrency=4)
    with Labelling(project, "--json") as run:
        run.event()
        assert run.process.stdout is not None
        run.process.stdout.close()
        run.process.stdout = None
        assert run.end() == 1
        said = run.said()
    assert "Traceback" not in said
    rows = list(read_rows(project.workspace.answers))
    assert [row["kind"] for row in rows].count("answer") == len(server.asked) < 60
    assert len(rows) == 2 * len(server.asked)


SHOWN, HIDDEN = b"\x1b[?25h", b"\x1b[?25l"
"""What turns a terminal's cursor on and off."""


def terminal(project: Project, columns: int) -> list[str]:
    """The lines that the bar writes to a terminal so wide, from its first to its last."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    seen = b""
    with Labelling(project, terminal=its):
        os.close(its)
        while SHOWN not in seen:  # the cursor is back
            seen += os.read(ours, 65536)
    os.close(ours)
    assert HIDDEN in seen
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", seen.decode()))


@pytest.mark.parametrize("columns", [80, 200])
def test_on_a_terminal_every_line_fits(tmp_path: Path, server: Server, columns: int) -> None:
    server.delay = 0.1
    server.queue.append(answer(label="none"))
    server.queue.extend(answer(label=name) for name in ("land", "fire", "wood", "metal"))
    lines = terminal(priced(tmp_path, 24, server, concurrency=2), columns)
    bars = [line for line in lines if line.startswith("Labelling")]
    notes = [line for line in lines if "in flight" in line]
    assert min(len(bars), len(notes)) > 4
    assert all(len(line) <= columns for line in bars + notes)
    assert any(re.search(r" [1-9]\d?/24 .*\d s left", line) for line in bars)
    said = notes[-1].rstrip()
    rate, cost = r"[\d.]+( of [\d.]+)?", r"0 in flight; [\d.]+ of 2.5 USD"
    if columns == 80:
        assert re.match(rf"{rate}/s, {cost}; none 1, .*…$", said)
    else:
        assert re.match(rf"{rate} a second, {cost}; none 1, water 19, land 1, fire 1", said)
        assert said.endswith("metal 1")


@pytest.fixture
def shown(tmp_path: Path) -> Live:
    """A view of 100 questions, none of them asked yet."""
    return Live("one", 100, Pace(8), Budget(None, Ledger(tmp_path / "answers.jsonl")))


def test_in_a_log_it_is_a_line_now_and_then(
    shown: Live, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with shown:
        for _ in range(50):
            shown.called()
            shown.saw({"status": "ok", "label": "water"})
            shown.tick()
        shown.saw({"status": "refused"})
        assert capfd.readouterr() == ("", "")
        monkeypatch.setattr(progress, "LINE", 0.0)
        shown.tick()
        assert shown.pace is not None
        shown.pace.paused_until = time.monotonic() + 300
        shown.tick()
        shown.tick("stopping; ")
    first, second, third = capfd.readouterr().err.splitlines()[:3]
    assert first == "  Labelling 51 of 100; 50 a second, 0 in flight; refused 1, water 50; 1 s left"
    wait = "the server asks to wait 5 min; 50 a second, 0 in flight; refused 1, water 50"
    assert second == f"  Labelling 51 of 100; {wait}; 5 min left"
    assert third == f"  Labelling 51 of 100; stopping; {wait}"


def test_before_the_first_answer_nothing_is_foretold(shown: Live) -> None:
    now = time.monotonic()
    assert shown.eta(now) is None


def test_a_slow_teacher_has_a_rate_too(shown: Live) -> None:
    """Also where nothing has come for longer than rates are measured."""
    shown.saw({"status": "ok", "label": "water"})
    assert shown.eta(time.monotonic() + 99) == pytest.approx(99 * 99, rel=0.01)


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (40, "2 of 5 a second, 3 in flight; water 1234"),
        (39, "2 of 5/s, 3 in flight; water 1234"),
        (32, "2 of 5/s, 3 in flight; water …"),
        (12, "2 of 5/s, …"),
        (5, "2 …"),
        (1, "…"),
    ],
)
def test_what_does_not_fit_is_shortened(width: int, line: str) -> None:
    parts = ["2 of 5 a second, 3 in flight", "water 1234"]
    assert fit(parts, width) == line
    assert len(fit(parts, width)) <= width


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (89, "89 s"), (300, "5 min"), (7200, "2 h"), (7500, "2.1 h")],
)
def test_durations_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said
