"""Several windows, other programs, and a server that dies: nobody's decision is lost or hidden."""

import signal

import pytest
from playwright.sync_api import BrowserContext, Dialog, expect

from pocketvlm.reviews import Review, review_row
from pocketvlm.workspace import append_row, read_rows, write_rows

from .conftest import Make, hashes, opened, reviews, saved, serving, started

pytestmark = pytest.mark.slow

SOON = 3000
"""Milliseconds within which another window's decision is seen."""


def test_windows_see_each_others_decisions(make: Make, context: BrowserContext) -> None:
    project = make([{}] * 4)
    with serving(project) as site:
        one, two = opened(context, site.url), opened(context, site.url)
        two.bring_to_front()
        one.keyboard.press("3")
        expect(two.locator("#notice")).to_have_text(
            "Just decided elsewhere: relabelled: fire.", timeout=SOON
        )
        expect(two.locator("#progress")).to_contain_text("1 of 4")
        two.keyboard.press("x")  # the last decision counts
        expect(one.locator("#facets")).to_contain_text("rejected 1", timeout=SOON)
        one.keyboard.press("u")
        expect(one.locator("#notice")).to_contain_text("1 decided elsewhere since, left as it is")
        one.keyboard.press("j")
        append_row(
            project.workspace.reviews, review_row(Review(hashes(project)[1], "reject", None), "now")
        )
        expect(one.locator("#notice")).to_have_text(
            "Just decided elsewhere: rejected.", timeout=SOON
        )
        saved(one)
        saved(two)
        assert reviews(project) == [
            (0, "relabel", "fire"),
            (0, "reject", None),
            (1, "reject", None),
        ]


def test_a_killed_server_costs_no_decision(make: Make, context: BrowserContext) -> None:
    project = make([{}] * 6)
    program, url = started(project.workspace.root)
    page = opened(context, url)
    page.keyboard.press("1")
    saved(page)
    program.kill()
    program.wait()
    for key in ("2", "x", "u", "3"):
        page.keyboard.press(key)
    alarm = page.get_by_role("alert")
    expect(alarm).to_contain_text("the server does not answer")
    expect(alarm).to_contain_text("4 decisions are kept in this window")
    expect(page.locator("#saved")).to_have_text("4 not saved yet")
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.once("dialog", stay)
    page.close(run_before_unload=True)
    expect(page.locator("#saved")).to_have_text("4 not saved yet")
    assert asked == ["beforeunload"]

    program, again = started(project.workspace.root)
    try:
        assert again.split("token=")[0] == url.split("token=")[0]
        assert again != url
        expect(alarm).to_contain_text("open in another tab the address that it printed")
        opened(context, again)
        expect(alarm).not_to_be_visible()
        saved(page)
        page.keyboard.press("4")
        saved(page)
    finally:
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=20)
    assert reviews(project) == [
        (0, "accept", "water"),
        (1, "relabel", "land"),
        (2, "reject", None),
        (2, "undo", None),
        (2, "relabel", "fire"),
        (3, "relabel", "wood"),
    ]


def test_a_list_that_changed_meanwhile_mixes_nothing_up(
    make: Make, context: BrowserContext
) -> None:
    project = make([{}] * 4)
    shas = hashes(project)
    with serving(project) as site:
        page = opened(context, site.url)
        page.locator("#sort").select_option("order")
        page.locator("main").focus()
    rows = list(read_rows(project.workspace.index))
    write_rows(project.workspace.index, rows[1:])  # every other picture has another number now
    page.keyboard.press("j")
    page.keyboard.press("2")
    with serving(project):
        expect(page.get_by_role("alert")).to_contain_text("reload this page")
        append_row(project.workspace.reviews, review_row(Review(shas[2], "reject", None), "now"))
        expect(page.locator("#notice")).to_have_text("Just decided elsewhere: rejected.")
        page.reload()
        expect(page.locator("#progress")).to_contain_text("2 of 3")
        expect(page.get_by_role("alert")).not_to_be_visible()
    assert reviews(project) == [(0, "relabel", "land"), (1, "reject", None)]


