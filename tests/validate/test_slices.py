"""Accuracy by source, confidence and review."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.intervals import wilson
from pocketvlm.validate.examples import Example
from pocketvlm.validate.slices import SOURCES, slices


def example(source: str = "coco", confidence: float = 0.9, reviewed: bool = False) -> Example:
    return Example(
        id="1",
        path=Path("1.png"),
        truth="fire",
        teacher="fire",
        confidence=confidence,
        reason="",
        source=source,
        reviewed=reviewed,
    )


def test_sources_by_hand_biggest_first() -> None:
    examples = [example("coco"), example("phone"), example("phone"), example("phone")]
    rows = slices(examples, ["fire", "fire", "water", None])["source"]
    assert rows == [
        {"name": "phone", "n": 3, "accuracy": pytest.approx(1 / 3), "ci": list(wilson(1, 3))},
        {"name": "coco", "n": 1, "accuracy": 1.0, "ci": list(wilson(1, 1))},
    ]


@pytest.mark.parametrize(("extra", "last"), [(1, "1 other"), (3, "3 others")])
def test_many_sources_end_in_one_row(extra: int, last: str) -> None:
    """The rest is the smallest ones."""
    examples = [
        example(f"s{at:02}")
        for at in range(SOURCES + extra)
        for _ in range(2 if at < SOURCES else 1)
    ]
    rows = slices(examples, ["fire"] * len(examples))["source"]
    assert [row["name"] for row in rows] == [*(f"s{at:02}" for at in range(SOURCES)), last]
    assert rows[-1]["n"] == extra


def test_as_many_sources_as_are_shown_need_no_rest() -> None:
    examples = [example(f"s{at}") for at in range(SOURCES)]
    assert len(slices(examples, ["fire"] * SOURCES)["source"]) == SOURCES


@pytest.mark.parametrize(
    ("confidence", "band"),
    [
        (0.0, "below 0.75"),
        (0.7499, "below 0.75"),
        (0.75, "0.75 to 0.9"),
        (0.8999, "0.75 to 0.9"),
        (0.9, "0.9 and above"),
        (1.0, "0.9 and above"),
    ],
)
def test_a_confidence_falls_into_its_band(confidence: float, band: str) -> None:
    rows = slices([example(confidence=confidence)], ["fire"])["confidence"]
    assert [row["name"] for row in rows] == [band]


def test_bands_go_from_unsure_to_sure() -> None:
    rows = slices([example(confidence=one) for one in (0.95, 0.5, 0.8)], ["fire", None, "fire"])
    assert [row["name"] for row in rows["confidence"]] == [
        "below 0.75",
        "0.75 to 0.9",
        "0.9 and above",
    ]
    assert [row["accuracy"] for row in rows["confidence"]] == [0, 1, 1]


def test_reviewed_and_not() -> None:
    rows = slices([example(reviewed=True), example()], ["fire", "wood"])["reviewed"]
    assert [(row["name"], row["accuracy"]) for row in rows] == [
        ("reviewed by a person", 1.0),
        ("not reviewed", 0.0),
    ]


def test_answers_of_other_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="argument"):
        slices([example()], ["fire", "fire"])


PICTURES = st.lists(
    st.tuples(
        st.integers(0, 20), st.floats(0, 1), st.booleans(), st.sampled_from(["fire", "x", None])
    ),
    min_size=1,
    max_size=80,
)


@given(PICTURES)
def test_every_slicing_holds_every_picture_once(
    pictures: list[tuple[int, float, bool, str | None]],
) -> None:
    examples = [example(str(source), sure, seen) for source, sure, seen, _ in pictures]
    answers = [answer for *_, answer in pictures]
    for rows in slices(examples, answers).values():
        assert sum(row["n"] for row in rows) == len(pictures)
        right = sum(row["accuracy"] * row["n"] for row in rows)
        assert right == pytest.approx(answers.count("fire"))
        assert all(row["ci"][0] <= row["accuracy"] + 1e-9 for row in rows)
        assert all(row["accuracy"] <= row["ci"][1] + 1e-9 for row in rows)
