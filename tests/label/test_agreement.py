"""Figures about teachers and their confidence: right, JSON, and honest about what is not known."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from pocketvlm.intervals import wilson
from pocketvlm.label.agreement import STATUSES, Review, calibration, clustered, figures, histogram
from pocketvlm.label.consensus import decide
from pocketvlm.workspace import Row

from .test_consensus import LABELS, WORLDS, lacks, says


def about(
    pictures: Sequence[Sequence[Row]],
    reviews: Mapping[str, Review] | None = None,
    usd: float | None = None,
) -> Row:
    """The figures of pictures named 0, 1, ..."""
    names = [str(at) for at in range(len(pictures))]
    return figures(names, pictures, decide(pictures, LABELS), LABELS, reviews, usd)


def test_counts_by_status_and_class() -> None:
    found = about(
        [
            [says("fire")],
            [says("fire", 0.6), says("wood", 0.9, 1)],
            [says("none")],
            *([lacks(status)] for status in ("rejected", "rejected", "refused", "failed")),
            [lacks("malformed"), lacks("refused", 1)],
        ],
        usd=0.5,
    )
    assert (found["pictures"], found["labelled"]) == (8, 2)
    assert list(found["status"].items()) == [
        *(("ok", 2), ("none", 1), ("rejected", 2)),
        *(("refused", 2), ("malformed", 0), ("failed", 1)),
    ]
    assert found["usd_per_label"] == 0.25
    assert found["classes"]["fire"] == {
        "accepted": 1,
        "disputed": 0,
        "confidence": 0.95,
        "overruled": 1,
    }
    wood = found["classes"]["wood"]
    assert (wood["accepted"], wood["disputed"], wood["overruled"]) == (1, 1, 0)
    assert found["classes"]["water"]["accepted"] == 0
    assert found["classes"]["water"]["confidence"] is None
    assert found["rejected"] == {"cloud": 2}


def test_the_cost_of_a_label_is_unknown_without_price_or_label() -> None:
    assert about([[says("fire")]])["usd_per_label"] is None
    assert about([[says("none")]], usd=1.0)["usd_per_label"] is None
    assert about([[says("fire")]], usd=0.0)["usd_per_label"] == 0


def test_two_teachers_where_both_answered() -> None:
    weak = ["fire", "fire", "wood", "water", "none", "fire"]
    strong = ["fire", "wood", "wood", "water", "none", "none"]
    pictures = [[says(a), says(b, teacher=3)] for a, b in zip(weak, strong, strict=True)]
    pictures += [[says("fire")], [says("fire"), lacks("refused", 3)], [says("wood", teacher=3)]]
    (pair,) = about(pictures)["pairs"]
    assert (pair["teachers"], pair["pictures"]) == ([0, 3], 6)
    assert pair["equal"] == pytest.approx(4 / 6)
    assert pair["kappa"] == pytest.approx(cohen_kappa_score(weak, strong))
    table = pair["confusion"]
    assert table["truth"] == table["answered"] == [*LABELS, "none"]
    assert table["counts"][LABELS.index("wood")][LABELS.index("fire")] == 1
    assert sum(map(sum, table["counts"])) == 6


def test_kappa_is_unknown_where_both_always_say_the_same() -> None:
    (pair,) = about([[says("fire"), says("fire", teacher=1)]] * 3)["pairs"]
    assert (pair["kappa"], pair["equal"]) == (None, 1)


def test_teachers_that_never_meet_make_no_pair() -> None:
    assert about([[says("fire")], [says("fire", teacher=1)]])["pairs"] == []


def test_repeats() -> None:
    found = about(
        [
            [says("fire"), says("fire", repeat=1), says("fire", repeat=2)],
            [says("fire"), says("wood", repeat=1)],
            [says("fire"), lacks("malformed", repeat=1)],
        ]
    )["teachers"][0]
    assert found["repeats"] == {"pictures": 2, "equal": 1, "share": 0.5}
    assert found["answers"] == {"ok": 6, "malformed": 1}
    assert about([[says("fire")]])["teachers"][0]["repeats"] is None


def test_few_values_are_counted_one_by_one_and_many_in_bins() -> None:
    assert histogram([0.95, 0.7, 0.95]) == [
        {"low": 0.7, "high": 0.7, "n": 1},
        {"low": 0.95, "high": 0.95, "n": 2},
    ]
    spread = [at / 99 for at in range(100)]
    bars = histogram(spread)
    assert len(bars) == 20
    assert bars[-1] == {"low": 0.95, "high": 1.0, "n": 5}
    assert histogram([]) == []


def test_a_confidence_that_says_nothing_is_named() -> None:
    assert clustered([0.95] * 15 + [0.7] * 5) == {"value": 0.95, "share": 0.75}
    assert clustered([0.95] * 10 + [0.7] * 10) is None
    assert clustered([0.95] * 3) is None  # too few to tell


def test_calibration_has_shares_with_their_intervals() -> None:
    hits = [(0.95, True)] * 6 + [(0.95, False)] * 2 + [(0.6, False)]
    low, high = calibration(hits)
    assert (low["low"], low["n"], low["right"]) == (0.6, 1, 0)
    assert (high["n"], high["right"], high["stated"]) == (8, 0.75, pytest.approx(0.95))
    assert high["ci"] == list(wilson(6, 8))


def test_confidence_is_held_against_the_strongest_other_teacher_or_the_next_repeat() -> None:
    found = about(
        [
            [says("fire", 0.9), says("wood", 0.9, 1), says("fire", 0.9, 2)],
            [says("wood", 0.8), says("wood", 0.8, repeat=1), says("fire", 0.8, repeat=2)],
            [says("water", 0.7)],
        ]
    )
    cheap, middle, strong = (row["calibration"]["others"] for row in found["teachers"])
    assert [(row["stated"], row["right"], row["n"]) for row in cheap] == [
        (pytest.approx(0.8), pytest.approx(1 / 3), 3),  # wood, wood; wood, fire; fire, wood
        (0.9, 1.0, 1),
    ]
    assert [row["right"] for row in middle] == [0.0]
    assert [row["right"] for row in strong] == [0.0]  # the strongest other one is teacher 1


@pytest.mark.parametrize(
    ("review", "right"),
    [
        (("accept", None), [True]),
        (("accept", "fire"), [True]),
        (("reject", None), [False]),
        (("reject", "wood"), []),  # another label was rejected: nothing is known about this one
        (("relabel", "wood"), [False]),
        (("relabel", "fire"), [True]),
        (("relabel", "none"), [False]),
        (("relabel", None), []),
    ],
)
def test_what_a_review_tells(review: Review, right: list[bool]) -> None:
    found = about([[says("fire", 0.9)], [says("fire", 0.9)]], {"0": review, "elsewhere": review})
    bins = found["teachers"][0]["calibration"]["reviews"]
    assert [row["right"] for row in bins] == [float(one) for one in right]
    if right:
        assert (found["reviews"]["n"], found["reviews"]["right"]) == (1, float(right[0]))
    else:
        assert found["reviews"] is None


def test_a_rejected_label_says_nothing_about_a_teacher_that_gave_another() -> None:
    found = about([[says("wood", 0.7), says("fire", 0.9, 1)]], {"0": ("reject", None)})
    cheap, strong = (row["calibration"]["reviews"] for row in found["teachers"])
    assert cheap == []
    assert [row["right"] for row in strong] == [0.0]


def test_nothing_at_all() -> None:
    found = about([])
    assert (found["pictures"], found["teachers"], found["pairs"]) == (0, [], [])


def check_shares(value: Any) -> None:
    """Every share is one, anywhere in the figures."""
    if isinstance(value, dict):
        for name in ("equal", "right", "share"):
            if isinstance(value.get(name), float):
                assert 0 <= value[name] <= 1
        for inner in value.values():
            check_shares(inner)
    elif isinstance(value, list):
        for inner in value:
            check_shares(inner)


@settings(max_examples=60, deadline=None)
@given(WORLDS, st.sampled_from(["accept", "reject", "relabel"]))
def test_figures_of_anything_are_json_and_add_up(pictures: list[list[Row]], kind: str) -> None:
    found = about(pictures, {"0": (kind, "fire"), "1": (kind, None)}, 1.0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found["status"]) == list(STATUSES)
    assert sum(found["status"].values()) == len(pictures)
    assert sum(row["accepted"] for row in found["classes"].values()) == found["labelled"]
    assert all(row["overruled"] >= 0 for row in found["classes"].values())
    check_shares(found)
