"""The page under a person's fingers, in a real browser."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from pocketvlm.project import Project
from pocketvlm.reviews import Review, review_row
from pocketvlm.workspace import append_rows

from .conftest import PLACE, Make, Site, chip, hashes, opened, reviews, saved, serving

pytestmark = pytest.mark.slow


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


def test_undo_after_a_reload_takes_back_the_picture_at_hand(
    page: Page, project: Project, site: Site
) -> None:
    page.keyboard.press("x")
    page.keyboard.press("1")
    saved(page)
    page.goto(site.url)
    page.wait_for_selector("body[data-ready]")
    page.locator("#sort").select_option("order")
    page.locator("main").focus()
    for _ in range(5):
        page.keyboard.press("k")
    assert page.evaluate(PLACE) == "1 of 5"
    page.keyboard.press("u")
    expect(page.locator("#notice")).to_have_text("Undone: rejected.")
    expect(page.locator("#said .chip")).to_have_count(0)
    page.keyboard.press("u")
    expect(page.locator("#notice")).to_have_text("Nothing to undo.")
    saved(page)
    assert reviews(project)[2:] == [(0, "undo", None)]


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


def test_one_picture_is_one_and_what_cannot_be_shown_is_said(
    page: Page, project: Project, site: Site
) -> None:
    (project.workspace.originals / "4.png").write_bytes(b"no picture")
    page.keyboard.press("c")
    cells = page.get_by_role("gridcell")
    expect(cells.nth(4)).to_contain_text("cannot be shown")
    assert cells.nth(4).locator("img").count() == 0
    assert cells.nth(3).locator("img").count() == 1
    expect(page.locator("#sheet-said")).to_have_text("5 pictures. Space selects, Enter opens.")
    chip(page, "no label fits")
    expect(page.locator("#sheet-said")).to_contain_text("1 picture. ")
    expect(page.locator("#live")).to_have_text("1 picture")


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
