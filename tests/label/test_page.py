"""The labels' page: complete, escaped, loaded from nowhere, and it can be searched."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from pocketvlm.label.agreement import Review, figures
from pocketvlm.label.consensus import decide
from pocketvlm.label.page import DISPUTED, FOUND, headline, money, render, thumbnail, warnings
from pocketvlm.workspace import Row
from tests import html_reader

from .test_consensus import lacks, says

TASK = {"water": "seas and rain", "fire": "flames & <embers>", "wood": "trees"}
EVIL = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"


class Page(html_reader.Page):
    """The page, and what can be searched in it."""

    @property
    def answers(self) -> list[Row]:
        """What can be searched."""
        found: list[Row] = json.loads(self.scripts[0])
        return found


def html(
    folder: Path,
    opinions: Sequence[Sequence[Row]],
    reviews: dict[str, Review] | None = None,
    usd: float | None = None,
    **more: Any,
) -> str:
    """The page about pictures that lie in `folder`."""
    pictures = [{"sha256": f"{at:064x}", "file": f"{at}.png"} for at in range(len(opinions))]
    decisions = decide(opinions, list(TASK))
    names = [row["sha256"] for row in pictures]
    found = figures(names, opinions, decisions, list(TASK), reviews, usd)
    task: dict[str, Any] = {"question": "What is it?", "labels": TASK, "originals": folder}
    return render(pictures, opinions, decisions, found, **(task | more))


def rich(row: Row, reason: str, **more: Any) -> Row:
    """An opinion with everything that the ledger has."""
    seen = {"visual_features": ["flames"], "colours": ["red"], "texture": "smooth"}
    return row | seen | {"reason": reason, "ambiguity": None, "raw": "{}"} | more


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures 0 to 5."""
    for at in range(6):
        Image.fromarray(np.full((30, 40, 3), 40 * at, np.uint8)).save(tmp_path / f"{at}.png")
    return tmp_path


OPINIONS = [
    [rich(says("fire", 0.9), "orange flames")],
    [
        rich(says("fire", 0.9, alternative="wood"), "a red leaf", ambiguity="it may be dry"),
        rich(says("wood", 0.8, 1), "a leaf with veins"),
    ],
    [rich(says("none", 0.5), "a blank wall")],
    [lacks("refused") | {"raw": "I cannot help with that."}],
    [lacks("malformed") | {"raw": "prose", "error": "no JSON object with a label"}],
    [rich(lacks("rejected"), "clouds")],
]


def test_it_says_what_there_is(folder: Path) -> None:
    seen = Page(html(folder, OPINIONS, {f"{0:064x}": ("accept", None)}, usd=3.0))
    for words in (
        "2 of 6 pictures have a label.",
        "The answers cost 3.00 USD, 1.50 USD a label.",
        "A person looked at 1 of them: 100.0% are right",
        "no picture got the label water",
        "labels outside the set were answered: cloud (1)",
        "1 of 6 pictures were refused",
        "1 of 6 pictures have no answer that can be read",
        "1 picture has answers that differ",
        "decided: wood",
        "Or wood : it may be dry",
        "I cannot help with that.",
        "no JSON object with a label",
        "Refused, rejected, malformed",
    ):
        assert words in seen.text
    assert len(seen.all("svg")) == 4  # confidence, two calibrations, confusion
    assert len(seen.all("img")) == 4


def test_everything_of_a_teacher_is_escaped(folder: Path) -> None:
    evil = {
        "model": EVIL,
        "visual_features": [EVIL],
        "colours": [EVIL],
        "texture": EVIL,
        "ambiguity": EVIL,
        "raw": EVIL,
        "error": EVIL,
    }
    opinions = [
        [rich(says("fire"), EVIL, **evil), rich(says("wood", teacher=1), EVIL, **evil)],
        [rich(lacks("rejected"), EVIL, **evil) | {"label": EVIL, "alternative": EVIL}],
        [rich(lacks("malformed"), EVIL, **evil)],
    ]
    page = html(folder, opinions)
    seen = Page(page)
    assert "<img src=x" not in page
    assert len(seen.all("script")) == 2
    assert "alert" not in seen.scripts[1]
    assert EVIL in seen.text
    assert seen.answers[0]["reason"] == EVIL


