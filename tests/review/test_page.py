"""The page under a person's fingers, in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from pocketvlm.project import Project
from pocketvlm.reviews import Review, review_row
from pocketvlm.workspace import append_rows, read_rows, write_rows

from .conftest import Make, Site, hashes, opened, reviews, saved, serving

pytestmark = pytest.mark.slow

SURE = [0.5, 0.6, 0.7, 0.8, 0.9]
"""Of five pictures: least sure first is the order of the index."""


@pytest.fixture
def project(make: Make) -> Project:
    """Five pictures: four said to be water by one or both teachers, one that no label fits."""
    project = make(
        [
            {"confidence": 0.5, "reason": "Waves.", "alternative": "land", "ambiguity": "A beach."},
            {"confidence": 0.6},
            [{"confidence": 0.7}, {"confidence": 0.7, "label": "fire", "reason": "<b>Glow</b>"}],
            {"confidence": 0.8},
            {"status": "none", "label": None, "confidence": 0.9},
        ]
    )
    rows = list(read_rows(project.workspace.index))
    for number in (0, 3):
        rows[number]["phash"] = "0" * 64
    write_rows(project.workspace.index, rows)
    return project


@pytest.fixture
def site(project: Project) -> Iterator[Site]:
    with serving(project) as running:
        yield running


@pytest.fixture
def page(site: Site, context: BrowserContext) -> Page:
    page = opened(context, site.url)
    page.locator("#sort").select_option("order")
    page.locator("main").focus()
    return page


def place(page: Page) -> str:
    return page.locator("#place").inner_text()


def test_every_deciding_key(page: Page, project: Project) -> None:
    for key in ("1", "3", "Space", "x", "4"):
        page.keyboard.press(key)
    saved(page)
    assert reviews(project) == [
        (0, "accept", "water"),  # the teacher's own label is an acceptance
        (1, "relabel", "fire"),
        (2, "accept", "fire"),  # the stronger teacher's
        (3, "reject", None),
        (4, "relabel", "wood"),
    ]
    expect(page.locator("#notice")).to_have_text("This was the last picture of the list.")
    expect(page.locator("#progress")).to_contain_text("5 of 5")


def test_a_picture_without_a_label_cannot_be_accepted(page: Page, project: Project) -> None:
    page.keyboard.press("End")  # no key of this view
    for _ in range(4):
        page.keyboard.press("j")
    page.keyboard.press("a")
    expect(page.locator("#notice")).to_have_text("There is no label to accept: give one.")
    assert reviews(project) == []
    expect(page.locator("#said")).to_contain_text("no label fits")


def test_moving_changes_nothing(page: Page, project: Project) -> None:
    seen = [place(page)]
    for key in ("ArrowRight", "j", "k", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
        seen.append(page.evaluate(PLACE))
    assert seen == ["1 of 5", "2 of 5", "3 of 5", "2 of 5", "1 of 5", "1 of 5"]
    assert reviews(project) == []


PLACE = """() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(
    () => resolve(document.querySelector('#place').textContent))))"""
"""After what was asked for has been drawn."""


def test_undo_goes_back_through_everything(page: Page, project: Project) -> None:
    for key in ("2", "x", "k", "k", "3"):
        page.keyboard.press(key)
    assert page.evaluate(PLACE) == "2 of 5"
    for expected in ("1 of 5", "2 of 5", "1 of 5", "1 of 5"):
        page.keyboard.press("u")
        assert page.evaluate(PLACE) == expected
    expect(page.locator("#notice")).to_have_text("Nothing to undo.")
    saved(page)
    assert reviews(project) == [
        (0, "relabel", "land"),
        (1, "reject", None),
        (0, "relabel", "fire"),
        (0, "relabel", "land"),
        (1, "undo", None),
        (0, "undo", None),
    ]


def test_undo_brings_back_what_was_decided_before(
    make: Make, project: Project, context: BrowserContext
) -> None:
    shas = hashes(project)
    before = [Review(shas[0], "accept", None), Review(shas[1], "relabel", "a-label-of-old")]
    append_rows(project.workspace.reviews, [review_row(one, "now") for one in before])
    with serving(project) as site:
        page = opened(context, site.url)
        page.locator("#sort").select_option("order")
        page.locator("main").focus()
        for key in ("k", "k", "k", "k", "4", "4", "u", "u"):
            page.keyboard.press(key)
        saved(page)
    assert reviews(project)[4:] == [(1, "undo", None), (0, "accept", None)]


def test_all_that_the_teachers_said_is_shown_as_text(page: Page) -> None:
    expect(page.locator("#said")).to_have_text("water 0.50")
    opinion = page.locator(".opinion")
    expect(opinion).to_contain_text("Waves.")
    expect(opinion).to_contain_text("A beach.")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(".opinion")).to_have_count(2)
    expect(page.locator(".opinion.stands")).to_contain_text("<b>Glow</b>")
    expect(page.locator("#doubts")).to_contain_text("The teachers disagree.")
    assert page.locator(".opinion b").count() == 0


def test_both_views_are_shown_and_the_phones_keeps_its_squares(page: Page) -> None:
    for name in ("phone", "photo"):
        image = page.locator(f"#{name} img.ready")
        assert image.evaluate("one => one.naturalWidth") == {"phone": 64, "photo": 50}[name]
    phone = page.locator("#phone img")
    for width, height in ((1280, 800), (1100, 760), (1920, 1080)):
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(PLACE)
        assert phone.evaluate("one => one.clientWidth / one.naturalWidth % 1") == 0
        assert phone.evaluate("one => one.clientWidth / one.naturalWidth") >= 4
    assert phone.evaluate("one => getComputedStyle(one).imageRendering") == "pixelated"


def chip(page: Page, name: str) -> None:
    page.locator("#facets").get_by_role("button", name=name).first.click()


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
    chip(page, "rejected")
    expect(page.locator("#nothing")).to_have_text("No picture matches these filters.")
    for key in ("1", "Space", "x", "u", "j", "c", "Space", "a", "Enter"):
        page.keyboard.press(key)  # nothing to decide on
    expect(page.locator("#nothing")).to_be_visible()


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


def test_duplicates_are_shown_beside_each_other(page: Page) -> None:
    twin = page.locator("#twins button")
    expect(twin).to_have_count(1)
    twin.click()
    expect(page.locator("#place")).to_have_text("4 of 5")
    chip(page, "near-duplicates")
    assert page.evaluate(PLACE) == "2 of 2"


def test_the_contact_sheet_decides_on_many(page: Page, project: Project) -> None:
    page.keyboard.press("c")
    expect(page.get_by_role("gridcell")).to_have_count(5)
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "ArrowRight", "ArrowRight", "Space"):
        page.keyboard.press(key)
    expect(page.locator("[aria-selected=true]")).to_have_count(4)
    page.keyboard.press("a")
    expect(page.locator("#live")).to_contain_text("3 pictures accepted; 1 without a label left out")
    page.keyboard.press("Control+a")
    page.keyboard.press("3")
    saved(page)
    assert reviews(project)[:3] == [
        (0, "accept", "water"),
        (1, "accept", "water"),
        (2, "accept", "fire"),
    ]
    assert reviews(project)[3:] == [
        (at, "relabel" if at != 2 else "accept", "fire") for at in range(5)
    ]
    page.keyboard.press("u")
    expect(page.locator("#live")).to_contain_text("5 decisions undone.")
    saved(page)
    assert reviews(project)[8:] == [*reviews(project)[:3], (3, "undo", None), (4, "undo", None)]


def test_the_sheet_opens_a_picture_and_comes_back_to_it(page: Page) -> None:
    page.keyboard.press("c")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator("#place")).to_have_text("5 of 5")
    page.keyboard.press("c")
    expect(page.locator("[role=gridcell]:focus")).to_have_attribute(
        "aria-label", "5: no label fits 0.90"
    )
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    expect(page.locator("[aria-selected=true]")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.locator("#work")).to_be_visible()


def test_the_mouse_selects_ranges(page: Page) -> None:
    page.keyboard.press("c")
    cells = page.get_by_role("gridcell")
    cells.nth(1).click()
    cells.nth(3).click(modifiers=["Shift"])
    expect(page.locator("[aria-selected=true]")).to_have_count(3)
    cells.nth(2).click()
    expect(page.locator("[aria-selected=true]")).to_have_count(2)
    cells.nth(4).dblclick()
    expect(page.locator("#place")).to_have_text("5 of 5")


def test_after_a_click_the_space_bar_accepts(page: Page, project: Project) -> None:
    page.locator("#decide").get_by_role("button", name="reject").click()
    page.keyboard.press("Space")
    saved(page)
    assert reviews(project) == [(0, "reject", None), (1, "accept", "water")]


def test_a_key_held_down_decides_once(page: Page, project: Project) -> None:
    for _ in range(4):
        page.keyboard.down("x")
    page.keyboard.up("x")
    saved(page)
    assert reviews(project) == [(0, "reject", None)]


def test_help_lists_the_keys_and_takes_none(page: Page, project: Project) -> None:
    page.keyboard.press("?")
    expect(page.locator("#help")).to_contain_text("undo")
    page.keyboard.press("x")
    page.keyboard.press("Escape")
    expect(page.locator("#help")).not_to_be_visible()
    assert reviews(project) == []


def test_it_goes_on_where_one_left_off(page: Page, context: BrowserContext, site: Site) -> None:
    page.keyboard.press("1")
    page.keyboard.press("x")
    saved(page)
    again = opened(context, site.url)
    third = f"/picture/photo/{hashes(site.project)[2]}"  # the least sure one that is left
    expect(again.locator("#photo img")).to_have_attribute("src", third)
    assert "token" not in again.url
    again.reload()
    expect(again.locator("#photo img")).to_have_attribute("src", third)


def test_more_than_nine_labels_take_two_digits(make: Make, context: BrowserContext) -> None:
    task = {"question": "Which?", "labels": {f"kind{number}": "" for number in range(1, 13)}}
    project = make([{"label": "kind1"}] * 3, task=task)
    with serving(project) as site:
        page = opened(context, site.url)
        for key in ("0", "2", "1", "Escape", "1", "1", "9", "9", "1", "2"):
            page.keyboard.press(key)
        saved(page)
    assert reviews(project) == [
        (0, "relabel", "kind2"),
        (1, "relabel", "kind11"),
        (2, "relabel", "kind12"),
    ]
