"""The report in a real browser: it fits a phone and a desk, loads nothing, shows its pictures, can
be read by weak eyes and hit by thick thumbs, and prints."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, Request

from pocketvlm.validate.report import render
from tests.browser import browser as browser

from . import figures as simulated

pytestmark = pytest.mark.slow

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
PHONE, DESK, PAPER = 360, 1280, 700
"""Widths in CSS pixels; the last is what the printer's margins leave of A4 upright."""

MANY = [*("water&land", '"quoted"', "ماء", "🔥", "l" * 500), *(f"species{at}" for at in range(35))]
VARIANTS = ("full", "thin", "older", "many")

CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = ([r, g, b]) => [r, g, b]
    .map(one => one / 255)
    .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  const paint = colours => {
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const own = node.parentElement;
    if (!node.data.trim() || own.closest("svg, style") || !own.checkVisibility()) continue;
    const behind = [];
    for (let one = own; one; one = one.parentElement) {
      behind.unshift(getComputedStyle(one).backgroundColor);
    }
    const paper = light(paint(behind));
    const ink = light(paint([...behind, getComputedStyle(own).color]));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (ratio < 4.5) found.push([node.data.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return found;
}"""
"""Texts whose contrast with what lies behind them is below 4.5 (WCAG 2.2, 1.4.3)."""

SMALL = """() => [...document.querySelectorAll("a, summary")]
  .filter(one => one.checkVisibility())
  .map(one => [one.innerText, one.getBoundingClientRect().height])
  .filter(([, height]) => height < 44)"""
"""What can be tapped and is lower than 44 pixels (WCAG 2.2, 2.5.5)."""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report of every shape of figures."""
    few = simulated.project(tmp_path_factory.mktemp("few"), count=120)
    many = simulated.project(tmp_path_factory.mktemp("many"), MANY, 900)
    full, crowd = simulated.simulate(120), simulated.simulate(900, MANY)
    crowd[0]["audit"] = simulated.audit(broken=True)
    crowd[0]["warnings"] = ["w" * 500]
    pages = {
        "full": render(few, *full),
        "thin": render(few, *simulated.thin(*full)),
        "older": render(few, *simulated.older(*full)),
        "many": render(many, *crowd),
    }
    files = {}
    for name, html in pages.items():
        files[name] = tmp_path_factory.mktemp(name) / "report.html"
        files[name].write_text(html, encoding="utf-8")
    return files


@pytest.fixture
def visit(browser: Browser) -> Iterator[Any]:
    """Opens a file; what it complained about or asked for from elsewhere fails the test."""
    opened: list[Page] = []
    trouble: list[str] = []

    def page(file: Path, width: int, scheme: Scheme = "light") -> Page:
        opened.append(
            browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        )
        opened[-1].on("console", lambda message: trouble.append(message.text))
        own = (file.as_uri(), "data:")

        def watch(request: Request) -> None:
            if not request.url.startswith(own):
                trouble.append(request.url)

        opened[-1].on("request", watch)
        opened[-1].goto(file.as_uri(), wait_until="load")
        return opened[-1]

    yield page
    for one in opened:
        one.close()
    assert trouble == []


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_fits(visit: Any, reports: dict[str, Path], variant: str, width: int) -> None:
    page = visit(reports[variant], width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    regions = ".scroll, .plot, .cards li, .facts div, .warning, .todo, nav a"
    edges = page.locator(regions).evaluate_all(
        "all => all.map(one => one.getBoundingClientRect()).map(box => [box.left, box.right])"
    )
    assert min(left for left, _ in edges) >= 0
    assert max(right for _, right in edges) <= width


def test_everything_is_shown(visit: Any, reports: dict[str, Path]) -> None:
    page = visit(reports["full"], PHONE)
    assert "of 120 pictures are answered right" in page.locator("h1").inner_text()
    pictures = page.locator("img").evaluate_all(
        "all => Promise.all(all.map(async one => { await one.decode(); return one.naturalWidth }))"
    )
    assert len(pictures) > 30
    assert min(pictures) > 0
    plots = page.locator(".plot svg").evaluate_all("all => all.map(one => one.clientHeight)")
    assert len(plots) == 2
    assert min(plots) > 50
    bars = page.locator(".rungs .stack rect").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().width)"
    )
    assert len(bars) == 12
    assert min(bars) > 1


def test_columns_can_be_told_without_their_heads(visit: Any, reports: dict[str, Path]) -> None:
    page = visit(reports["full"], PHONE)
    assert not page.locator(".rungs thead").is_visible()
    cell = page.locator(".rungs td[data-of=MiB]").first
    assert cell.evaluate("one => getComputedStyle(one, '::before').content") == '"MiB"'


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_texts_stand_out(visit: Any, reports: dict[str, Path], width: int, scheme: Scheme) -> None:
    for variant in ("full", "many"):
        page = visit(reports[variant], width, scheme)
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert page.evaluate(CONTRAST) == []


def test_dark_is_dark(visit: Any, reports: dict[str, Path]) -> None:
    shades = {}
    for scheme in SCHEMES:
        page = visit(reports["full"], PHONE, scheme)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades[scheme] = sum(int(part) for part in colour.strip("rgb()").split(","))
    assert shades["dark"] < 200 < 600 < shades["light"]


def test_thumbs_hit(visit: Any, reports: dict[str, Path]) -> None:
    page = visit(reports["full"], PHONE)
    assert page.evaluate(SMALL) == []
    page.locator("nav a", has_text="Confidence").click()
    assert 0 <= page.locator("#calibration").bounding_box()["y"] < 100


def test_a_matrix_of_many_labels_keeps_its_names_in_sight(
    visit: Any, reports: dict[str, Path]
) -> None:
    page = visit(reports["many"], PHONE)
    grid = page.locator(".matrix .scroll")
    grid.evaluate("one => one.scrollLeft = 400")
    name = page.locator(".grid tbody th").nth(10).bounding_box()
    cell = page.locator(".grid tbody tr").nth(10).locator("td").last.bounding_box()
    assert 0 <= name["x"] < PHONE / 4
    assert cell["width"] >= 18
    assert cell["height"] >= 18


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_on_paper_nothing_is_cut(
    visit: Any, reports: dict[str, Path], variant: str, scheme: Scheme
) -> None:
    page = visit(reports[variant], PAPER, scheme)
    page.emulate_media(media="print", color_scheme=scheme)
    tables = page.locator("table:not(.grid.long)").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().right)"
    )
    assert max(tables) <= PAPER
    wide = page.locator(".grid.long").evaluate_all(
        "all => all.map(one => [getComputedStyle(one.closest('.matrix')).page, one.clientWidth])"
    )
    assert all(name == "wide" and width <= 1040 for name, width in wide)  # A4 on its side
    assert len(wide) == (variant == "many")
    assert not page.locator("nav").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    hidden = page.locator("details > :not(summary)").evaluate_all(
        "all => all.filter(one => !one.checkVisibility()).length"
    )
    assert hidden == 0
    assert page.evaluate(CONTRAST) == []


def test_it_becomes_a_pdf(visit: Any, reports: dict[str, Path]) -> None:
    page = visit(reports["many"], DESK)
    drawn = page.pdf(prefer_css_page_size=True)
    assert drawn.startswith(b"%PDF")
    assert drawn.count(b"/MediaBox") >= 5
