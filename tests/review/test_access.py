"""Everybody can work with it: keyboard alone, screen readers, phones, light and dark."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from pocketvlm.workspace import Row

from .conftest import Site, opened, reviewable, saved, serving

pytestmark = pytest.mark.slow

PHONE = 360
"""Width in CSS pixels."""

Scheme = Literal["light", "dark"]

NAMELESS = re.compile(
    r"- (button|searchbox|combobox|slider|grid|gridcell|img|dialog|toolbar)(?! \")"
)
"""A line of an accessibility tree whose element has no name."""

FAINT = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const parts = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((one) => {
      const share = one / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (parts(colour)[3] === 255) return parts(colour).slice(0, 3);
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility()) continue;
    if (element.matches(':disabled, option, .unseen')) continue;
    const pair = [parts(getComputedStyle(element).color).slice(0, 3), behind(element)].map(light);
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) found.push(`${element.textContent.trim()}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""
"""Texts with less contrast than WCAG's AA asks for (4.5 to 1)."""


WHOLE = """() => {
  const image = document.querySelector('#photo img');
  const [inner, outer] = [image, image.parentElement].map((one) => one.getBoundingClientRect());
  const inside = inner.top >= outer.top && inner.bottom <= outer.bottom
    && inner.left >= outer.left && inner.right <= outer.right;
  return inside && getComputedStyle(image).objectFit === 'contain' && inner.height > 50;
}"""
"""Whether no edge of the photograph is cut off."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    answers: list[Row | list[Row]] = [
        [{"confidence": 0.5}, {"label": "fire", "colours": ["blue", "slate grey"]}],
        {"confidence": 0.6, "alternative": "land", "ambiguity": "A beach."},
        {"status": "refused", "label": None, "confidence": None, "raw": "I cannot."},
    ] * 4
    with serving(reviewable(tmp_path_factory.mktemp("project"), answers)) as running:
        yield running


def visited(browser: Browser, site: Site, width: int, scheme: Scheme) -> Page:
    """The page in a browser of its own."""
    size = {"width": width, "height": 740}
    context = browser.new_context(viewport=size, color_scheme=scheme, has_touch=width == PHONE)  # type: ignore[arg-type]
    return opened(context, site.url)


def test_everything_has_a_name(site: Site, context: BrowserContext) -> None:
    page = opened(context, site.url)
    page.keyboard.press("j")
    expect(page.locator(".opinion").first).to_be_visible()
    trees = [page.locator("body").aria_snapshot()]
    page.keyboard.press("c")
    expect(page.locator("[role=gridcell]:focus")).to_have_count(1)
    trees.append(page.locator("body").aria_snapshot())
    page.keyboard.press("?")
    trees.append(page.locator("body").aria_snapshot())
    for tree in trees:
        assert NAMELESS.findall(tree) == []
    assert "gridcell" in trees[1]
    assert 'dialog "Keys"' in trees[2]


def test_tab_goes_through_everything_once_and_shows_where_it_is(
    site: Site, context: BrowserContext
) -> None:
    page = opened(context, site.url)
    page.evaluate("document.activeElement.blur()")
    wanted = page.evaluate(
        "[...document.querySelectorAll('button, input, select')]"
        ".filter((one) => one.checkVisibility() && !one.disabled).length"
    )
    reached = []
    for _ in range(wanted):
        page.keyboard.press("Tab")
        where = page.evaluate(
            "() => { const one = document.activeElement; const {outlineStyle, outlineWidth} ="
            " getComputedStyle(one); return [[...document.querySelectorAll('*')].indexOf(one),"
            " outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2, one.tagName] }"
        )
        reached.append(where)
    assert [visible for _, visible, _ in reached] == [True] * wanted
    places = [place for place, _, _ in reached]
    assert places == sorted(set(places))
    assert {tag for _, _, tag in reached} == {"BUTTON", "INPUT", "SELECT"}


def test_the_sheet_is_one_stop_for_tab(site: Site, context: BrowserContext) -> None:
    page = opened(context, site.url)
    page.keyboard.press("c")
    expect(page.locator("[role=gridcell]:focus")).to_have_count(1)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#decide') !== null")
    page.keyboard.press("Shift+Tab")
    expect(page.locator("[role=gridcell]:focus")).to_have_count(1)


def test_buttons_work_from_the_keyboard(site: Site, context: BrowserContext) -> None:
    page = opened(context, site.url)
    before = page.locator("#progress").inner_text()
    page.get_by_role("button", name="land", exact=False).last.focus()
    page.keyboard.press("Space")
    expect(page.locator("#live")).to_contain_text("land, relabelled. Next:")
    page.keyboard.press("u")
    expect(page.locator("#progress")).to_have_text(before)
    saved(page)


def test_what_is_decided_is_read_aloud(site: Site, context: BrowserContext) -> None:
    page = opened(context, site.url)
    expect(page.locator("#live")).to_have_attribute("aria-live", "polite")
    page.keyboard.press("x")
    expect(page.locator("#live")).to_contain_text("rejected. Next: ")
    page.keyboard.press("u")
    expect(page.locator("#live")).to_have_text("Undone.")
    saved(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(browser: Browser, site: Site, scheme: Scheme) -> None:
    page = visited(browser, site, 1280, scheme)
    expect(page.locator(".opinion").first).to_be_visible()
    faint = page.evaluate(FAINT)
    page.locator("#facets button").first.click()
    page.keyboard.press("c")
    expect(page.locator("[role=gridcell]").first).to_be_visible()
    page.keyboard.press("Space")
    faint += page.evaluate(FAINT)
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.context.close()
    assert faint == []
    shade = sum(int(part) for part in colour.strip("rgb()").split(","))
    assert shade < 200 if scheme == "dark" else shade > 600


def test_it_fits_a_phone_and_a_finger(browser: Browser, site: Site) -> None:
    page = visited(browser, site, PHONE, "light")

    def fits() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
        sizes = page.locator("#decide button").evaluate_all(
            "all => all.map((one) => one.clientHeight)"
        )
        assert min(sizes) >= 40

    fits()
    for name in ("phone", "photo"):
        assert page.locator(f"#{name} img").evaluate("one => one.clientWidth") > 100
    page.locator("#show-filters").tap()
    expect(page.locator("#search")).to_be_visible()
    fits()
    page.locator("#show-filters").tap()
    page.locator("#to-sheet").tap()
    expect(page.get_by_role("gridcell").first).to_be_visible()
    assert page.locator("#grid").get_attribute("aria-colcount") == "3"
    page.get_by_role("gridcell").nth(1).tap()
    expect(page.locator("[aria-selected=true]")).to_have_count(1)
    fits()
    page.context.close()


@pytest.mark.parametrize("size", [(320, 640), (375, 667), (390, 844), (768, 1024), (1280, 800)])
def test_the_photograph_is_shown_whole(
    browser: Browser, tmp_path: Path, size: tuple[int, int]
) -> None:
    project = reviewable(tmp_path / "project", [{}] * 3)
    for number, shape in enumerate([(300, 900), (900, 300), (500, 500)]):
        Image.new("RGB", shape, "teal").save(project.workspace.originals / f"{number}.png")
    with serving(project) as site:
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.goto(site.url)
        for _ in range(3):
            page.wait_for_selector("#photo img.ready")
            assert page.evaluate(WHOLE)
            page.keyboard.press("j")
        page.close()


def test_the_buttons_take_two_rows_on_the_smallest_phone(browser: Browser, site: Site) -> None:
    page = browser.new_page(viewport={"width": 320, "height": 640})
    page.goto(site.url)
    page.wait_for_selector("body[data-ready]")
    tops = page.locator("#decide button").evaluate_all(
        "all => all.map((one) => one.getBoundingClientRect().top)"
    )
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.close()
    assert len(set(tops)) == 2
    assert wide <= 320


def test_a_finger_is_told_what_it_can_do(browser: Browser, site: Site) -> None:
    context = browser.new_context(
        viewport={"width": PHONE, "height": 740}, has_touch=True, is_mobile=True
    )
    page = opened(context, site.url)
    page.locator("#to-sheet").tap()
    said = page.locator("#sheet-said")
    expect(said).to_have_text("12 pictures. A tap selects, a double tap opens.")
    page.get_by_role("gridcell").nth(1).tap()
    expect(said).to_have_text("1 of 12 pictures selected: the buttons below decide on all of them")
    fifth = page.get_by_role("gridcell").nth(4)
    fifth.tap(trial=True)  # waits until the sheet, which is drawn anew, has come to rest
    box = fifth.bounding_box()
    assert box
    for _ in range(2):
        page.touchscreen.tap(box["x"] + 20, box["y"] + 20)
    expect(page.locator("#place")).to_have_text("5 of 12")
    context.close()


def test_long_words_and_other_scripts_stay_in_their_place(browser: Browser, tmp_path: Path) -> None:
    odd: Row = {"texture": "w" * 300, "alternative": "\u202e\u05d0\u05d1\u05d2 (1)"}
    with serving(reviewable(tmp_path / "project", [odd])) as site:
        page = browser.new_page(viewport={"width": PHONE, "height": 740})
        page.goto(site.url)
        expect(page.locator(".opinion")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
        wide = page.locator(".opinion dl").evaluate("one => one.scrollWidth - one.clientWidth")
        assert wide <= 0
        for what in ("strong", ".soft", "p", "dd"):
            isolated = page.locator(f".opinion {what}").first.evaluate(
                "one => getComputedStyle(one).unicodeBidi"
            )
            assert isolated == "isolate"
        page.close()


def test_nothing_moves_for_those_who_want_it_so(site: Site, context: BrowserContext) -> None:
    page = opened(context, site.url)  # the context asks for reduced motion
    moving = page.evaluate(
        "[...document.querySelectorAll('*')].filter((one) => "
        "parseFloat(getComputedStyle(one).transitionDuration) > 0).length"
    )
    assert moving == 0


def test_the_browser_complains_of_nothing(site: Site, context: BrowserContext) -> None:
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site.url)
    page.wait_for_selector("#photo img.ready")
    page.keyboard.press("c")
    expect(page.get_by_role("gridcell").first).to_be_visible()
    assert said == []
    assert all(url.startswith(site.base) for url in asked)
    assert not any(site.token in url for url in asked[1:])
