"""Progress: on standard error, and nothing of the items is lost."""

import subprocess
import sys
from pathlib import Path

import pytest

from pocketvlm import progress
from pocketvlm.journal import HANDED_ON, Journal
from pocketvlm.progress import bar, handed_on, kept_in, measured, say, track
from pocketvlm.workspace import read_json


def test_track_yields_everything_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abc"), "Reading", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


def test_an_error_inside_a_bar_gets_out() -> None:
    with pytest.raises(ZeroDivisionError), bar("Counting", 2) as advance:
        advance("one")
        raise ZeroDivisionError


def test_words_for_people_are_not_markup(capfd: pytest.CaptureFixture[str]) -> None:
    say("[red]a label[/red] of a very long line " + "x" * 200)
    seen = capfd.readouterr()
    assert seen.out == ""
    assert seen.err == "[red]a label[/red] of a very long line " + "x" * 200 + "\n"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run.log", tmp_path / "progress.json")


def test_what_is_said_is_kept(journal: Journal, capfd: pytest.CaptureFixture[str]) -> None:
    with kept_in(journal):
        say("into the log")
    say("not into it")
    assert journal.log.read_text().endswith("Z into the log\n")
    assert capfd.readouterr().err == "into the log\nnot into it\n"


def test_where_nobody_watches_a_bar_is_a_line_now_and_then(
    journal: Journal, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE", 0.0)
    with kept_in(journal), bar("Counting", 2) as advance:
        advance("first")
    assert "  Counting 1 of 2; first" in capfd.readouterr().err
    assert journal.log.read_text().count("  Counting 1 of 2; first") == 1
    now = read_json(journal.stand)
    assert (now["task"], now["done"], now["total"], now["note"]) == ("Counting", 1, 2, "first")


def test_a_short_work_has_no_lines(journal: Journal) -> None:
    with kept_in(journal):
        assert list(track(range(100), "Counting", 100)) == list(range(100))
    assert not journal.log.exists()


def test_where_standard_error_is_the_log_nothing_is_there_twice(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    code = (
        "from pathlib import Path\n"
        "from pocketvlm.journal import Journal\n"
        "from pocketvlm.progress import kept_in, say\n"
        f"with kept_in(Journal(Path({str(log)!r}), Path({str(tmp_path / 'stand')!r}))):\n"
        "    say('once')\n"
        "raise SystemExit('a word of the interpreter')\n"
    )
    with log.open("ab") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, stderr=file, timeout=60)
    lines = log.read_text().splitlines()
    assert [line.split("Z ")[-1] for line in lines] == ["once", "a word of the interpreter"]


def test_a_process_of_a_run_goes_on_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HANDED_ON, str(tmp_path / "run.log"))
    with handed_on(tmp_path):
        say("of the same run")
        measured(loss=0.5)
    assert "of the same run" in (tmp_path / "run.log").read_text()
    assert read_json(tmp_path / "state" / "progress.json")["figures"] == {"loss": 0.5}
    monkeypatch.delenv(HANDED_ON)
    with handed_on(tmp_path):
        say("alone")
    assert "alone" not in (tmp_path / "run.log").read_text()
