"""The rule teacher: right on unseen scenes, honest about doubt, fast, safe on any picture."""

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from pocketvlm.demo.fit_rules import LOOKS, SEED
from pocketvlm.demo.rules import Judgement, judge, load_rules
from pocketvlm.demo.scenes import ELEMENTS, MOTIFS, draw_any_size

Judged = tuple[str, Judgement]


@pytest.fixture(scope="module")
def judged() -> list[Judged]:
    rng = np.random.default_rng(SEED + 1)
    labels = [ELEMENTS[i % len(ELEMENTS)] for i in range(150)]
    return [(label, judge(draw_any_size(label, rng))) for label in labels]


def test_it_is_right_on_unseen_scenes(judged: list[Judged]) -> None:
    right = [label == judgement.label for label, judgement in judged]
    assert np.mean(right) >= 0.93


def test_confidence_is_honest(judged: list[Judged]) -> None:
    right = np.array([label == judgement.label for label, judgement in judged])
    confidence = np.array([judgement.confidence for _, judgement in judged])
    assert abs(right.mean() - confidence.mean()) < 0.05


def test_scores_are_probabilities_and_agree_with_the_label(judged: list[Judged]) -> None:
    for _, judgement in judged:
        assert set(judgement.scores) == set(ELEMENTS)
        assert sum(judgement.scores.values()) == pytest.approx(1)
        order = sorted(judgement.scores, key=lambda e: -judgement.scores[e])
        assert [judgement.label, judgement.alternative] == order[:2]
        assert judgement.confidence == judgement.scores[judgement.label]


def test_reasons_name_what_was_measured(judged: list[Judged]) -> None:
    for _, judgement in judged:
        assert 1 <= len(judgement.visual_features) <= 4
        for part in (*judgement.visual_features, judgement.colours, judgement.label):
            assert part in judgement.reason
    assert len({judgement.reason for _, judgement in judged}) > 100


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((256, 256, 3), np.uint8),
        np.full((256, 256, 3), 255, np.uint8),
        np.full((9, 300, 3), (200, 30, 30), np.uint8),
        np.full((1, 1, 3), 128, np.uint8),
        np.random.default_rng(0).integers(0, 256, (700, 500, 3), np.uint8),
    ],
)
def test_any_picture_gets_a_finite_judgement(rgb: NDArray[np.uint8]) -> None:
    judgement = judge(rgb)
    assert judgement.label in ELEMENTS
    assert 0.2 <= judgement.confidence <= 1


def test_black_bars_change_nothing() -> None:
    scene = np.maximum(draw_any_size("wood", np.random.default_rng(3)), 20)
    barred = np.pad(scene, ((40, 40), (0, 0), (0, 0)))
    assert judge(barred) == judge(scene)


def test_every_motif_has_its_look() -> None:
    motifs = {motif.__name__ for motifs in MOTIFS.values() for motif in motifs}
    assert motifs == set(LOOKS)
    assert {name for _, name in load_rules().looks} == set(LOOKS.values())


def test_it_is_fast() -> None:
    scene = draw_any_size("metal", np.random.default_rng(1))
    judge(scene)
    seconds = []
    for _ in range(7):
        start = time.process_time()
        judge(scene)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.05
