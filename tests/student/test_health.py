"""What is said of a training that goes wrong, and silence about one that does not."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from pocketvlm.config import parse_config
from pocketvlm.errors import PocketError
from pocketvlm.project import Project
from pocketvlm.student.health import WINDOW, after_epoch, check_finite, check_splits, rising
from pocketvlm.workspace import Row, read_rows, write_rows
from tests.student.conftest import make_project

LABELS = ["sky", "grass", "sea"]


@pytest.fixture
def prepared(tmp_path: Path) -> Project:
    """A dataset of one's own, of flat colours with noise; no base is needed."""
    return make_project(tmp_path, tmp_path / "base")


def rows_of(project: Project, split: str) -> list[Row]:
    """The lines of a split."""
    return list(read_rows(project.workspace.split(split)))


def copy(project: Project, source: Row, target: Row) -> None:
    """Make one line's picture the same as another's."""
    folder = project.workspace.dataset
    shutil.copyfile(folder / source["image"], folder / target["image"])


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_no_number_stops(loss: float) -> None:
    check_finite(0.0, 7)
    with pytest.raises(PocketError, match=r"at step 7: lower train\.learning_rate"):
        check_finite(loss, 7)


def test_splits_that_share_nothing_are_silent(prepared: Project) -> None:
    assert check_splits(prepared) == []


def test_an_empty_val_is_silent(prepared: Project) -> None:
    write_rows(prepared.workspace.split("val"), [])
    assert check_splits(prepared) == []


@pytest.mark.parametrize("same_name", [True, False])
def test_half_of_val_in_train_stops(prepared: Project, same_name: bool) -> None:
    train, val = rows_of(prepared, "train"), rows_of(prepared, "val")
    for at in range(4):
        if same_name:
            val[at] = train[at]
        else:
            copy(prepared, train[at], val[at])
    write_rows(prepared.workspace.split("val"), val)
    with pytest.raises(PocketError, match=r"4 of the 8 .* are in train too .*empty .*val\.jsonl"):
        check_splits(prepared)


def test_fewer_are_a_warning_with_an_example(prepared: Project) -> None:
    train, val = rows_of(prepared, "train"), rows_of(prepared, "val")
    for at in (1, 3, 5):
        copy(prepared, train[at], val[at])
    [warning] = check_splits(prepared)
    assert warning.startswith("3 of the 8 pictures of val are in train too")
    assert "(images/val1.png is images/train1.png)" in warning
    assert str(prepared.workspace.split("train")) in warning


def test_one_picture_with_two_labels_is_a_warning(prepared: Project) -> None:
    train = rows_of(prepared, "train")
    copy(prepared, train[4], train[6])  # the same label
    copy(prepared, train[4], train[9])
    copy(prepared, train[4], train[11])
    [warning] = check_splits(prepared)
    assert warning.startswith("pictures of train with two labels: 1 (")
    assert "(images/train4.png is 'sky', the same picture images/train9.png is 'grass')" in warning


def test_what_prepare_made_is_mended_by_prepare(prepared: Project) -> None:
    manifest = prepared.workspace.manifest("prepare")
    manifest.parent.mkdir()
    manifest.write_text("{}")
    train, val = rows_of(prepared, "train"), rows_of(prepared, "val")
    copy(prepared, train[0], val[0])
    copy(prepared, train[2], train[3])
    known, contrary = check_splits(prepared)
    assert "`pocketvlm prepare` splits anew" in known
    assert "decide in `pocketvlm review`" in contrary


def test_a_missing_bitmap_is_named(prepared: Project) -> None:
    (prepared.workspace.dataset / "images" / "val3.png").unlink()
    with pytest.raises(PocketError, match=r"val3\.png cannot be read"):
        check_splits(prepared)


def task() -> Project:
    """Three labels in no folder: losses and answers need no files."""
    labels = {label: f"pictures of {label}" for label in LABELS}
    config = {"task": {"question": "Which?", "labels": labels}}
    return Project.of(parse_config(config), Path("project"))


seeds = st.integers(0, 2**32 - 1)
counts = st.integers(2 * WINDOW, 400)
noises = st.floats(0, 3)


@settings(deadline=None)
@given(seeds, counts, noises, st.floats(0, 4), st.floats(1, 400))
def test_a_noisy_curve_that_falls_or_stays_is_silent(
    seed: int, count: int, noise: float, height: float, steps: float
) -> None:
    random = np.random.default_rng(seed)
    curve = height * np.exp(-np.arange(count) / steps) + noise * random.standard_normal(count)
    assert rising(task(), curve.tolist()) is None


