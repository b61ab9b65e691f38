"""EfficientNet-Lite0 as a teacher, on the photographs that scikit-learn ships."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sklearn
from PIL import Image

import photos
from pocketvlm.label.answer import parse_answer
from pocketvlm.label.client import encode_picture
from pocketvlm.sections import ELEMENTS
from simulated.loopback import serve

from .asking import connect

SHIPPED = Path(sklearn.__file__).parent / "datasets" / "images"


@pytest.fixture(scope="module")
def classifier() -> photos.Classifier:
    """The real one, where its weights are installed."""
    for package in (photos.NETWORK, photos.WEIGHTS):
        pytest.importorskip(package, reason="benchmarks/photos.py says how to get it")
    return photos.Classifier()


def test_every_class_has_an_element_or_none() -> None:
    classes = json.loads(photos.CLASSES.read_text())
    assert len(classes) == 1000
    counts = Counter(classes.values())
    assert set(counts) == {*ELEMENTS, "none"}
    assert counts["none"] < 700


def test_it_names_what_a_photograph_shows(classifier: photos.Classifier) -> None:
    flower = classifier.judge(Image.open(SHIPPED / "flower.jpg").convert("RGB"))
    assert flower.classes[0][0] == "daisy"
    assert flower.label == "none"


def test_elements_are_summed_over_their_classes() -> None:
    classes = {"motorboat": "metal", "dock": "water", "beach": "water", "tench": "none"}
    shown = photos.weigh([0.35, 0.3, 0.31, 0.04], classes)
    assert (shown.label, shown.alternative, shown.against) == ("water", "metal", "motorboat")
    assert shown.confidence == pytest.approx(0.61)
    assert (
        photos.express(shown)["reason"] == "looks like: motorboat (0.35), beach (0.31), dock (0.30)"
    )


def test_no_element_with_enough_is_none() -> None:
    classes = {"motorboat": "metal", "beach": "water", "tench": "none"}
    unsure, sure = photos.weigh([0.3, 0.1, 0.6], classes), photos.weigh([0.05, 0, 0.95], classes)
    assert (unsure.label, unsure.alternative, unsure.confidence) == ("none", "metal", 0.6)
    assert (sure.label, sure.alternative) == ("none", None)


@pytest.mark.usefixtures("classifier")
def test_behind_http_it_answers_as_the_prompt_asks() -> None:
    picture, _ = encode_picture(SHIPPED / "china.jpg", 512)
    content: Any = [{"type": "image_url", "image_url": {"url": picture}}]
    with serve(photos.answerer) as address, connect(f"{address}/v1") as client:
        said = client.chat.completions.create(
            model=photos.MODEL, messages=[{"role": "user", "content": content}]
        )
    answer = parse_answer(str(said.choices[0].message.content))
    assert answer.status(ELEMENTS) in ("ok", "none")
    assert "palace" in answer.reason
    assert said.usage and said.usage.prompt_tokens > 0


def test_without_photographs_it_says_so() -> None:
    command = [sys.executable, photos.__file__]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "give their FOLDER" in ended.stderr
