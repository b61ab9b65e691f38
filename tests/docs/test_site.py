"""The documents build as a site, with every warning an error."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import PAGES, ROOT


@pytest.mark.slow
def test_the_site_builds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in PAGES:
        folder, _, file = name.partition("/")
        if folder == "docs":
            place = "index.html" if file == "index.md" else file.replace(".md", "/index.html")
            assert (tmp_path / place).is_file(), place
    assert (tmp_path / "report.webp").is_file()


def test_the_menu_names_every_page() -> None:
    menu = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    pages = [page for entry in menu for page in entry.values()]
    assert sorted(pages) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_the_picture_of_the_report_is_small() -> None:
    assert (ROOT / "docs/report.webp").stat().st_size < 200_000