@settings(deadline=None)
@given(seeds, noises)
def test_hard_batches_are_no_rise(seed: int, noise: float) -> None:
    random = np.random.default_rng(seed)
    curve = 0.1 + 0.1 * noise * random.random(200)
    curve[random.choice(200, 20, replace=False)] += 10
    curve[-WINDOW // 4 :] += 10
    assert rising(task(), curve.tolist()) is None


@settings(deadline=None)
@given(seeds, st.integers(WINDOW, 200), st.integers(2 * WINDOW, 200), st.floats(0, 1))
def test_a_curve_that_diverges_is_told(seed: int, falls: int, rises: int, noise: float) -> None:
    """It falls from 2, then climbs to at least eight times its noise above where it was lowest."""
    random = np.random.default_rng(seed)
    down = 2 * np.exp(-np.arange(falls) / 20)
    up = down[-1] + np.linspace(0, 1, rises) * (2 + 16 * noise)
    curve = np.concatenate([down, up]) + noise * random.standard_normal(falls + rises)
    warning = rising(task(), curve.tolist())
    assert warning is not None and warning.startswith("the loss rises")


def test_a_rise_is_told_with_half_the_rate() -> None:
    curve = [0.4] * WINDOW + [1.2] * WINDOW
    warning = rising(task(), curve)
    assert warning is not None
    assert "1.20 of late, 0.40 at its lowest" in warning
    assert "`pocketvlm train --set train.learning_rate=0.0001`" in warning
    assert rising(task(), curve[1:]) is None  # too short to tell


def test_a_hard_batch_in_every_window_hides_no_rise() -> None:
    calm = [0.1] * (WINDOW - 1) + [9.0]
    assert rising(task(), calm * 3 + [1.0] * WINDOW) is not None


def told(answers: list[str], val: list[str], train: list[str] | None = None) -> list[str]:
    """What is said of these answers."""
    right = sum(answer == label for answer, label in zip(answers, val, strict=True))
    given = {answer: answers.count(answer) for answer in answers}
    return after_epoch(task(), right, given, val, val if train is None else train)


@settings(deadline=None)
@given(st.lists(st.sampled_from(LABELS)))
def test_right_answers_are_silent(val: list[str]) -> None:
    assert told(val, val) == []


@settings(deadline=None)
@given(st.integers(0, 3), st.data())
def test_three_pictures_say_nothing(n: int, data: st.DataObject) -> None:
    words = st.lists(st.sampled_from([*LABELS, "The"]), min_size=n, max_size=n)
    val = data.draw(st.lists(st.sampled_from(LABELS), min_size=n, max_size=n))
    answers = data.draw(words)
    assert not any("no label" in text or "never" in text for text in told(answers, val))


@settings(deadline=None)
@given(st.integers(1, 60), st.floats(0.5, 0.95))
def test_a_student_that_is_halfway_is_rarely_blamed(n: int, share: float) -> None:
    """Right half-way between the most frequent label and perfection: told once in ten at most, by
    the binomial distribution itself."""
    most = int(np.ceil(share * n))
    val = ["sky"] * most + ["grass"] * (n - most)
    answers = {"sky": most, "grass": n - most}
    blamed = [right for right in range(n + 1) if after_epoch(task(), right, answers, val, val)]
    halfway = (1 + most / n) / 2
    assert sum(binom.pmf(right, n, halfway) for right in blamed) < 0.1


def test_guessing_is_told() -> None:
    val = ["sky", "grass", "sea"] * 40
    answers = [*val[1:], val[0]]
    answers[:40] = val[:40]
    [warning] = told(answers, val)
    assert warning.startswith("40 of 120 answers on val are right, 'sky' for every picture")
    assert "--set train.epochs=6" in warning and "train.jsonl" in warning


def test_better_than_guessing_is_silent_though_far_from_right() -> None:
    val = ["sky", "grass", "sea"] * 40
    answers = [*val[1:], val[0]]
    answers[:60] = val[:60]
    assert told(answers, val) == []


def test_six_of_eight_are_no_alarm() -> None:
    val = ["sky", "grass"] * 4
    assert told(["grass", "grass", "sky", "sky", *val[4:]], val) == []


def test_the_same_answer_to_everything_is_told_once() -> None:
    val = ["sky"] * 10 + ["grass"] * 6 + ["sea"] * 4
    [warning] = told(["sky"] * 20, val)
    assert "answered 'sky', though 10 of 20 are something else" in warning
    assert "train longer" in warning
    [lopsided] = told(["sky"] * 20, val, ["sky"] * 90 + ["grass"] * 20 + ["sea"] * 8)
    assert "90 of it and 8 of the rarest label" in lopsided
    assert "--set train.balanced=true" in lopsided


def test_the_same_answer_is_right_where_val_is_of_one_label() -> None:
    assert told(["sky"] * 50, ["sky"] * 50) == []
    assert told(["sky"] * 50, ["sky"] * 49 + ["sea"]) == []


def test_answers_that_are_no_label_are_told_with_the_most_frequent() -> None:
    val = ["sky", "grass"] * 4
    [warning] = told(["The"] * 5 + ["It", "Sky", "sky"], val)
    assert warning.startswith("7 of 8 answers on val are no label (most often 'The')")
    assert "--set train.learning_rate=0.0001" in warning
    [counted] = after_epoch(task(), 0, dict.fromkeys(LABELS, 0), val, val)
    assert counted.startswith("8 of 8 answers on val are no label:")


def test_a_label_never_answered_is_told_with_its_cause() -> None:
    val = ["sky"] * 20 + ["grass"] * 10 + ["sea"] * 4
    answers = ["sky"] * 20 + ["grass"] * 10 + ["sky"] * 4
    [warning] = told(answers, val, ["sky"] * 30 + ["grass"] * 20 + ["sea"] * 10)
    assert warning.startswith("'sea' is never answered, though val holds 4 of it")
    assert "train holds 10 of it, collect more" in warning
    [other] = told(answers, val, LABELS * 20)
    assert "its labels are wrong" in other and "train.jsonl" in other
    assert told(answers[:-1], val[:-1]) == []  # three missed pictures are no proof


def test_labels_of_teachers_are_looked_at_where_they_are(prepared: Project) -> None:
    prepared.workspace.answers.parent.mkdir()
    prepared.workspace.answers.touch()
    val = ["sky"] * 10 + ["grass"] * 5
    answered = {"sky": 15, "grass": 0}
    [warning] = after_epoch(prepared, 10, answered, val, val)
    assert "`pocketvlm review`" in warning
    answered = {"sky": 14, "grass": 0, "The": 1}
    found = after_epoch(prepared, 10, answered, val, val)
    assert any("`pocketvlm answers --label grass`" in text for text in found)
