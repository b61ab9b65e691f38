"""Links lead somewhere."""

from urllib.parse import urlsplit

import pytest

from tests.docs.pages import PAGES, ROOT, Page


@pytest.mark.parametrize("page", PAGES.values(), ids=lambda page: page.name)
def test_links(page: Page) -> None:
    for link in page.links():
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https" and "." in (parts.hostname or ""), f"{page.name}: {link}"
            continue
        target = (page.path.parent / parts.path).resolve() if parts.path else page.path
        assert target.is_relative_to(ROOT) and target.exists(), f"{page.name}: {link}"
        if parts.fragment:
            other = PAGES.get(target.relative_to(ROOT).as_posix())
            assert other, f"{page.name}: {link} names a heading in a file that is no page"
            assert parts.fragment in other.anchors(), f"{page.name}: {link}"


def test_links_of_the_site_stay_in_it() -> None:
    """A page of docs/ that linked to a file outside would be a dead end on the site."""
    for page in PAGES.values():
        if page.path.parent == ROOT / "docs":
            outside = [link for link in page.links() if link.startswith("..")]
            assert not outside, f"{page.name}: {outside}"


def test_every_page_is_reached_from_the_readme_and_from_the_site() -> None:
    names = {page.path.name for page in PAGES.values() if page.path.parent == ROOT / "docs"}
    for start, without in (("README.md", {"index.md"}), ("docs/index.md", {"index.md"})):
        linked = {urlsplit(link).path.rpartition("/")[2] for link in PAGES[start].links()}
        assert names - without - linked == set(), start
