"""Photographs of Unsplash: found, reported, fetched and credited, each once."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from pocketvlm.collect.candidate import Candidate, Skipped
from pocketvlm.collect.unsplash import from_unsplash

from .unsplash_server import Fault, Server
from .unsplashing import KEY, make, names, offered, refused
from .unsplashing import environment as environment
from .unsplashing import server as server


def test_a_photograph_comes_with_its_credits(tmp_path: Path, server: Server) -> None:
    server.add("ocean", "Dwu85P9SOIk")
    (found,) = offered(make(tmp_path, server), water=1)
    assert found == Candidate(
        path=tmp_path / "state" / "unsplash" / "Dwu85P9SOIk-64.jpg",
        origin="unsplash:Dwu85P9SOIk",
        source="unsplash",
        licence="Unsplash",
        author="Åsa Dwu85P9SOIk",
        url="https://unsplash.com/photos/Dwu85P9SOIk?utm_source=pocketvlm&utm_medium=referral",
        sought="water",
        fetched=True,
    )
    with Image.open(found.path) as picture:
        assert (picture.format, picture.size) == ("JPEG", (64, 48))
    assert server.asked == [
        ("search", "ocean"),
        ("report", "Dwu85P9SOIk"),
        ("picture", "Dwu85P9SOIk"),
    ]
    assert server.queries == [
        {"query": "ocean", "page": "1", "per_page": "30", "content_filter": "high"}
    ]


def test_labels_and_what_is_searched_for_them_take_turns(tmp_path: Path, server: Server) -> None:
    server.add("campfire", "c1", "c2", "c3", "c4")
    server.add("lava", "l1", "l2", "l3")
    server.add("ocean", "o1", "o2")
    found = offered(make(tmp_path, server), fire=5, water=2)
    assert names(found) == ["c1", "o1", "l1", "o2", "c2", "l2", "c3"]
    assert [one.sought for one in found[:3]] == ["fire", "water", "fire"]


def test_a_photograph_that_two_labels_find_comes_once(tmp_path: Path, server: Server) -> None:
    server.add("campfire", "both", "c2")
    server.add("lava", "both")
    server.add("ocean", "both", "o2")
    found = offered(make(tmp_path, server), fire=9, water=9)
    assert sorted(names(found)) == ["both", "c2", "o2"]
    assert server.reports == {"both": 1, "c2": 1, "o2": 1}


def test_what_was_seen_is_neither_reported_nor_fetched(tmp_path: Path, server: Server) -> None:
    server.add("ocean", "o1", "o2", "o3")
    assert names(offered(make(tmp_path, server), "unsplash:o1", water=1)) == ["o2"]
    assert server.reports == {"o2": 1}


def test_pages_are_asked_for_as_they_are_needed(tmp_path: Path, server: Server) -> None:
    server.add("ocean", *(f"o{number}" for number in range(70)))
    project = make(tmp_path, server)
    assert len(offered(project, water=2)) == 2
    assert server.count("search") == 1
    seen = [f"unsplash:o{number}" for number in range(58)]
    assert names(offered(project, *seen, water=4)) == ["o58", "o59", "o60", "o61"]
    assert [one["page"] for one in server.queries] == ["1", "2", "3"]


def test_fewer_results_than_wanted(tmp_path: Path, server: Server) -> None:
    server.add("ocean", *(f"o{number}" for number in range(31)))
    seen = [f"unsplash:o{number}" for number in range(29)]
    assert names(offered(make(tmp_path, server), *seen, water=99)) == ["o29", "o30"]
    assert server.count("search") == 2


def test_no_results(tmp_path: Path, server: Server) -> None:
    assert offered(make(tmp_path, server), fire=3, water=3, metal=3) == []
    assert server.asked == [("search", query) for query in ("campfire", "lava", "ocean")]


def test_pictures_are_asked_for_in_the_configured_form_and_without_the_key(
    tmp_path: Path, server: Server
) -> None:
    server.add("ocean", "o1")
    (found,) = offered(make(tmp_path, server, width=128), water=1)
    with Image.open(found.path) as picture:
        assert picture.width == 128
    (asked,) = server.picture_paths
    assert parse_qs(urlsplit(asked).query) == {
        "ixid": ["M3w"],
        "w": ["128"],
        "fm": ["jpg"],
        "q": ["85"],
        "fit": ["max"],
    }
    assert all(KEY not in str(headers) for headers in server.picture_headers)


@pytest.mark.parametrize(
    "changed",
    [
        {"premium": True},
        {"plus": True},
        {"urls": {"raw": "https://plus.unsplash.com/premium_photo-1"}},
    ],
)
def test_photographs_of_unsplash_plus_cost_nothing(
    tmp_path: Path, server: Server, changed: dict[str, object]
) -> None:
    server.add("ocean", "plus", **changed)
    server.add("ocean", "free")
    skipped, found = from_unsplash(make(tmp_path, server), {"water": 1}, ())
    assert isinstance(skipped, Skipped) and "Unsplash+" in skipped.reason
    assert isinstance(found, Candidate) and found.origin == "unsplash:free"
    assert server.reports == {"free": 1}


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "../x"},
        {"id": ""},
        {"id": "a/b"},
        {"id": "a\n"},
        {"id": "é" * 9},
        {"id": 7},
        {"id": None},
        {"urls": {}},
        {"urls": None},
        {"links": {"html": "https://unsplash.com/photos/x"}},
        {"user": "Åsa"},
        {"urls": {"raw": "https://example.org/a.jpg"}},
        {"urls": {"raw": "file:///etc/passwd"}},
        {"urls": {"raw": "http://[::1"}},
        {"urls": {"raw": "http://xn--/"}},
        {"links": {"html": "", "download_location": "http://xn--/"}},
        {"links": {"html": "", "download_location": "https://example.org/photos/x/download"}},
        {"links": {"html": "", "download_location": "http://127.0.0.1:9/photos/x/download"}},
        {"links": {"html": "", "download_location": "photos/x/download"}},
    ],
)
def test_a_photograph_that_cannot_be_right_is_skipped_without_a_request(
    tmp_path: Path, server: Server, changed: dict[str, object]
) -> None:
    server.add("ocean", "odd", **changed)
    server.add("ocean", "sound")
    project = make(tmp_path, server)
    if changed.get("user"):  # a name that is missing does not matter
        assert names(offered(project, water=9)) == ["odd", "sound"]
        return
    assert len(refused(project, water=9)) == 1
    assert server.reports == {"sound": 1}
    assert {path.name for path in (tmp_path / "state").iterdir()} == {"unsplash", "unsplash.jsonl"}
    assert [path.name for path in (tmp_path / "state" / "unsplash").iterdir()] == ["sound-64.jpg"]


def test_a_result_that_is_no_photograph_is_skipped(tmp_path: Path, server: Server) -> None:
    server.photos["ocean"] = [[], None, "text", 7]  # type: ignore[list-item]
    server.add("ocean", "sound")
    (skipped,) = {one.reason[:20] for one in refused(make(tmp_path, server), water=9)}
    assert skipped == "no usable photograph"


def test_a_page_without_any_photograph_does_not_end_a_search(
    tmp_path: Path, server: Server
) -> None:
    server.add("ocean", *(f"../{number}" for number in range(30)))
    server.add("ocean", "sound")
    project = make(tmp_path, server)
    assert len(refused(project, water=1)) == 30
    for _ in range(2):
        assert names(offered(project, water=1)) == ["sound"]
    assert server.count("search") == 2
    assert server.reports == {"sound": 1}


@pytest.mark.parametrize("page", ["javascript:alert(1)", "http://xn--/", "http://[::1/", ""])
def test_a_page_that_is_no_address_is_no_credit(tmp_path: Path, server: Server, page: str) -> None:
    report = f"{server.url}/photos/o1/download"
    server.add("ocean", "o1", links={"html": page, "download_location": report})
    (found,) = offered(make(tmp_path, server), water=1)
    assert found.url is None


def test_a_picture_that_is_gone_is_replaced_by_the_next(tmp_path: Path, server: Server) -> None:
    server.add("ocean", "gone", "there")
    server.faults["picture"].append(Fault(404))
    skipped, found = from_unsplash(make(tmp_path, server), {"water": 1}, ())
    assert isinstance(skipped, Skipped) and "404" in skipped.reason
    assert found.origin == "unsplash:there"


def test_a_photograph_that_is_gone_is_replaced_by_the_next(tmp_path: Path, server: Server) -> None:
    server.add("ocean", "gone", "there")
    server.faults["report"].append(Fault(404, "Couldn't find Photo"))
    skipped, found = from_unsplash(make(tmp_path, server), {"water": 1}, ())
    assert isinstance(skipped, Skipped) and "404 Couldn't find Photo" in skipped.reason
    assert found.origin == "unsplash:there"
    assert server.count("picture") == 1


def test_a_picture_that_leads_to_another_host_is_refused(tmp_path: Path, server: Server) -> None:
    with Server() as foreign:
        server.add("ocean", "o1")
        server.faults["picture"].append(
            Fault(302, headers={"Location": f"{foreign.url}/picture/x"})
        )
        (skipped,) = refused(make(tmp_path, server), water=1)
        assert "is not allowed" in skipped.reason
        assert foreign.asked == []


def test_what_unsplash_asks_is_said_once(
    tmp_path: Path, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    server.add("ocean", "o1", "o2")
    project = make(tmp_path, server)
    offered(project, water=1)
    offered(project, water=2)
    assert capfd.readouterr().err.count("training AI models") == 1
