"""The shipped file's certainty: temperature, error, and the threshold of "unsure"."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from scipy.stats import binomtest

from pocketvlm.validate.calibration import (
    BINS,
    COLDEST,
    POINTS,
    Scored,
    bins,
    calibrate,
    confidences,
    ece,
    lower_bound,
    temperature,
    unsure_below,
)

SEED = 7
LABELS = 5


def student(n: int, overconfidence: float = 1.0, seed: int = SEED, strength: float = 4.0) -> Scored:
    """Log-likelihoods of easy and hard pictures, with truths drawn from what a calibrated student
    states; `overconfidence` multiplies the scores afterwards."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1, (n, LABELS))
    easy = np.where(random.random(n) < 0.25, strength / 4, strength)
    logits[np.arange(n), random.integers(0, LABELS, n)] += easy * random.gamma(4, 0.25, n)
    stated = softmax(logits * 1.5, axis=1)
    truth = (stated.cumsum(axis=1) > random.random((n, 1))).argmax(axis=1)
    return log_softmax(logits * 1.5 * overconfidence, axis=1), truth


def right(scored: Scored) -> NDArray[np.bool_]:
    return np.asarray(scored[0].argmax(axis=1) == scored[1])


@pytest.mark.parametrize("overconfidence", [0.5, 1.0, 3.0])
def test_the_temperature_of_a_simulated_student_is_found_again(overconfidence: float) -> None:
    assert temperature(*student(4000, overconfidence)) == pytest.approx(overconfidence, rel=0.08)


@given(st.integers(0, 1000), st.floats(0.3, 5))
def test_temperature_goes_with_the_scale_of_the_scores(seed: int, scale: float) -> None:
    scores, truth = student(1000, seed=seed)
    fitted = temperature(scores, truth)
    assert temperature(scores * scale, truth) == pytest.approx(fitted * scale, rel=0.05)


@given(st.integers(0, 1000), st.floats(-50, 50))
def test_temperature_does_not_see_a_constant(seed: int, shift: float) -> None:
    scores, truth = student(50, seed=seed)
    assert temperature(scores + shift, truth) == pytest.approx(temperature(scores, truth), rel=1e-3)


def test_a_temperature_beats_the_search_by_hand() -> None:
    scores, truth = student(300, 2.0)

    def loss(t: float) -> float:
        likelihood = log_softmax(scores / t, axis=1)[np.arange(len(truth)), truth].sum()
        return float(1 / t - np.log(1 / t) - likelihood)

    best = temperature(scores, truth)
    assert all(loss(best) <= loss(t) + 1e-6 for t in np.geomspace(0.05, 20, 400))


