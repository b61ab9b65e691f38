"""Five thousand pictures: the page is up in a moment, nothing stutters, no key is lost."""

import time
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, expect

from pocketvlm.config import parse_config
from pocketvlm.project import Project
from pocketvlm.review.items import Board
from pocketvlm.workspace import Row, sha256_file, write_rows

from .conftest import LABELS, Site, answered, opened, reviews, saved, serving

pytestmark = pytest.mark.slow

COUNT = 5000
TWO_A_SECOND = 500
"""Milliseconds from key to key."""

GAPS = """() => {
  let last = performance.now();
  window.longest = 0;
  const step = (now) => {
    window.longest = Math.max(window.longest, now - last);
    last = now;
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}"""
"""Measures the longest time between two frames."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Small pictures, labels and confidences at random."""
    root = tmp_path_factory.mktemp("many")
    random = np.random.default_rng(0)
    small = {"device": {"side": 64}, "teachers": [{"model": "teacher-0"}]}
    project = Project.of(parse_config(small), root)
    project.workspace.originals.mkdir()
    rows, answers = list[Row](), list[Row]()
    for number in range(COUNT):
        path = project.workspace.originals / f"{number}.png"
        Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8)).save(path)
        sha256 = sha256_file(path)
        size = {"width": 16, "height": 12, "phash": random.bytes(32).hex()}
        rows.append({"sha256": sha256, "file": path.name, "origin": path.name} | size)
        answers.append({"label": LABELS[number % 5], "confidence": float(random.random())})
    write_rows(project.workspace.index, rows)
    answered(project, rows, answers)
    return project


@pytest.fixture(scope="module")
def site(project: Project) -> Iterator[Site]:
    """With all that goes on in the background meanwhile."""
    with serving(project, suspects=True) as running:
        yield running


def test_the_list_is_ready_in_seconds_and_compact(project: Project) -> None:
    begun = time.perf_counter()
    board = Board.of(project)
    assert time.perf_counter() - begun < 5
    with serving(project) as site, site.client() as client:
        begun = time.perf_counter()
        size = len(client.get("/api/board").content)
        assert time.perf_counter() - begun < 1
        begun = time.perf_counter()
        assert client.get("/api/search", params={"words": "wet"}).json() == list(range(COUNT))
        assert time.perf_counter() - begun < 3
    assert len(board.labelled) == COUNT
    assert size < 130 * COUNT


def test_the_first_picture_is_there_in_a_moment(site: Site, context: BrowserContext) -> None:
    opened(context, site.url).close()  # Chromium's own start is not ours
    page = context.new_page()
    begun = time.perf_counter()
    page.goto(site.url)
    page.wait_for_selector("#photo img.ready", state="attached")
    assert time.perf_counter() - begun < 3  # half of it, while all thumbnails are being made
    painted = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    assert page.evaluate(painted) < 1000


def test_only_the_cells_in_sight_are_in_the_document(site: Site, context: BrowserContext) -> None:
    page = opened(context, site.url)
    page.keyboard.press("c")
    cells = page.get_by_role("gridcell")
    expect(page.locator("[role=gridcell]:focus")).to_have_count(1)
    page.evaluate(GAPS)
    most = 0
    for place in range(0, 100, 4):
        page.evaluate("share => { scroll.scrollTop = share * scroll.scrollHeight }", place / 100)
        page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        most = max(most, cells.count())
    assert 12 < most < 150
    page.keyboard.press("End")
    last = page.locator("[role=gridcell]:focus")
    expect(last).to_have_attribute(
        "aria-label", f"{COUNT}: {page.locator('.stands').inner_text()[2:]} 1.00"
    )
    expect(page.locator("#grid")).to_have_attribute("aria-rowcount", str(-(-COUNT // 6)))
    assert last.locator("img").evaluate(
        "async one => { await one.decode(); return one.naturalWidth }"
    )
    assert page.evaluate("longest") < 400


def test_two_labels_a_second_keep_up(site: Site, context: BrowserContext, project: Project) -> None:
    page = opened(context, site.url)
    page.locator("#sort").select_option("order")
    page.locator("main").focus()
    page.evaluate("scrollTo(0, 0)")
    page.evaluate(GAPS)
    start = int(page.locator("#place").inner_text().split()[0]) - 1
    keys = [str(1 + (number * 7) % 5) for number in range(20)]
    waited = []
    for key in keys:
        page.keyboard.press(key)
        begun = time.perf_counter()
        page.wait_for_selector("#photo img.ready", state="attached")
        waited.append(time.perf_counter() - begun)
        page.wait_for_timeout(TWO_A_SECOND)  # the pace that is tested
    saved(page)
    chosen = [LABELS[int(key) - 1] for key in keys]
    assert [(at, label) for at, _, label in reviews(project)] == list(enumerate(chosen, start))
    assert sorted(waited)[len(waited) // 2] < 0.1
    assert page.evaluate("longest") < 400


def test_a_burst_is_kept_in_order(site: Site, context: BrowserContext, project: Project) -> None:
    before = len(reviews(project))
    page = opened(context, site.url)
    for number in range(100):
        page.keyboard.press(str(1 + number % 5))
    page.keyboard.press("c")
    page.keyboard.press("Control+a")
    page.keyboard.press("x")
    expect(page.locator("#saved")).to_have_text("all saved", timeout=60_000)
    made = reviews(project)[before:]
    assert [label for _, _, label in made[:100]] == [LABELS[number % 5] for number in range(100)]
    assert len(made) == 100 + COUNT
    assert {decision for _, decision, _ in made[100:]} == {"reject"}
