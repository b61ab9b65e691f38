"""Progress: on standard error, and nothing of the items is lost."""

import pytest

from pocketvlm.progress import bar, say, track


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
