"""Intervals of shares and of their differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketvlm.intervals import mcnemar, paired, wilson

SEED = 7


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


@st.composite
def changes(draw: st.DrawFn) -> tuple[int, int, int]:
    """Gained, lost and the number of pictures."""
    n = draw(st.integers(1, 5000))
    gained = draw(st.integers(0, n))
    return gained, draw(st.integers(0, n - gained)), n


@given(changes())
def test_a_paired_interval_holds_the_difference(counts: tuple[int, int, int]) -> None:
    difference, low, high = paired(*counts)
    assert -1 <= low <= difference <= high <= 1


@given(changes())
def test_a_paired_interval_turns_round_with_its_two_files(counts: tuple[int, int, int]) -> None:
    gained, lost, n = counts
    difference, low, high = paired(gained, lost, n)
    assert paired(lost, gained, n) == pytest.approx((-difference, -high, -low))


def test_a_paired_interval_by_hand() -> None:
    # (4 + 1, 10 + 1) of 302: -6/302 -+ 1.96 sqrt((16/302 - (6/302)^2) / 302)
    assert paired(4, 10, 300) == pytest.approx((-0.02, -0.04573, 0.00599), abs=1e-5)


def test_two_that_never_differ_are_told_apart_from_276_pictures_on() -> None:
    assert paired(0, 0, 275)[1] < -0.01 < paired(0, 0, 276)[1]


@pytest.mark.parametrize(
    ("gained", "lost"),
    [(0.01, 0.01), (0.02, 0.03), (0.04, 0.05), (0.002, 0.002), (0.0, 0.01), (0.005, 0.02)],
)
@pytest.mark.parametrize("n", [100, 300, 1000])
def test_the_paired_interval_covers_what_it_says(gained: float, lost: float, n: int) -> None:
    """Two files that are right on about 94%, simulated: which of them both have right does not
    matter, only where they differ."""
    draws = np.random.default_rng(SEED).multinomial(n, [gained, lost, 1 - gained - lost], 4000)
    found = [paired(int(more), int(less), n) for more, less, _ in draws]
    covered = np.mean([low <= gained - lost <= high for _, low, high in found])
    assert covered >= 0.94


def test_a_paired_interval_is_narrower_than_two_apart() -> None:
    low, high = wilson(282, 300)
    _, paired_low, paired_high = paired(4, 6, 300)
    assert paired_high - paired_low < (high - low) * 0.9


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    # two-sided binomial tails: 2 * 1/32, 2 * (1 + 12 + 66) / 4096, 1
    [(0, 5, 0.0625), (2, 10, 0.03857), (3, 3, 1.0), (0, 0, 1.0)],
)
def test_mcnemar_has_the_known_values(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p, abs=1e-4)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_does_not_ask_which_of_the_two_is_first(gained: int, lost: int) -> None:
    assert mcnemar(gained, lost) == pytest.approx(mcnemar(lost, gained))
    assert 0 < mcnemar(gained, lost) <= 1