def test_nothing_is_loaded_from_elsewhere(folder: Path) -> None:
    page = html(folder, OPINIONS)
    names = ("src", "href", "xlink:href", "data", "action", "srcset", "poster")
    seen = Page(page)
    links = [attrs[name] for _, attrs in seen.elements for name in names if attrs.get(name)]
    assert all(str(link).startswith(("data:image/", "#")) for link in links)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_only_the_least_sure_are_asked_for_and_shown(folder: Path) -> None:
    opinions = [[says("fire", 0.9), says("wood", 0.5, repeat=1)] for _ in range(DISPUTED + 5)]
    opinions += [[says("water", 0.99)] for _ in range(FOUND)]
    asked: set[int] = set()

    def full(at: int) -> list[Row]:
        asked.add(at)
        return [rich(row, "seen") for row in opinions[at]]

    seen = Page(html(folder, opinions, full=full))
    assert f"{DISPUTED + 5} pictures have answers that differ; the {DISPUTED} least" in seen.text
    assert len(seen.answers) == FOUND
    assert len(asked) < FOUND
    assert all(answer["reason"] == "seen" for answer in seen.answers)
    assert seen.text.count("the file cannot be read") == DISPUTED - 6  # only six exist


def test_a_page_about_nothing(folder: Path) -> None:
    seen = Page(html(folder, []))
    assert "0 of 0 pictures have a label." in seen.text
    assert "What the answers cost is not known." in seen.text
    assert seen.answers == []


def test_one_teacher_and_no_disagreement(folder: Path) -> None:
    seen = Page(html(folder, [[says("fire")], [says("wood")]], usd=0.0))
    assert "The answers cost nothing." in seen.text
    assert "Where they differ" not in seen.text
    assert "Do the teachers agree?" not in seen.text


def test_teachers_with_one_model_are_told_apart(folder: Path) -> None:
    both = [says("fire", model="same"), says("wood", teacher=1, model="same")]
    seen = Page(html(folder, [both]))
    assert "same (1), same (2)" in seen.text


def test_sentences() -> None:
    assert money(12.5) == "12.50 USD"
    assert money(0.00099) == "0.099 cents"
    assert headline({"labelled": 1, "pictures": 1}) == "1 of 1 picture has a label."


def test_clustered_confidences_are_one_warning() -> None:
    pictures = [[says("fire"), says("fire", teacher=1)]] * 30
    decisions = decide(pictures, list(TASK))
    found = figures([""] * 30, pictures, decisions, list(TASK))
    (first, *rest) = warnings(found)
    assert first.startswith("teacher-0 states 0.95 for 100% of its answers, teacher-1 states 0.95")
    assert rest == [
        "no picture got the label water or wood: the student cannot learn it. Collect pictures of "
        "it, or sharpen its definition"
    ]


def test_pictures_that_no_label_fits_are_warned_about() -> None:
    pictures = [[says("none")], [says("fire")]]
    found = figures(["", ""], pictures, decide(pictures, ["fire"]), ["fire"])
    assert warnings(found) == [
        "no label fits 50% of the pictures: the labels do not cover what was collected"
    ]


def test_a_thumbnail_is_turned_and_small(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(np.zeros((300, 1200, 3), np.uint8)).save(path, exif=exif)
    found = thumbnail(path)
    assert found is not None and found.startswith("data:image/jpeg;base64,")
    assert thumbnail(tmp_path / "missing.jpg") is None
    path.write_bytes(b"no picture")
    assert thumbnail(path) is None


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium; outside CI it may be missing."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None and "CI" not in os.environ:
        pytest.skip("no Chromium on this machine: install it to see the page in a browser")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()


@pytest.mark.slow
def test_in_a_browser_it_fits_a_phone_and_is_searched(browser: Browser, folder: Path) -> None:
    file = folder / "report.html"
    evil = [rich(says("wood"), EVIL)]
    file.write_text(html(folder, [*OPINIONS[:-1], evil]), encoding="utf-8")
    page = browser.new_page(viewport={"width": 360, "height": 800})
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("dialog", lambda dialog: trouble.append(dialog.message))
    page.goto(file.as_uri(), wait_until="load")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("#count").inner_text() == "7 answers"
    page.fill("#words", "LEAF veins")
    assert page.locator("#count").inner_text() == "1 answer"
    assert page.locator("#hits li p").first.inner_text() == "a leaf with veins"
    page.fill("#words", "onerror")
    assert page.locator("#hits img").count() == 0
    assert EVIL in page.locator("#hits").inner_text()
    assert trouble == []