def test_no_picture_leaves_the_model_as_it_is() -> None:
    assert temperature(np.zeros((0, 3)), np.zeros(0, int)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("n", [1, 5, 40])
def test_a_val_that_is_all_right_does_not_make_it_boundlessly_sure(n: int) -> None:
    scores = log_softmax(np.tile([4.0, 0.0, 0.0], (n, 1)), axis=1)
    fitted = temperature(scores, np.zeros(n, int))
    assert 0.5 < fitted <= 1
    assert confidences(scores, fitted)[0] < 0.9999


def test_an_unlucky_single_picture_does_not_decide_alone() -> None:
    scores = log_softmax(np.array([[9.0, 0.0, 0.0]]), axis=1)
    assert COLDEST < temperature(scores, np.array([1])) < 20


@given(st.integers(0, 1000), st.floats(0.05, 20))
def test_a_temperature_never_changes_the_likeliest_label(seed: int, hot: float) -> None:
    scores, _ = student(30, seed=seed)
    stated = confidences(scores, hot)
    assert ((scores / hot).argmax(axis=1) == scores.argmax(axis=1)).all()
    assert (stated >= 1 / LABELS - 1e-12).all()
    assert (stated <= 1).all()


def test_confidences_of_far_apart_scores_stay_finite() -> None:
    stated = confidences(np.array([[-1e4, 0.0], [-3e3, -3e3]]), 0.05)
    assert stated.tolist() == [1.0, 0.5]


def test_ece_by_hand() -> None:
    stated = np.array([0.95, 0.93, 0.65, 0.61])
    hits = np.array([True, True, True, False])
    # bins 0.9..1 and 0.6..0.7: (2 x |0.94 - 1| + 2 x |0.63 - 0.5|) / 4
    assert ece(stated, hits) == pytest.approx((2 * 0.06 + 2 * 0.13) / 4)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    (row,) = bins(np.array([0.5]), np.array([True]))
    assert (row["low"], row["high"]) == (0.4, 0.5)


def test_ece_falls_with_the_right_temperature() -> None:
    scored = student(4000, 3.0)
    before = ece(confidences(scored[0], 1.0), right(scored))
    after = ece(confidences(scored[0], temperature(*scored)), right(scored))
    assert after < 0.02 < 0.1 < before


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80))
def test_bins_hold_every_picture_once_and_their_share(pairs: list[tuple[float, bool]]) -> None:
    stated, hits = np.array([one for one, _ in pairs]), np.array([hit for _, hit in pairs])
    rows = bins(stated, hits)
    assert sum(row["n"] for row in rows) == len(pairs)
    assert len(rows) <= BINS
    for row in rows:
        assert row["low"] - 1e-9 <= row["stated"] <= row["high"] + 1e-9
        assert row["ci"][0] - 1e-9 <= row["right"] <= row["ci"][1] + 1e-9
    assert 0 <= ece(stated, hits) <= 1


