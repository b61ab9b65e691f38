"""The system's Chromium for tests of pages."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",  # or it refuses to run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Opened for each file of tests: Playwright's event loop keeps others from running. Outside CI
    it may be missing."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None and "CI" not in os.environ:
        pytest.skip("no Chromium on this machine: install it to see pages in a browser")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield opened
        opened.close()
