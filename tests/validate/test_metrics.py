"""Figures of answers against truth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_out_of_vocabulary_takes_labels_as_they_are_written() -> None:
    texts = [" water", "fire\n", "Water", "water fire", ""]
    assert metrics.out_of_vocabulary(texts, LABELS) == 0.6


def test_cut_counts_answers_without_an_end() -> None:
    assert metrics.cut([True, False, True, True]) == 0.25


@given(st.lists(st.tuples(st.sampled_from([*LABELS, "", "two words"]), st.booleans()), min_size=1))
def test_a_label_of_one_word_that_ends_is_never_counted_twice(
    said: list[tuple[str, bool]],
) -> None:
    texts, ended = [text for text, _ in said], [stopped for _, stopped in said]
    lost = metrics.out_of_vocabulary(texts, LABELS) + metrics.cut(ended)
    assert metrics.one_word(texts, ended) >= 1 - lost - 1e-12
    assert metrics.one_word(texts, ended) <= 1 - metrics.cut(ended) + 1e-12


def test_agreement_ignores_white_space_at_the_ends_only() -> None:
    assert metrics.agreement([" water", "fire", "a b"], ["water", "wood", "a  b"]) == pytest.approx(
        1 / 3
    )
