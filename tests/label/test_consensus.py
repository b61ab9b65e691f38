"""One label a picture: by whom, how sure, and independent of any order."""

import random
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketvlm.label.consensus import Decision, decide
from pocketvlm.workspace import Row

LABELS = ("water", "fire", "wood")
UNUSABLE = ("refused", "rejected", "malformed", "failed")


def says(label: str, confidence: float | None = 0.95, teacher: int = 0, **more: Any) -> Row:
    """A usable opinion."""
    row = {
        "teacher": teacher,
        "model": f"teacher-{teacher}",
        "repeat": 0,
        "status": "none" if label == "none" else "ok",
        "label": label,
        "alternative": None,
        "confidence": confidence,
    }
    return row | more


def lacks(status: str, teacher: int = 0, repeat: int = 0) -> Row:
    """An opinion that cannot be used."""
    label = "cloud" if status == "rejected" else None
    return says("", None, teacher, repeat=repeat) | {"status": status, "label": label}


def one(*said: Row) -> Decision:
    """The decision about a single picture."""
    (decision,) = decide([said], LABELS)
    return decision


def pairs(count: int, seed: int = 0) -> list[list[Row]]:
    """Pictures that a cheap teacher labels, 80% right, and a strong one, 92% right."""
    rng = random.Random(seed)
    pictures = []
    for _ in range(count):
        truth = rng.choice(LABELS)
        said = []
        for teacher, right in ((0, 0.8), (1, 0.92)):
            wrong = [label for label in (*LABELS, "none") if label != truth]
            label = truth if rng.random() < right else rng.choice(wrong)
            said.append(says(label, rng.choice([0.95, 0.95, 0.7]), teacher))
        pictures.append(said)
    return pictures


def test_one_opinion_is_kept_with_what_it_states() -> None:
    assert one(says("fire", 0.62)) == Decision("ok", "fire", 0.62, None, 0)
    assert one(says("none", 0.4)) == Decision("none", None, 0.4, None, 0)
    assert one(says("fire", None)) == Decision("ok", "fire", None, None, 0)


def test_what_cannot_be_used_does_not_vote() -> None:
    decision = one(says("fire", 0.62), lacks("refused", 1), lacks("failed", 2))
    assert decision == Decision("ok", "fire", 0.62, None, 0)


@pytest.mark.parametrize("status", UNUSABLE)
def test_without_a_usable_opinion_the_strongest_says_why(status: str) -> None:
    decision = one(lacks(status, 1, repeat=1), lacks("malformed"), lacks("failed", 1))
    assert decision == Decision(status, None, None, None, 0)


def test_a_picture_without_opinions_failed() -> None:
    assert one() == Decision("failed", None, None, None, -1)
    assert decide([], LABELS) == []


def test_a_label_that_the_task_no_longer_has_is_rejected() -> None:
    assert one(says("cloud")).status == "rejected"
    assert one(says("cloud"), says("fire", 0.8, 1)) == Decision("ok", "fire", 0.8, None, 1)


def test_two_teachers_of_one_mind_are_surer_than_two_that_differ() -> None:
    both = [says("fire"), says("fire", teacher=1)], [says("water"), says("fire", teacher=1)]
    same, apart = decide([*both, *pairs(200)], LABELS)[:2]
    assert (same.label, same.agreement, same.source) == ("fire", 1.0, 1)
    assert (apart.label, apart.agreement, apart.source) == ("fire", 0.5, 1)
    assert same.confidence is not None and apart.confidence is not None
    assert same.confidence > 0.85 > 0.75 > apart.confidence


def test_a_single_disagreement_is_not_sure_though_both_state_95_percent() -> None:
    decision = one(says("water"), says("fire", teacher=1))
    assert decision.label == "fire"
    assert decision.confidence is not None and decision.confidence < 0.75


def test_repeats_of_a_cheap_teacher_do_not_outvote_a_better_one() -> None:
    cheap = [says("water", repeat=repeat) for repeat in range(5)]
    pictures = [[*cheap, says("fire", teacher=1)], *pairs(100)]
    first = decide(pictures, LABELS)[0]
    assert (first.label, first.source) == ("fire", 5)
    assert first.agreement == pytest.approx(1 / 6)


def test_repeats_of_one_teacher_decide_by_their_number() -> None:
    decision = one(says("water"), says("fire", repeat=1), says("fire", repeat=2))
    assert (decision.label, decision.source) == ("fire", 1)
    assert decision.agreement == pytest.approx(2 / 3)
    assert decision.confidence is not None and 0.6 < decision.confidence < 0.7


def test_between_equal_repeats_the_first_stands_and_the_confident_one_wins() -> None:
    assert one(says("wood", repeat=1), says("fire")).label == "fire"
    assert one(says("wood", repeat=0), says("fire", repeat=1)).label == "wood"
    assert one(says("wood", 0.6), says("fire", 0.95, repeat=1)).label == "fire"


