"""Decisions on the disk: in order, once, and seen by everybody."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketvlm.review.journal import Journal
from pocketvlm.reviews import Review, read_reviews, review_row
from pocketvlm.workspace import append_row

WATER = Review("a" * 64, "accept", "water")
GONE = Review("b" * 64, "reject", None)


def decisions(path: Path) -> list[str]:
    """The decisions in the file, in order."""
    return [json.loads(line)["decision"] for line in path.read_bytes().splitlines()]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "labels" / "reviews.jsonl")


def test_lines_are_what_the_hall_reads(journal: Journal) -> None:
    journal.write("w", 0, [WATER, GONE])
    assert read_reviews(journal.path) == {WATER.picture: WATER, GONE.picture: GONE}
    first = json.loads(journal.path.read_bytes().splitlines()[0])
    assert set(first) == {"picture", "decision", "label", "at"}
    assert first["at"].endswith("+00:00")


def test_nothing_is_read_twice(journal: Journal) -> None:
    assert journal.since(0) == (0, [])
    journal.write("w", 0, [WATER])
    at, found = journal.since(0)
    assert found == [WATER]
    assert journal.since(at) == (at, [])
    append_row(journal.path, review_row(GONE, "now"))  # another process
    assert journal.since(at)[1] == [GONE]


def test_a_line_being_written_waits_until_it_is_whole(journal: Journal) -> None:
    journal.write("w", 0, [WATER])
    at, _ = journal.since(0)
    line = json.dumps(review_row(GONE, "now")).encode() + b"\n"
    with journal.path.open("ab", buffering=0) as file:
        file.write(line[:30])
        assert journal.since(at) == (at, [])
        file.write(line[30:])
    assert journal.since(at) == (at + len(line), [GONE])


def test_a_file_that_became_shorter_is_read_anew(journal: Journal) -> None:
    journal.write("w", 0, [WATER, WATER])
    at, _ = journal.since(0)
    journal.path.unlink()
    append_row(journal.path, review_row(GONE, "now"))
    end, found = journal.since(at)
    assert (end, found) == (journal.path.stat().st_size, [GONE])


def test_lines_that_are_none_are_passed_over(journal: Journal) -> None:
    journal.write("w", 0, [WATER])
    with journal.path.open("ab") as file:
        file.write(b"no json\n" + b'{"picture": 3}\n')
    journal.write("w", 1, [GONE])
    assert journal.since(0)[1] == [WATER, GONE]


def test_a_full_disk_loses_none_and_repeats_none(journal: Journal) -> None:
    journal.write("w", 0, [WATER])
    journal.path.rename(journal.path.with_suffix(".kept"))
    journal.path.mkdir()  # nothing can be appended to a folder
    with pytest.raises(OSError, match="directory"):
        journal.write("w", 1, [GONE])
    journal.path.rmdir()
    journal.path.with_suffix(".kept").rename(journal.path)
    journal.write("w", 0, [WATER, GONE])
    assert decisions(journal.path) == ["accept", "reject"]


def test_what_does_not_fit_is_counted_and_not_written(journal: Journal) -> None:
    journal.write("w", 0, [WATER, None])
    journal.write("w", 0, [WATER, None, GONE])  # no reply had come
    journal.write("w", 3, [None])
    journal.write("w", 4, [WATER])
    assert decisions(journal.path) == ["accept", "reject", "accept"]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), max_size=8))
def test_what_is_sent_again_is_written_once(sendings: list[tuple[int, int]]) -> None:
    """A window sends some decisions, then the same and some more because no reply came."""
    made = [Review(f"{number:064x}", "accept", "water") for number in range(100)]
    with TemporaryDirectory() as folder:
        journal, sent = Journal(Path(folder) / "reviews.jsonl"), 0
        for more, again in sendings:
            start = max(0, sent - again)
            journal.write("w", start, made[start : sent + more])
            sent += more
        assert journal.since(0)[1] == made[:sent]
