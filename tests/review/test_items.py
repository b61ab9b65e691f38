"""What there is to review: labels, doubts, duplicates, texts, figures."""

import pytest

from pocketvlm.errors import PocketError
from pocketvlm.review.items import Board, figures
from pocketvlm.reviews import Review, review_row
from pocketvlm.workspace import append_row, read_rows, write_rows

from .conftest import Make, hashes


def test_every_answered_picture_is_listed_in_the_index_order(make: Make) -> None:
    board = Board.of(make([{"label": "fire", "confidence": 0.4}, {"status": "none"}, {}]))
    compact = board.compact()
    assert compact["sha256"] == hashes(board.project)
    assert compact["status"] == ["ok", "none", "ok"]
    assert compact["label"] == [2, -1, 0]
    assert compact["confidence"] == [0.4, 0.9, 0.9]


def test_pictures_nobody_was_asked_about_are_left_out(make: Make) -> None:
    project = make([{}, {}])
    rows = list(read_rows(project.workspace.index))
    write_rows(project.workspace.index, [*rows, rows[0] | {"sha256": "0" * 64}])
    assert list(Board.of(project).places) == [row["sha256"] for row in rows]


def test_teachers_who_disagree(make: Make) -> None:
    other = [{}, {"label": "land"}]
    board = Board.of(make([[{}, {}], other, other]))
    assert board.compact()["apart"] == [1, 2]


def test_near_duplicates_are_grouped_and_lone_pictures_are_not_sent(make: Make) -> None:
    project = make([{}] * 4)
    looks = ["0" * 64, "f" * 64, None, "0" * 63 + "1"]
    rows = [
        row | {"phash": look}
        for row, look in zip(read_rows(project.workspace.index), looks, strict=True)
    ]
    write_rows(project.workspace.index, rows)
    assert Board.of(project).compact()["groups"] == {0: 0, 3: 0}


def test_details_hold_every_opinion_and_which_one_stands(make: Make) -> None:
    rich = {"visual_features": ["waves"], "colours": ["blue"], "texture": "", "raw": "{...}"}
    board = Board.of(make([[{"label": "land"}, rich]]))
    details = board.details(0)
    assert details["origin"] == "my 0.png"
    assert [one["label"] for one in details["opinions"]] == ["land", "water"]
    assert details["stands"] == 1
    assert details["opinions"][1]["colours"] == ["blue"]
    assert not {"raw", "texture", "error"} & set(details["opinions"][1])


def test_an_answer_that_says_nothing_else_shows_its_raw_text(make: Make) -> None:
    refused = {
        "status": "refused",
        "label": None,
        "confidence": None,
        "reason": "",
        "raw": "I" * 9999,
    }
    (one,) = Board.of(make([refused])).details(0)["opinions"]
    assert one["raw"] == "I" * 2000


@pytest.mark.parametrize(
    ("words", "found"),
    [("RUST", [0, 1]), ("rust hull", [1]), ("", [0, 1, 2]), ("my 2", [2]), ("violet", [2])],
)
def test_search_reads_all_that_was_said(make: Make, words: str, found: list[int]) -> None:
    first = {"reason": "Rust covers it."}
    second = [{}, {"visual_features": ["a hull", "rust"]}]
    third = {"colours": ["Violet"], "ambiguity": "none"}
    assert Board.of(make([first, second, third])).search(words) == found


def test_a_persons_label_stands_before_the_teachers(make: Make) -> None:
    project = make([{}, {}, {}, {"status": "none"}])
    shas = hashes(project)
    for number, decision, label in [
        (0, "relabel", "fire"),
        (1, "reject", None),
        (3, "relabel", "land"),
    ]:
        append_row(project.workspace.reviews, review_row(Review(shas[number], decision, label), ""))  # type: ignore[arg-type]
    assert Board.of(project).standing() == ["fire", None, "water", "land"]


def test_figures_count_what_stands_of_these_pictures_alone(make: Make) -> None:
    project = make([{}] * 5)
    shas = [*hashes(project), "0" * 64]
    for number, decision in enumerate(
        ("accept", "relabel", "reject", "accept", "accept", "accept")
    ):
        label = None if decision == "reject" else "water"
        append_row(project.workspace.reviews, review_row(Review(shas[number], decision, label), ""))  # type: ignore[arg-type]
    append_row(project.workspace.reviews, review_row(Review(shas[3], "undo", None), ""))
    assert figures(Board.of(project)) == {
        "reviewed": 4,
        "accepted": 2,
        "relabelled": 1,
        "rejected": 1,
        "left": 1,
    }


def test_without_an_answer_the_mend_is_named(make: Make) -> None:
    project = make([])
    with pytest.raises(PocketError, match="run `pocketvlm label` first"):
        Board.of(project)