@given(st.integers(1, 400), st.data())
def test_the_lower_bound_is_scipys(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    test = binomtest(hits, n, alternative="greater")
    bound = test.proportion_ci(0.9, method="wilson").low
    assert lower_bound(np.array([hits]), np.array([n]))[0] == pytest.approx(bound, abs=1e-9)


def test_a_threshold_needs_32_pictures_without_an_error_for_95() -> None:
    stated = np.linspace(0.6, 0.9, 40)
    assert unsure_below(stated[:31], np.ones(31, bool), 0.95) is None
    assert unsure_below(stated[:32], np.ones(32, bool), 0.95) == pytest.approx(0.6)


def test_a_threshold_leaves_out_where_the_errors_begin() -> None:
    stated = np.linspace(0.3, 1.0, 400)
    hits = stated > 0.6
    least = unsure_below(stated, hits, 0.95)
    assert least is not None
    assert hits[stated >= least].mean() > 0.95
    assert 0.55 < least < 0.6


def test_equally_sure_pictures_are_answered_together_or_not_at_all() -> None:
    """40 right ones of 0.9 would reach it, were the 40 wrong ones as sure not seen."""
    stated = np.full(80, 0.9)
    assert unsure_below(stated, np.arange(80) < 40, 0.95) is None


@given(st.integers(0, 1000), st.integers(1, 300), st.sampled_from([0.8, 0.95]))
def test_no_lower_threshold_reaches_it(seed: int, n: int, sure: float) -> None:
    scored = student(n, seed=seed)
    stated, hits = confidences(scored[0], 1.0), right(scored)
    least = unsure_below(stated, hits, sure)
    reached = [
        value
        for value in stated
        if lower_bound(np.array([hits[stated >= value].sum()]), np.array([(stated >= value).sum()]))
        >= sure
    ]
    assert least == (min(reached) if reached else None)


@pytest.mark.parametrize("n", [100, 300, 1000])
def test_the_threshold_keeps_its_word_nine_times_of_ten(n: int) -> None:
    """And the share itself, which was the other choice, breaks it about every other time."""
    pool = student(50_000, seed=1)
    stated, hits = confidences(pool[0], 1.0), right(pool)
    broken, broken_by_share, runs = 0, 0, 200
    for seed in range(runs):
        val = student(n, seed=seed)
        own, own_hits = confidences(val[0], 1.0), right(val)
        least = unsure_below(own, own_hits, 0.95)
        broken += least is not None and hits[stated >= least].mean() < 0.95
        order = np.argsort(-own)
        shares = own_hits[order].cumsum() / np.arange(1, n + 1)
        by_share = own[order][np.flatnonzero(shares >= 0.95).max(initial=0)]
        broken_by_share += hits[stated >= by_share].mean() < 0.95
    assert broken <= 0.15 * runs
    assert broken_by_share >= 0.35 * runs


def test_calibrate_fits_on_val_and_measures_on_test() -> None:
    val = {"Q8_0": student(600, 2.0, seed=1), "Q4_0": student(600, 4.0, seed=1)}
    test = student(500, 2.0, seed=2)
    row = calibrate(val, test, "Q8_0", 0.95)
    assert row is not None
    assert row["temperatures"]["Q8_0"] == row["temperature"] == pytest.approx(2, rel=0.2)
    assert row["temperatures"]["Q4_0"] == pytest.approx(4, rel=0.2)
    assert (row["n_val"], row["sure"]) == (600, 0.95)
    assert row["ece"] < row["ece_before"]
    stated, hits = confidences(test[0], row["temperature"]), right(test)
    answered = stated >= row["unsure_below"]
    assert row["coverage"] == answered.mean()
    assert row["accuracy_when_sure"] == pytest.approx(hits[answered].mean())
    assert row["ci_when_sure"][0] < row["accuracy_when_sure"] < row["ci_when_sure"][1]
    assert sum(one["n"] for one in row["bins"]) == 500


def test_pictures_just_as_sure_as_the_threshold_are_answered() -> None:
    alike = log_softmax(np.tile([3.0, 0.0, 0.0], (50, 1)), axis=1), np.zeros(50, int)
    row = calibrate({"Q8_0": alike}, alike, "Q8_0", 0.95)
    assert row is not None
    assert row["unsure_below"] == row["curve"][0]["threshold"]
    assert (row["coverage"], row["accuracy_when_sure"], len(row["curve"])) == (1, 1, 1)


def test_the_curve_goes_from_all_pictures_to_the_surest() -> None:
    test = student(500, seed=2)
    row = calibrate({"Q8_0": student(100)}, test, "Q8_0", 0.95)
    assert row is not None
    curve = row["curve"]
    assert len(curve) == POINTS
    assert curve[0]["coverage"] == 1
    assert curve[0]["accuracy"] == pytest.approx(right(test).mean())
    assert [one["coverage"] for one in curve] == sorted(
        (c["coverage"] for c in curve), reverse=True
    )
    assert [one["threshold"] for one in curve] == sorted(one["threshold"] for one in curve)


@pytest.mark.parametrize("val", [{}, {"Q8_0": (np.zeros((0, 3)), np.zeros(0, int))}])
def test_without_val_there_is_no_calibration(val: dict[str, Scored]) -> None:
    assert calibrate(val, student(10), "Q8_0", 0.95) is None


def test_a_threshold_that_nothing_reaches_states_no_accuracy() -> None:
    row = calibrate({"Q8_0": student(20)}, student(10), "Q8_0", 0.95)
    assert row is not None
    figures = ("unsure_below", "coverage", "accuracy_when_sure", "ci_when_sure")
    assert [row[name] for name in figures] == [None] * 4


def test_a_test_of_unsure_pictures_only_covers_nothing() -> None:
    sure = log_softmax(np.tile([9.0, 0.0, 0.0], (50, 1)), axis=1)
    row = calibrate(
        {"Q8_0": (sure, np.zeros(50, int))}, (np.zeros((4, 3)), np.zeros(4, int)), "Q8_0", 0.95
    )
    assert row is not None
    assert (row["coverage"], row["accuracy_when_sure"], row["ci_when_sure"]) == (0, None, None)
