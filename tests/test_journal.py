"""What a run leaves while it works: stamped lines, and a small file about where it stands."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.journal import Journal, duration, in_words, plainly, utc_now
from pocketvlm.workspace import read_json

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "logs" / "run.log", tmp_path / "state" / "progress.json")


def test_every_line_has_its_time(journal: Journal) -> None:
    journal.line("one\ntwo")
    journal.line("")
    lines = journal.log.read_text().splitlines()
    assert [re.sub(STAMP, "at", line) for line in lines] == ["at one", "at two", "at"]


def test_a_stage_begins_with_no_figures_of_another(journal: Journal) -> None:
    journal.enter("label")
    journal.measured({"usd": 1.5})
    journal.enter("train")
    journal.written = 0.0
    journal.stands("Training", 3, 30, 12.34, "loss 2.1")
    now = read_json(journal.stand)
    assert (now["stage"], now["figures"]) == ("train", {})
    assert (now["task"], now["done"], now["total"]) == ("Training", 3, 30)
    assert (now["eta_seconds"], now["note"]) == (12.3, "loss 2.1")


def test_it_is_written_rarely(journal: Journal) -> None:
    journal.enter("train")
    for step in range(1000):
        journal.stands("Training", step, 1000, None, "")
    assert "done" not in read_json(journal.stand)


def test_another_process_goes_on_where_it_stands(journal: Journal) -> None:
    journal.enter("train")
    other = Journal.going_on(journal.log, journal.stand)
    other.written = 0.0
    other.measured({"loss": 0.5})
    now = read_json(journal.stand)
    assert (now["stage"], now["figures"]) == ("train", {"loss": 0.5})


def test_a_place_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "file" / "run.log", tmp_path / "file" / "progress.json")
    journal.line("said")
    journal.enter("train")
    assert Journal.going_on(journal.log, journal.stand).now == {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("Training", 3, 30, 12.0, "loss 2.1"), "Training 3 of 30; loss 2.1; 12 s left"),
        (("Training", 30, 30, 12.0, ""), "Training 30 of 30"),
        (("Fetching, MB", 3, None, None, ""), "Fetching, MB"),
        (("Merging", 1200, 4000, 0.2, ""), "Merging 1,200 of 4,000; 1 s left"),
    ],
)
def test_where_it_stands_in_words(
    given: tuple[str, float, float | None, float | None, str], words: str
) -> None:
    assert in_words(*given) == words


@given(st.floats(0, 1e7))
def test_a_duration_is_short(seconds: float) -> None:
    assert re.fullmatch(r"\d+ s|\d+ min|[\d.]+ h", duration(seconds))


def test_a_time_for_people() -> None:
    assert plainly("2026-11-26T11:02:50+00:00") == "2026-11-26 11:02:50Z"
    assert re.fullmatch(STAMP, plainly(utc_now()))
