"""Labels worth a second look."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pocketvlm.demo.scenes import ELEMENTS, draw_any_size
from pocketvlm.review.suspects import Floats, answered_otherwise, apart, features, unlike
from pocketvlm.workspace import write_rows


def test_near_duplicates_with_different_labels() -> None:
    groups = [0, 1, 0, 1, 4, 1]
    labels = ["water", "land", "fire", "land", "water", None]
    assert apart(groups, labels) == [0, 2]


def test_pictures_the_student_answers_otherwise(tmp_path: Path) -> None:
    rows = [("a", "water"), ("b", "fire"), ("c", None), ("d", "fire"), ("elsewhere", "fire")]
    path = tmp_path / "predictions.jsonl"
    write_rows(path, ({"id": name, "answer": answer, "right": True} for name, answer in rows))
    places = {"a": 0, "b": 1, "c": 2, "d": 3}
    assert answered_otherwise(path, places, ["water", "water", "water", None]) == {1: "fire"}


def test_without_a_verdict_the_student_says_nothing(tmp_path: Path) -> None:
    assert answered_otherwise(tmp_path / "predictions.jsonl", {}, []) == {}


def striped(label: str, random: np.random.Generator) -> Floats:
    """Stripes that lie for water and stand for wood, any colour, any distance."""
    image = Image.new("RGB", (96, 80), tuple(random.integers(0, 120, 3)))
    draw, ink = ImageDraw.Draw(image), tuple(random.integers(130, 256, 3))
    step = int(random.integers(5, 12))
    for at in range(int(random.integers(step)), 96, step):
        ends = [(0, at), (96, at)] if label == "water" else [(at, 0), (at, 80)]
        draw.line(ends, ink, 2)
    return features(np.asarray(image))


def test_planted_wrong_labels_are_found_and_told_right() -> None:
    random = np.random.default_rng(0)
    truth = ["water" if at % 2 else "wood" for at in range(120)]
    looks = np.stack([striped(label, random) for label in truth])
    planted = [5, 18, 40, 77, 101, 118]
    labels: list[str | None] = list(truth)
    for at in planted:
        labels[at] = "wood" if truth[at] == "water" else "water"
    labels[3] = None
    found = unlike(looks, labels, list(range(120)))
    right = [at for at in planted if at in found]
    assert len(right) >= 5
    assert len(found) <= 8
    assert all(found[at][0] == truth[at] and 0.5 < found[at][1] <= 1 for at in right)


@pytest.mark.slow
def test_planted_wrong_labels_on_scenes_are_found_far_more_often_than_by_chance() -> None:
    """Of 300 scenes 15 wrong labels: more than twice as many among the suspects as anywhere."""
    random = np.random.default_rng(0)
    truth = [ELEMENTS[at % len(ELEMENTS)] for at in range(300)]
    looks = np.stack([features(draw_any_size(label, random)) for label in truth])
    planted = random.choice(300, 15, replace=False).tolist()
    labels: list[str | None] = list(truth)
    for at in planted:
        labels[at] = str(random.choice([name for name in ELEMENTS if name != truth[at]]))
    found = unlike(looks, labels, list(range(300)))
    right = [at for at in planted if at in found]
    assert len(right) / len(found) > 2 * 15 / 300
    assert len(right) >= 8


def test_labels_that_cannot_be_seen_are_not_judged() -> None:
    random = np.random.default_rng(0)
    looks = random.normal(size=(100, 99)).astype(np.float32)
    labels = [("water", "land", "fire", "wood", "metal")[at % 5] for at in range(100)]
    assert unlike(looks, labels, list(range(100))) == {}


@pytest.mark.parametrize("labels", [["water"] * 40, [None] * 40, ["water", "land"] * 4])
def test_too_little_to_learn_from(labels: list[str | None]) -> None:
    looks = np.zeros((len(labels), 99), np.float32)
    assert unlike(looks, labels, list(range(len(labels)))) == {}


def test_features_are_finite_on_any_picture() -> None:
    for colour in ("black", "white", "red"):
        for size in ((1, 1), (3, 200), (256, 256)):
            found = features(np.asarray(Image.new("RGB", size, colour)))
            assert found.shape == (99,)
            assert np.isfinite(found).all()
