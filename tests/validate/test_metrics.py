"""Figures of answers against truth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.intervals import wilson
from pocketvlm.validate import metrics

LABELS = ("water", "fire", "other")
PAIRS = st.lists(
    st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, None])), min_size=1, max_size=60
)


def test_accuracy_counts_no_label_as_wrong() -> None:
    assert (
        metrics.accuracy(["water", "fire", "fire", "water"], ["water", "fire", None, "fire"]) == 0.5
    )


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="argument"):
        metrics.accuracy(["water"], ["water", "fire"])


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    # closed form of Wilson's score interval with z = 1.959964
    [
        (8, 10, 0.4902, 0.9433),
        (0, 20, 0.0, 0.1611),
        (20, 20, 0.8389, 1.0),
        (90, 100, 0.8256, 0.9448),
    ],
)
def test_wilson_has_the_known_values(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 5000), st.data())
def test_wilson_holds_the_share_and_narrows_with_n(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    low, high = wilson(right, n)
    more_low, more_high = wilson(right * 4, n * 4)
    assert 0 <= low <= right / n + 1e-12
    assert right / n - 1e-12 <= high <= 1
    assert more_high - more_low < high - low


def test_majority_is_the_commonest_label() -> None:
    assert metrics.majority(["fire", "water", "fire"]) == pytest.approx(2 / 3)


def test_per_class_by_hand() -> None:
    truth = ["water", "water", "water", "fire"]
    rows = metrics.per_class(truth, ["water", "water", "fire", None], LABELS)
    assert rows["water"] == pytest.approx(
        {"precision": 1.0, "recall": 2 / 3, "f1": 0.8, "support": 3}
    )
    assert rows["fire"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert rows["other"]["support"] == 0


def test_macro_f1_weighs_labels_equally_and_leaves_out_those_that_never_occur() -> None:
    truth = ["water"] * 8 + ["fire"] * 2
    assert metrics.macro_f1(truth, truth) == 1.0
    assert metrics.macro_f1(truth, ["water"] * 10) == pytest.approx((16 / 18 + 0) / 2)


@given(PAIRS)
def test_confusion_counts_every_picture_once(pairs: list[tuple[str, str | None]]) -> None:
    truth, answers = [true for true, _ in pairs], [answer for _, answer in pairs]
    table = metrics.confusion(truth, answers, LABELS)
    counts = table["counts"]
    assert [sum(row) for row in counts] == [truth.count(label) for label in LABELS]
    assert sum(counts[at][at] for at in range(len(LABELS))) == metrics.hits(truth, answers)
    assert sum(row[-1] for row in counts) == answers.count(None)
    assert len(table["answered"]) == len(counts[0]) == len(LABELS) + 1


@given(PAIRS)
def test_recalls_weighed_by_support_are_the_accuracy(pairs: list[tuple[str, str | None]]) -> None:
    truth, answers = [true for true, _ in pairs], [answer for _, answer in pairs]
    rows = metrics.per_class(truth, answers, LABELS).values()
    weighed = sum(row["recall"] * row["support"] for row in rows) / len(truth)
    assert weighed == pytest.approx(metrics.accuracy(truth, answers))


def test_one_word_needs_one_word_and_an_end() -> None:
    texts, ended = [" water", "a fire", "", "firefirefire"], [True, True, True, False]
    assert metrics.one_word(texts, ended) == 0.25


def test_agreement_ignores_white_space_at_the_ends_only() -> None:
    assert metrics.agreement([" water", "fire", "a b"], ["water", "wood", "a  b"]) == pytest.approx(
        1 / 3
    )
