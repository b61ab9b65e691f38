"""Filters, search and what they leave to do, in a real browser."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from pocketvlm.project import Project
from pocketvlm.reviews import Review, review_row
from pocketvlm.workspace import append_rows, write_rows

from .conftest import PLACE, chip, hashes, opened, reviews, saved, serving

pytestmark = pytest.mark.slow


def test_filters_combine_and_count(page: Page) -> None:
    def shown() -> str:
        return str(page.evaluate(PLACE))

    names = page.locator("#facets button").all_inner_texts()
    assert {
        "not reviewed 5",
        "water 3",
        "fire 1",
        "teachers disagree 1",
        "near-duplicates 2",
    } <= set(names)
    chip(page, "water")
    assert shown() == "1 of 3"
    chip(page, "fire")
    assert shown() == "1 of 4"
    chip(page, "teachers disagree")
    assert shown() == "1 of 1"
    assert "water 0" in page.locator("#facets button").all_inner_texts()
    page.locator("#clear").click()
    assert shown() == "3 of 5"  # the picture at hand stays at hand
    chip(page, "no label fits")
    assert shown() == "1 of 1"
    expect(page.locator("#said")).to_contain_text("no label fits")
    page.locator("#clear").click()
    page.locator("#sure").fill("0.6")
    assert shown() == "1 of 3"
    page.keyboard.press("/")
    page.keyboard.type("nobody said this")
    page.keyboard.press("Enter")
    expect(page.locator("#nothing")).to_have_text("No picture matches these filters.")
    for key in ("1", "Space", "x", "u", "j", "c", "Space", "a", "Enter"):
        page.keyboard.press(key)  # nothing to decide on
    expect(page.locator("#nothing")).to_be_visible()


def test_what_would_leave_nothing_cannot_be_chosen(page: Page) -> None:
    none = page.locator("#facets button", has_text="rejected 0")
    expect(none).to_have_attribute("aria-disabled", "true")
    none.focus()
    expect(none).to_be_focused()  # the keyboard does not stumble over it
    page.keyboard.press("Enter")
    assert page.evaluate(PLACE) == "1 of 5"
    for name in ("water", "fire", "teachers disagree"):
        chip(page, name)
    water = page.locator("#facets button", has_text="water 0")
    expect(water).to_have_attribute("aria-disabled", "false")  # it can be let go
    expect(page.locator("#facets button", has_text="rejected 0")).to_have_attribute(
        "aria-pressed", "false"
    )
    water.click()
    assert page.evaluate(PLACE) == "1 of 1"


def test_the_pace_is_that_of_decisions_and_the_rest_that_of_the_list(page: Page) -> None:
    progress = page.locator("#progress")
    page.keyboard.press("c")
    page.keyboard.press("Control+a")
    page.keyboard.press("x")
    expect(progress).to_have_text("5 of 5")  # one decision is no pace
    page.keyboard.press("u")
    expect(progress).to_have_text("0 of 5")
    page.keyboard.press("c")
    for _ in range(4):
        page.keyboard.press("x")
    expect(progress).to_contain_text("a minute, about 1 min left")
    page.keyboard.press("u")
    page.keyboard.press("x")
    chip(page, "not reviewed")
    expect(progress).to_contain_text("a minute, about 1 min for this one")


def test_what_is_decided_stays_in_the_list_until_it_is_filtered_again(page: Page) -> None:
    chip(page, "not reviewed")
    page.locator("main").focus()
    page.keyboard.press("1")
    assert page.evaluate(PLACE) == "2 of 5"
    page.keyboard.press("r")
    assert page.evaluate(PLACE) == "1 of 4"


def test_search_reads_the_reasons(page: Page, project: Project) -> None:
    page.keyboard.press("/")
    page.keyboard.type("glow 1x")
    expect(page.locator("#nothing")).to_be_visible()
    for _ in range(3):
        page.keyboard.press("Backspace")
    expect(page.locator("#place")).to_have_text("1 of 1")
    page.keyboard.press("Enter")  # the keys belong to the picture again
    page.keyboard.press("x")
    saved(page)
    assert reviews(project) == [(2, "reject", None)]


def test_suspects_come_in_while_one_works(project: Project, context: BrowserContext) -> None:
    shas = hashes(project)
    rows = [{"id": shas[0], "answer": "fire"}, {"id": shas[1], "answer": "water"}]
    write_rows(project.workspace.report / "predictions.jsonl", rows)
    append_rows(project.workspace.reviews, [review_row(Review(shas[3], "relabel", "land"), "now")])
    with serving(project, suspects=True) as site:
        page = opened(context, site.url)
        expect(page.locator("#background")).to_have_text("")
        for count in ("student differs 1", "duplicates differ 2", "looks otherwise 0"):
            expect(page.locator("#facets")).to_contain_text(count)
        chip(page, "student differs")
        expect(page.locator("#doubts li")).to_have_text(
            ["The student answered fire.", "A near-duplicate has another label."]
        )