def test_what_no_longer_fits_is_told_and_the_rest_is_saved(
    make: Make, context: BrowserContext
) -> None:
    project = make([{}] * 4)
    gone = hashes(project)[0]
    with serving(project) as site:
        page = opened(context, site.url)
        page.locator("#sort").select_option("order")
        page.locator("main").focus()
    for key in ("2", "x", "1"):
        page.keyboard.press(key)
    expect(page.locator("#saved")).to_have_text("3 not saved yet")
    write_rows(project.workspace.index, list(read_rows(project.workspace.index))[1:])
    alarm = page.get_by_role("alert")
    lost = f"1 decision no longer fits and was not saved: relabelled: land, picture {gone[:12]}"
    with serving(project) as site:
        expect(alarm).to_contain_text(lost)
        expect(alarm).not_to_contain_text("sent again")
        expect(page.locator("#saved")).to_have_text("1 not saved")
        page.keyboard.press("3")
        expect(page.locator("#facets")).to_contain_text("relabelled 1")
        expect(page.locator("#facets")).to_contain_text("not reviewed 1")  # the lost one
        expect(page.locator("#saved")).to_have_text("1 not saved")
        assert page.evaluate("sessionStorage.length") == 0
        page.goto(site.url)
        page.wait_for_selector("body[data-ready]")
        expect(alarm).not_to_be_visible()
    assert reviews(project) == [
        (0, "reject", None),
        (1, "accept", "water"),
        (2, "relabel", "fire"),
    ]


def test_a_reload_tells_what_no_longer_fits_once(make: Make, context: BrowserContext) -> None:
    project = make([{"confidence": 0.5}, {}])
    with serving(project) as site:
        page = opened(context, site.url)
    page.keyboard.press("x")
    expect(page.locator("#saved")).to_have_text("1 not saved yet")
    write_rows(project.workspace.index, list(read_rows(project.workspace.index))[1:])
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto("about:blank")
    with serving(project) as site:
        page.goto(site.url)
        alarm = page.get_by_role("alert")
        expect(alarm).to_contain_text("1 decision no longer fits and was not saved: rejected")
        page.goto(site.url)
        page.wait_for_selector("body[data-ready]")
        expect(alarm).not_to_be_visible()
    assert reviews(project) == []


def test_a_deleted_file_is_seen_at_once(make: Make, context: BrowserContext) -> None:
    project = make([{}] * 2)
    with serving(project) as site:
        page = opened(context, site.url)
        page.keyboard.press("x")
        page.keyboard.press("k")
        saved(page)
        expect(page.locator("#said .chip")).to_have_text("rejected")
        project.workspace.reviews.unlink()
        expect(page.locator("#said .chip")).to_have_count(0, timeout=SOON)
        expect(page.locator("#notice")).to_have_text("Just decided elsewhere: taken back.")
        expect(page.locator("#progress")).to_contain_text("0 of 2")


def test_a_reload_keeps_what_is_not_saved(make: Make, context: BrowserContext) -> None:
    project = make([{}] * 3)
    with serving(project) as site:
        page = opened(context, site.url)
    page.keyboard.press("x")
    expect(page.locator("#saved")).to_have_text("1 not saved yet")
    with serving(project) as site:
        page.once("dialog", lambda dialog: dialog.accept())
        page.goto(site.url)
        page.wait_for_selector("body[data-ready]")
        saved(page)
    assert reviews(project) == [(0, "reject", None)]


def test_a_disk_that_takes_nothing_is_told(make: Make, context: BrowserContext) -> None:
    project = make([{}] * 2)
    project.workspace.reviews.mkdir()  # nothing can be appended to a folder
    with serving(project) as site:
        page = opened(context, site.url)
        page.keyboard.press("x")
        expect(page.get_by_role("alert")).to_contain_text("reviews.jsonl: Is a directory")
        project.workspace.reviews.rmdir()
        saved(page)
    assert reviews(project) == [(0, "reject", None)]


def test_another_projects_server_gets_nothing(make: Make, context: BrowserContext) -> None:
    project = make([{}] * 2)
    other = project.workspace.root.with_name("other")
    with serving(project) as site:
        page = opened(context, site.url)
    page.keyboard.press("x")
    project.workspace.root.rename(other)
    program, url = started(other)
    try:
        opened(context, url)
        expect(page.get_by_role("alert")).to_contain_text("another project is reviewed")
    finally:
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=20)
    assert not (other / "labels" / "reviews.jsonl").exists()
