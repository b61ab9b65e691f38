"""Inline drawings: well-formed, coloured by the page, without ids in common."""

import re
import warnings
from xml.etree import ElementTree

from pocketvlm.plots import INK, SECOND, accuracy_plot, confusion_plot, coverage_plot, loss_plot
from pocketvlm.validate.metrics import confusion

HISTORY = {
    "train": [{"epoch": 0.5, "loss": 2.0}, {"epoch": 1.0, "loss": 1.0}],
    "val": [{"epoch": 1.0, "loss": 1.1, "accuracy": 0.5}],
}
CALIBRATION = {
    "curve": [
        {"threshold": 0.4, "coverage": 1.0, "accuracy": 0.9},
        {"threshold": 0.8, "coverage": 0.7, "accuracy": 0.97},
        {"threshold": 0.9, "coverage": 0.0, "accuracy": None},
    ],
    **{"sure": 0.95, "unsure_below": 0.8, "coverage": 0.7, "accuracy_when_sure": 0.97},
}
TABLE = confusion(["water", "fire", "fire"], ["water", None, "water"], ["water", "fire"])


def test_drawings_are_well_formed_and_take_the_pages_colour() -> None:
    drawings = (confusion_plot(TABLE), loss_plot(HISTORY), coverage_plot(CALIBRATION))
    for drawing in (*drawings, accuracy_plot(HISTORY)):
        assert ElementTree.fromstring(drawing).tag.endswith("svg")
        assert INK not in drawing
        assert "currentColor" in drawing


def test_a_confusion_cell_shows_its_count_and_empty_ones_nothing() -> None:
    texts = [element.text for element in ElementTree.fromstring(confusion_plot(TABLE)).iter()]
    assert texts.count("1") == 3
    assert "0" not in texts
    assert "other" in texts


def test_any_label_is_drawn_as_it_is() -> None:
    labels = ["$\\frac$", "水", "a&b", "--"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawing = confusion_plot(confusion(labels, labels, labels))
    texts = [element.text for element in ElementTree.fromstring(drawing).iter()]
    assert all(texts.count(label) == 2 for label in labels)  # true and answered


def test_a_loss_that_is_not_finite_is_drawn() -> None:
    broken = {"train": [{"epoch": 0.5, "loss": float("nan")}], "val": []}
    assert ElementTree.fromstring(loss_plot(broken)).tag.endswith("svg")


def test_two_drawings_share_no_id_and_every_reference_resolves() -> None:
    seen: set[str] = set()
    drawings = (loss_plot(HISTORY), accuracy_plot(HISTORY), coverage_plot(CALIBRATION))
    for drawing in (*drawings, confusion_plot(TABLE)):
        ids = set(re.findall(r'\bid="([^"]+)"', drawing))
        assert ids
        assert not ids & seen
        assert set(re.findall(r"[\"(]#([^\")]+)", drawing)) <= ids
        seen |= ids


def test_the_dot_of_a_threshold_is_there_only_with_a_threshold() -> None:
    none = {"unsure_below": None, "coverage": None, "accuracy_when_sure": None}
    assert SECOND in coverage_plot(CALIBRATION)
    assert SECOND not in coverage_plot(CALIBRATION | none)


def test_the_same_history_gives_the_same_bytes() -> None:
    assert loss_plot(HISTORY) == loss_plot(HISTORY)
