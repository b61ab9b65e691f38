"""A dataset of one's own: what its lines may hold, and how a wrong one is told."""

from pathlib import Path
from typing import Any

import pytest

from pocketvlm.config import parse_config
from pocketvlm.dataset import read_split
from pocketvlm.errors import PocketError
from pocketvlm.project import Project
from pocketvlm.workspace import Row, write_rows

GOOD: Row = {"image": "images/a.png", "label": "water"}


def project(root: Path, *rows: Row) -> Project:
    """A workspace whose train split holds these rows."""
    made = Project.of(parse_config({}), root)
    write_rows(made.workspace.split("train"), rows)
    return made


def test_both_names_of_the_label_and_what_may_be_missing(tmp_path: Path) -> None:
    named = {"image": "b.png", "element": "fire", "confidence": None, "reason": None, "more": 1}
    first, second = read_split(project(tmp_path, GOOD, named), "train")
    assert (first.label, first.confidence, first.reviewed) == ("water", None, False)
    assert (second.label, second.image) == ("fire", "b.png")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": None}, "image: "),
        ({"image": "/elsewhere/a.png"}, "image: must lie inside"),
        ({"image": "../a.png"}, "image: must lie inside"),
        ({"label": 3}, "label: "),
        ({"confidence": "sure"}, "confidence: "),
        ({"confidence": 7}, "confidence: "),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    made = project(tmp_path, GOOD, GOOD | changes)
    with pytest.raises(PocketError, match=rf"train\.jsonl, row 2: {said}"):
        list(read_split(made, "train"))


def test_a_line_with_another_key_for_the_picture(tmp_path: Path) -> None:
    made = project(tmp_path, {"image_path": "a.png", "label": "water"})
    with pytest.raises(PocketError, match="row 1: image: Field required"):
        list(read_split(made, "train"))
