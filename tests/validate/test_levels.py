"""How a level is judged: by its worst picture, answers by their share."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest

from pocketvlm.config import parse_config
from pocketvlm.contract import Contract
from pocketvlm.validate.audit.levels import (
    Finding,
    Level,
    answer,
    answers,
    apart,
    figure,
    near_ties,
    summary,
)


@dataclass
class Picture:
    """As much of a taught picture as is read."""

    image: str


def pictures(count: int) -> Any:
    return [Picture(f"p{at}") for at in range(count)]


def judged(*worst: float | None, limit: float | None = 1.0) -> Level:
    found = [None if value is None else Finding(value, value / 2) for value in worst]
    return summary("image embeddings", "F32", pictures(len(found)), found, limit)


def test_the_worst_picture_decides_and_is_named() -> None:
    level = judged(0.1, 1.5, 0.2)
    assert (level.passed, level.worst, level.picture) == (False, 1.5, "p1")
    assert level.mean == pytest.approx(0.3)
    assert level.agreement == pytest.approx(2 / 3)
    assert "1.5" in figure(level.row())


def test_the_limit_itself_is_inside() -> None:
    assert judged(1.0).passed


def test_without_a_limit_nothing_is_judged() -> None:
    level = judged(0.1, 99, limit=None)
    assert (level.passed, level.agreement, level.worst) == (True, None, 99)


def test_pictures_that_could_not_be_compared_are_left_out() -> None:
    assert judged(None, 0.5).agreement == 1.0
    none = judged(None, None)
    assert (none.passed, none.worst, none.note) == (True, None, "nothing to compare with")


@pytest.mark.parametrize("strange", [np.nan, np.inf])
def test_what_is_no_number_breaks_the_level(strange: float) -> None:
    level = judged(0.1, strange, 0.2)
    assert (level.passed, level.picture, level.worst) == (False, "p1", None)
    assert "no numbers" in figure(level.row())
    assert not judged(strange, limit=None).passed


@pytest.mark.parametrize(
    ("wrong", "count", "least"), [(1, 10, 0.9), (2, 10, 0.8), (5, 1000, 0.995)]
)
def test_exactly_the_wanted_share_is_enough(wrong: int, count: int, least: float) -> None:
    found = [Finding(float(at < wrong), 0.0) for at in range(count)]
    assert answers("F32", pictures(count), found, least).passed
    found[-1] = Finding(1.0, 1.0)
    assert not answers("F32", pictures(count), found, least).passed


def test_near_ties_are_not_held_against_the_level_nor_shown_as_worst() -> None:
    found = [Finding(1.0, 1.0, "a tie", 0.01), Finding(1.0, 1.0, "a real one")]
    found += [Finding(0.0, 0.0)] * 8
    level = answers("Q8_0", pictures(10), found, 0.95)
    assert (level.passed, level.agreement) == (False, 0.9)
    assert (level.picture, level.note) == ("p1", "a real one")
    ties = near_ties("Q8_0", pictures(10), found)
    assert [(tie["note"], tie["margin"], tie["picture"]) for tie in ties] == [("a tie", 0.01, "p0")]


@dataclass
class Taught:
    """What torch said, token by token, with what came second and by how much."""

    choices: list[tuple[int, int, float]]
    answer: str = "torch's"
    bitmap: Any = None


@dataclass
class Said:
    """A runtime that says these tokens."""

    ids: list[int]
    text: str = "other"

    def answer(self, *_: Any) -> "Said":
        return self


@pytest.mark.parametrize(
    ("ids", "tie"),
    [
        ([1, 5, 9], 0.01),  # parts at the second token, torch's second best there
        ([1, 6, 9], None),  # another token than the second best
        ([4, 2, 9], None),  # second best, but clearly
        ([1, 2], None),  # cut short: no token to compare
    ],
)
def test_a_near_tie_is_judged_where_the_answers_part(ids: list[int], tie: float | None) -> None:
    one = Taught([(1, 4, 3.0), (2, 5, 0.01), (3, 7, 2.0)])
    contract: Any = Contract.of(parse_config({}))
    found = answer(cast(Any, Said(ids)), contract, cast(Any, one), 0.1)
    assert (found.worst, found.tie) == (1.0, tie)
    same = answer(cast(Any, Said([1, 2, 3], "torch's")), contract, cast(Any, one), 0.1)
    assert (same.worst, same.tie) == (0.0, None)


def test_several_tiles_are_compared_with_one_and_nothing_else_is_repeated() -> None:
    one = np.ones((4, 8), np.float32)
    assert apart(np.stack([one, one]), one) == (0, 0)
    with pytest.raises(ValueError, match="shapes"):
        apart(np.stack([one, one]), cast(Any, one[:1]))
