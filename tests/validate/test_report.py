"""The page: self-contained, escaped, complete."""

import base64
import shutil
from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image

from pocketvlm.pages import percent
from pocketvlm.project import Project
from pocketvlm.validate.report import WRONG
from pocketvlm.workspace import Row, write_json
from tests.html_reader import Page

from .conftest import history, html, lines

Make = Callable[..., Project]


def page(project: Project, right: int) -> Page:
    """The page of `html`, read."""
    return Page(html(project, right))


@pytest.fixture
def project(make: Make) -> Project:
    """Eight pictures and a training's history."""
    made = make(test=8)
    write_json(made.workspace.adapter / "history.json", history())
    return made


def test_nothing_is_loaded_from_elsewhere(project: Project) -> None:
    seen = page(project, 5)
    names = ("src", "href", "xlink:href", "data", "action", "srcset", "poster")
    links = [attrs[name] for _, attrs in seen.elements for name in names if attrs.get(name)]
    assert links
    assert all(str(link).startswith(("data:image/", "#")) for link in links)
    assert not seen.all("script")


def test_pictures_decode_and_have_words(project: Project) -> None:
    pictures = page(project, 5).all("img")
    assert len(pictures) == 8  # five right, three wrong
    for picture in pictures:
        encoded = str(picture["src"]).removeprefix("data:image/jpeg;base64,")
        with Image.open(BytesIO(base64.b64decode(encoded, validate=True))) as decoded:
            decoded.load()
        assert picture["alt"]


def test_headline_interval_gate_and_warning(project: Project) -> None:
    text = page(project, 7).text
    assert "7 of 8 pictures are answered right by the files that ship." in text
    assert "between 52.9% and 97.8% (95% interval). The gate of 85.0% is passed, but not by" in text
    assert "only 8 pictures were asked" in text


def test_a_missed_gate_is_said_in_words(project: Project) -> None:
    text = page(project, 2).text
    assert "Gate missed" in text
    assert "The gate of 85.0% is missed." in text


def test_model_and_teacher_text_is_escaped(project: Project) -> None:
    lines(project, "test", 3, reason="<script>alert(1)</script> & more")
    seen = page(project, 0)
    assert not seen.all("script")
    assert not seen.all("b")
    assert "no label: “a <b>picture</b>”" in seen.text
    assert "<script>alert(1)</script> & more" in seen.text


def test_wrong_answers_are_capped(make: Make) -> None:
    seen = page(make(test=WRONG + 5), 0)
    assert len(seen.all("img")) == WRONG
    assert f"{WRONG + 5} wrong of {WRONG + 5}, {WRONG} shown" in seen.text


def test_without_a_mistake_or_history_the_page_stands(make: Make) -> None:
    seen = page(make(test=3), 3)
    assert "Nothing." in seen.text
    assert "training" not in {attrs.get("id") for attrs in seen.all("h2")}


def test_training_curves_and_its_warnings(project: Project) -> None:
    seen = page(project, 8)
    assert "Best on val: 100.0% after epoch 2." in seen.text
    assert "'fire' is rare" in seen.text
    plots = [attrs["aria-label"] for attrs in seen.all("div") if attrs.get("role") == "img"]
    assert len(plots) == 3


def test_an_unfinished_history_of_no_epoch_is_drawn(project: Project) -> None:
    empty: Row = {"train": [], "val": [], "best": None, "warnings": []}
    write_json(project.workspace.adapter / "history.json", empty)
    assert "No validation split." in page(project, 8).text


def test_contract_runtime_and_truth_are_told(project: Project) -> None:
    text = page(project, 8).text
    assert project.contract.hash in text
    assert "llama-cpp-python 0" in text
    assert "What counts as true: teacher" in text


def test_ids_are_unique_and_references_resolve(project: Project) -> None:
    elements = page(project, 5).elements
    ids = [attrs["id"] for _, attrs in elements if attrs.get("id")]
    assert len(ids) == len(set(ids))
    labelled = {attrs["aria-labelledby"] for _, attrs in elements if attrs.get("aria-labelledby")}
    assert labelled <= set(ids)


def test_pictures_are_read_from_the_dataset_only_when_shown(project: Project) -> None:
    shutil.rmtree(project.workspace.dataset / "images")
    with pytest.raises(FileNotFoundError):
        page(project, 5)


@pytest.mark.parametrize(("share", "words"), [(0.8349, "83.5%"), (1, "100.0%"), (None, "–")])  # noqa: RUF001
def test_percent(share: float | None, words: str) -> None:
    assert percent(share) == words
