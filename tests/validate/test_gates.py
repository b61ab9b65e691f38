"""The gates: which are judged, which are missed, by how much, and what is said."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.intervals import wilson
from pocketvlm.sections import Gates
from pocketvlm.validate import metrics
from pocketvlm.validate.gates import judge, missed, not_judged, pictures_to_clear
from pocketvlm.workspace import Row

LABELS = ("water", "fire", "other")


def figures(right: int = 90, n: int = 100, **changes: Any) -> Row:
    """What `validate` measured; the pictures are half water, half fire, and the wrong ones fire
    that was called water."""
    truth = ["water"] * (n // 2) + ["fire"] * (n - n // 2)
    answers = truth[:right] + ["water"] * (n - right)
    return {
        "accuracy": right / n,
        "ci": list(wilson(right, n)),
        "n": n,
        "model": "model-Q8_0.gguf",
        "mmproj": "mmproj-F16.gguf",
        "per_class": metrics.per_class(truth, answers, LABELS),
        "confusion": metrics.confusion(truth, answers, LABELS),
        "one_word": 0.98,
        "out_of_vocabulary": 0.02,
        "cut": 0.01,
        "agreement": 0.97,
        "ms_per_picture": 1234.5,
        "ladder": [{"mib": None, "ships": False}, {"mib": 612.5, "ships": True}],
    } | changes


def told(gates: Gates, found: Row) -> list[str]:
    return missed(found | {"gates": judge(gates, found)})


def test_by_default_only_accuracy_is_judged_by_its_lower_bound() -> None:
    row = judge(Gates(), figures())
    low = wilson(90, 100)[0]
    assert row == {
        "accuracy": {
            "wanted": 0.85,
            "found": low,
            "passed": False,
            "by": pytest.approx(0.85 - low),
            "bound": "least",
        }
    }


def test_a_passed_gate_says_nothing_and_its_distance_is_negative() -> None:
    found = figures(990, 1000)
    assert judge(Gates(), found)["accuracy"]["by"] < 0
    assert told(Gates(), found) == []


def test_a_gate_that_is_just_reached_is_passed() -> None:
    gates = Gates(accuracy=0, agreement=0.97, ms=1234.5, mib=612.5, one_word=0.98)
    assert all(row["passed"] for row in judge(gates, figures()).values())


@pytest.mark.parametrize(
    ("gates", "name", "by", "start"),
    [
        (
            Gates(accuracy=0, worst_recall=0.9),
            "worst_recall",
            0.1,
            "recall 0.800 of the label 'fire' (n = 50) of model-Q8_0.gguf with mmproj-F16.gguf in "
            "llama.cpp is below gates.worst_recall 0.9, by 0.100. Where wrong, it is most often "
            "answered with 'water': collect more pictures of 'fire'",
        ),
        (
            Gates(accuracy=0, one_word=0.99),
            "one_word",
            0.01,
            "the share of one-word answers 0.980 of model-Q8_0.gguf with mmproj-F16.gguf in "
            "llama.cpp is below gates.one_word 0.99, by 0.010 (cut at the token limit: 1.0%, no "
            "label: 2.0%).",
        ),
        (
            Gates(accuracy=0, agreement=0.995),
            "agreement",
            0.025,
            "agreement 0.970 of model-Q8_0.gguf with mmproj-F16.gguf in llama.cpp with the merged "
            "model in torch is below gates.agreement 0.995, by 0.025.",
        ),
        (
            Gates(accuracy=0, mib=600),
            "mib",
            12.5,
            "the 612.5 MiB of model-Q8_0.gguf with mmproj-F16.gguf in llama.cpp together are above "
            "gates.mib 600, by 12.5. Put a smaller type first",
        ),
        (
            Gates(accuracy=0, ms=1000),
            "ms",
            234.5,
            "the 1,234.5 ms a picture of model-Q8_0.gguf with mmproj-F16.gguf in llama.cpp on this "
            "machine are above gates.ms 1000, by 234.5.",
        ),
    ],
)
def test_each_gate_says_how_much_of_which_file(
    gates: Gates, name: str, by: float, start: str
) -> None:
    row = judge(gates, figures())[name]
    assert (row["passed"], row["by"]) == (False, pytest.approx(by))
    (sentence,) = told(gates, figures())
    assert sentence.startswith(start)


def test_every_miss_is_told_in_the_settings_order() -> None:
    gates = Gates(accuracy=0.99, worst_recall=0.99, one_word=1, agreement=1, mib=1, ms=1)
    sentences = told(gates, figures())
    assert [name for name in Gates.model_fields if f"gates.{name} " in " ".join(sentences)] == list(
        Gates.model_fields
    )
    assert len(sentences) == len(Gates.model_fields)


def test_accuracy_that_more_pictures_would_clear() -> None:
    (sentence,) = told(Gates(), figures(90, 100))
    assert "below gates.accuracy 0.85, by 0.024 (accuracy 0.900, 95% interval 0.826 to" in sentence
    assert "about 200 test pictures would tell" in sentence
    assert "has to get better" not in sentence


def test_accuracy_that_just_reaches_its_gate_cannot_clear_it() -> None:
    (sentence,) = told(Gates(accuracy=0.9), figures(90, 100))
    assert "only just reaches the gate" in sentence


def test_accuracy_whose_upper_bound_alone_reaches_it() -> None:
    (sentence,) = told(Gates(), figures(83, 100))
    assert "Not even accuracy itself reaches the gate, only its upper bound" in sentence


def test_accuracy_that_is_out_of_reach() -> None:
    (sentence,) = told(Gates(), figures(60, 100))
    assert "Not even its upper bound reaches the gate: the student has to get better" in sentence


def test_a_label_answered_with_nothing_is_said_so() -> None:
    truth, answers = ["water"] * 5 + ["other"] * 5, ["water"] * 5 + [None] * 4 + ["fire"]
    found = figures(
        per_class=metrics.per_class(truth, answers, LABELS),
        confusion=metrics.confusion(truth, answers, LABELS),
    )
    (sentence,) = told(Gates(accuracy=0, worst_recall=0.5), found)
    assert "label 'other' (n = 5)" in sentence
    assert "answered with no label at all:" in sentence


def test_a_label_that_does_not_occur_is_not_the_worst() -> None:
    """`other` has no picture here, and recall 0."""
    assert judge(Gates(worst_recall=0.5), figures())["worst_recall"]["found"] == pytest.approx(0.8)


def test_a_figure_that_was_not_measured_is_a_warning_and_no_miss() -> None:
    gates, found = Gates(accuracy=0, agreement=0.99), figures(agreement=None)
    assert "agreement" not in judge(gates, found)
    assert told(gates, found) == []
    assert not_judged(gates, found) == [
        "gates.agreement 0.99 was not judged: nothing was measured for it (the merged model was "
        "not asked in torch)"
    ]
    assert not_judged(gates, figures()) == []
    assert not_judged(Gates(), found) == []


@given(st.floats(0, 1), st.floats(1, 2000), st.integers(1, 300), st.data())
def test_by_is_positive_exactly_where_a_gate_is_missed(
    share: float, most: float, n: int, data: st.DataObject
) -> None:
    found = figures(data.draw(st.integers(0, n)), n)
    gates = Gates(accuracy=share, worst_recall=share, one_word=share, mib=most, ms=most)
    row = judge(gates, found)
    assert set(row) == {"accuracy", "worst_recall", "one_word", "mib", "ms"}
    for one in row.values():
        assert one["passed"] == (one["by"] <= 0)
        assert one["passed"] == (
            one["found"] >= one["wanted"]
            if one["bound"] == "least"
            else one["found"] <= one["wanted"]
        )
    assert len(told(gates, found)) == sum(not one["passed"] for one in row.values())


@given(st.integers(5, 300), st.floats(0.3, 0.97), st.data())
def test_so_many_pictures_would_clear_the_gate(n: int, wanted: float, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    needed = pictures_to_clear(right / n, wanted, n)
    if right / n <= wanted:
        assert needed is None
    elif needed is not None:
        assert needed > n
        repeats = -(-needed // n)  # the same share exactly, on at least so many
        assert wilson(right * repeats, n * repeats)[0] >= wanted - 1e-4
