"""Which vision file ships, and which files are recommended."""

from collections.abc import Callable

import pytest

from pocketvlm.project import Project
from pocketvlm.validate.examples import read_examples
from pocketvlm.validate.ladder import exported
from pocketvlm.validate.shipping import recommendation, shipping

from .conftest import ladder

Make = Callable[..., Project]


@pytest.mark.parametrize(
    ("n", "others", "ships", "words"),
    [
        (300, 1, "Q8_0", "99.7% of the same answers as F16 on 300 pictures, so Q8_0 ships"),
        (300, 2, "F16", "99.3% of the same answers as F16 on 300 pictures: less than 99.5%"),
        (299, 0, "F16", "on 299 pictures: fewer than 300, so F16 ships"),
    ],
)
def test_the_smaller_vision_file_ships_where_it_answers_the_same(
    make: Make, n: int, others: int, ships: str, words: str
) -> None:
    project = make(test=n)
    said = [" water"] * n
    step, choice = shipping(
        project, ladder(project, said, small=[" fire"] * others + said[others:])
    )
    assert step.pair is not None
    assert (step.pair.type, step.pair.mmproj) == ("Q8_0", ships)
    assert words in str(choice)


def test_without_a_smaller_vision_file_there_is_no_choice(make: Make) -> None:
    project = make(test=3, export={"mmproj": ["F16"], "types": ["F16", "Q8_0", "Q4_0", "Q5_0"]})
    step, choice = shipping(project, ladder(project, [" water"] * 3))
    assert step.name == "llama.cpp F16"
    assert choice is None


def test_the_smallest_file_that_is_as_good_is_recommended(make: Make) -> None:
    project = make(test=400)
    truth = [one.truth for one in read_examples(project)[1]]
    said = [f" {label}" for label in truth]
    worse = ["?"] * 40 + said[40:]
    told = recommendation(project, ladder(project, said), truth)
    assert told["recommended"] == "llama.cpp Q4_0"
    told = recommendation(project, ladder(project, said, Q4_0=worse), truth)
    assert told["recommended"] == "llama.cpp Q8_0 + mmproj Q8_0"
    other = ["water"] * 3 + said[3:]  # as often right, but not the same answers
    told = recommendation(project, ladder(project, said, Q4_0=worse, small=other), truth)
    assert told["recommended"] == "llama.cpp Q8_0"
    assert told["best"] == "llama.cpp F16"


def test_answers_are_judged_by_the_audit_where_files_are_near_the_merged_model(make: Make) -> None:
    """A vision file that does not ship must not miss the gate of those that do."""
    types = {"types": ["Q8_0", "F16", "Q4_0"], "mmproj": ["F16", "Q8_0"]}
    judged = {pair.kinds: pair.fine for pair in exported(make(test=1, export=types))}
    coarse = {"Q4_0": False, "Q8_0 + mmproj Q8_0": False}
    assert judged == {"Q8_0": True, "F16": True, **coarse}