def test_an_alternative_that_nobody_answered_never_wins() -> None:
    said = [
        says("water", 0.1, alternative="wood"),
        says("fire", 0.1, repeat=1, alternative="wood"),
        says("none", 0.1, repeat=2, alternative="wood"),
    ]
    assert one(*said).label != "wood"
    strong = says("fire", 0.0, 1, alternative="wood")
    assert one(says("water", 0.0, alternative="wood"), strong).label == "fire"


def test_none_is_a_class_of_its_own() -> None:
    assert one(says("none"), says("none", teacher=1)).status == "none"
    assert one(says("fire"), says("none", teacher=1)).status == "none"
    everything = decide([[says("none"), says("none", teacher=1)]] * 3, LABELS)
    assert {decision.status for decision in everything} == {"none"}
    assert all(decision.label is None and decision.agreement == 1 for decision in everything)


def test_teachers_that_never_meet_keep_what_each_says() -> None:
    pictures = [[says("fire", 0.9), says("fire", 0.9, repeat=1)], [says("wood", 0.8, 1)]]
    first, second = decide(pictures, LABELS)
    assert (first.label, first.agreement) == ("fire", 1.0)
    assert first.confidence == pytest.approx(0.9)
    assert second == Decision("ok", "wood", 0.8, None, 0)


def test_three_teachers_on_different_pictures_are_weighed_together() -> None:
    pictures = [
        [says("fire"), says("fire", teacher=1)],
        [says("wood", teacher=1), says("water", teacher=2)],
        [says("none"), says("none", teacher=2)],
    ]
    assert [decision.label for decision in decide(pictures, LABELS)] == ["fire", "water", None]


def test_labels_are_right_about_as_often_as_the_strongest_teacher() -> None:
    pictures = pairs(600, seed=3)
    decided = decide(pictures, LABELS)
    strongest = [said[1]["label"] for said in pictures]
    same = [(one.label or "none") == label for one, label in zip(decided, strongest, strict=True)]
    assert np.mean(same) > 0.99


def test_nothing_is_printed_or_warned_about(
    capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    lots = [[says("water"), says("fire", teacher=1), says("wood", teacher=2)]] * 4
    decide([*lots, [says("fire"), says("fire", teacher=5)]], LABELS)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_cleanlab_is_only_loaded_where_teachers_meet() -> None:
    code = (
        "import sys; from pocketvlm.label.consensus import decide\n"
        "row = dict(teacher=0, repeat=0, status='ok', label='a', alternative=None, confidence=.9)\n"
        "decide([[row], [row, row | {'repeat': 1}]], ['a', 'b'])\n"
        "assert 'cleanlab' not in sys.modules and 'pandas' not in sys.modules\n"
        "decide([[row, row | {'teacher': 1}]], ['a', 'b'])\n"
        "assert 'cleanlab' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def opinion() -> st.SearchStrategy[Row]:
    """Any opinion but for its repeat."""
    usable = st.builds(
        says,
        st.sampled_from([*LABELS, "none"]),
        st.one_of(st.none(), st.floats(0, 1)),
        st.integers(0, 3),
        alternative=st.sampled_from([None, *LABELS, "none", "cloud"]),
    )
    return st.one_of(usable, st.builds(lacks, st.sampled_from(UNUSABLE), st.integers(0, 3)))


def numbered(said: Sequence[Row]) -> list[Row]:
    """The repeats of each teacher counted."""
    seen: dict[int, int] = {}
    rows = []
    for row in said:
        seen[row["teacher"]] = seen.get(row["teacher"], -1) + 1
        rows.append(row | {"repeat": seen[row["teacher"]]})
    return rows


WORLDS = st.lists(st.lists(opinion(), max_size=5).map(numbered), max_size=8)


@settings(max_examples=60, deadline=None)
@given(WORLDS, st.randoms(use_true_random=False))
def test_decisions_depend_on_no_order(pictures: list[list[Row]], lots: random.Random) -> None:
    expected = decide(pictures, LABELS)
    assert decide(pictures, LABELS) == expected
    order = lots.sample(range(len(pictures)), len(pictures))
    turned = [lots.sample(pictures[at], len(pictures[at])) for at in order]
    for at, said, found in zip(order, turned, decide(turned, LABELS), strict=True):
        before = expected[at]
        assert (found.status, found.label) == (before.status, before.label)
        assert (found.confidence, found.agreement) == (before.confidence, before.agreement)
        if said:
            assert said[found.source] == pictures[at][before.source]


@settings(max_examples=60, deadline=None)
@given(WORLDS)
def test_every_decision_is_one_that_somebody_gave(pictures: list[list[Row]]) -> None:
    np.random.seed(7)
    for said, found in zip(pictures, decide(pictures, LABELS), strict=True):
        if not said:
            continue
        source = said[found.source]
        assert found.status == source["status"]
        assert found.label == (source["label"] if found.status == "ok" else None)
        usable = [row for row in said if row["status"] in ("ok", "none")]
        assert (found.agreement is None) == (len(usable) < 2)
        if len(usable) > 1:
            share = sum(row["label"] == source["label"] for row in usable) / len(usable)
            assert found.agreement == share
            assert found.confidence is not None and 0 <= found.confidence <= 1
    assert np.random.random() == np.random.RandomState(7).random()  # no lots were drawn
