"""Attribute pictures: their answers and cells follow what was drawn."""

import numpy as np
import pytest

from pocketvlm.demo.attributes import CELLS, QUESTIONS, AttributePicture, draw
from pocketvlm.demo.scenes import ELEMENTS


@pytest.fixture(scope="module")
def pictures() -> list[AttributePicture]:
    rng = np.random.default_rng(11)
    return [draw(rng) for _ in range(120)]


def test_every_question_has_one_of_its_answers(pictures: list[AttributePicture]) -> None:
    for picture in pictures:
        assert picture.rgb.shape == (256, 256, 3)
        assert picture.rgb.dtype == np.uint8
        assert set(picture.answers) == set(QUESTIONS)
        for question, answer in picture.answers.items():
            assert answer in QUESTIONS[question]


def test_cells_name_classes(pictures: list[AttributePicture]) -> None:
    for picture in pictures:
        assert set(picture.cells) == set(CELLS)
        for word, cells in picture.cells.items():
            assert cells.shape == (4, 4)
            assert cells.min() >= 0
            assert cells.max() < len(CELLS[word])


def test_a_whole_picture_without_objects_has_its_texture_in_every_cell(
    pictures: list[AttributePicture],
) -> None:
    plain = [
        p for p in pictures if p.answers["layout"] == "whole" and p.answers["object"] == "none"
    ]
    assert plain
    for picture in plain:
        for word, cells in picture.cells.items():
            assert {CELLS[word][i] for i in cells.ravel()} == {picture.answers[word]}


def test_no_element_is_taught() -> None:
    words = {*QUESTIONS, *(word for words in QUESTIONS.values() for word in words)}
    assert not words & set(ELEMENTS)


def test_the_same_seed_draws_the_same_picture() -> None:
    first, again = (draw(np.random.default_rng(5), side=128) for _ in range(2))
    assert np.array_equal(first.rgb, again.rgb)
    assert first.answers == again.answers


def test_colour_says_nothing_about_texture() -> None:
    """The share of the commonest texture within each colour stays near chance."""
    rng = np.random.default_rng(2)
    answers = [draw(rng, side=64).answers for _ in range(1500)]
    table = np.zeros((len(QUESTIONS["colour"]), len(QUESTIONS["texture"])))
    for answer in answers:
        row = QUESTIONS["colour"].index(answer["colour"])
        table[row, QUESTIONS["texture"].index(answer["texture"])] += 1
    assert (table.max(axis=1) / table.sum(axis=1)).mean() < 0.2


def test_colours_are_what_they_are_called() -> None:
    """In sharp, evenly filled pictures of medium light, red is redder than green and so on."""
    rng = np.random.default_rng(3)
    means: dict[str, list[np.ndarray]] = {}
    for _ in range(600):
        picture = draw(rng, side=64)
        answers = picture.answers
        if answers["layout"] == "whole" and answers["object"] == "none":
            mean = picture.rgb.reshape(-1, 3).mean(axis=0)
            means.setdefault(answers["colour"], []).append(mean)
    typical = {colour: np.mean(values, axis=0) for colour, values in means.items()}
    assert typical["red"].argmax() == 0
    assert typical["green"].argmax() == 1
    assert typical["blue"].argmax() == 2
    assert typical["white"].min() > typical["grey"].max() > typical["black"].max()
