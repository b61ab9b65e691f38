"""The report in a real browser: it fits a phone, loads nothing, and its pictures are shown."""

from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from pocketvlm.project import Project
from pocketvlm.workspace import write_json
from tests.browser import browser as browser

from .conftest import history, html

pytestmark = pytest.mark.slow

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
PHONE, DESK = 360, 1280
"""Widths in CSS pixels."""


def visit(browser: Browser, project: Project, width: int, scheme: Scheme) -> tuple[Page, list[str]]:
    """The opened report, and whatever it complained about or asked for from elsewhere."""
    file = project.workspace.root / "report.html"
    file.write_text(html(project, 5), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("request", lambda request: trouble.append(request.url))
    page.goto(file.as_uri(), wait_until="load")
    own = (file.as_uri(), "data:")
    return page, [line for line in trouble if not line.startswith(own)]


@pytest.fixture
def project(make: Callable[..., Project]) -> Project:
    """Eight pictures and a training's history."""
    made = make(test=8)
    write_json(made.workspace.adapter / "history.json", history())
    return made


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_it_fits_and_shows_everything(browser: Browser, project: Project, width: int) -> None:
    page, trouble = visit(browser, project, width, "light")
    assert trouble == []
    assert page.locator("h1").inner_text().startswith("5 of 8 pictures are answered right")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    pictures = page.locator("img").all()
    assert len(pictures) == 8
    for picture in pictures:
        picture.scroll_into_view_if_needed()  # they are decoded when they come into sight
        assert picture.evaluate("async one => { await one.decode(); return one.naturalWidth }") > 0
    plots = page.locator(".plot svg").evaluate_all("all => all.map(one => one.clientHeight)")
    assert len(plots) == 3
    assert min(plots) > 50


def test_dark_is_dark(browser: Browser, project: Project) -> None:
    shades = {}
    for scheme in SCHEMES:
        page, trouble = visit(browser, project, PHONE, scheme)
        assert trouble == []
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades[scheme] = sum(int(part) for part in colour.strip("rgb()").split(","))
    assert shades["dark"] < 200 < 600 < shades["light"]
