"""What the server hands out: the list, pictures, decisions."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image

from pocketvlm.reviews import Review, review_row
from pocketvlm.workspace import Row, append_row, read_rows, write_rows

from .conftest import Make, Site, hashes, reviewable, reviews, serving


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Twelve pictures; nothing is decided on them for good."""
    with serving(reviewable(tmp_path_factory.mktemp("project"), [{}] * 12)) as running:
        yield running


def pixels(answer: httpx.Response) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    assert answer.status_code == 200
    return np.asarray(Image.open(BytesIO(answer.content)))


def test_the_phones_view_is_the_contracts_to_the_pixel(site: Site) -> None:
    sha256 = hashes(site.project)[3]
    with site.client() as client:
        shown = pixels(client.get(f"/picture/phone/{sha256}"))
    meant = site.project.contract.open(site.project.workspace.originals / "3.png")
    np.testing.assert_array_equal(shown, meant)


def test_a_photograph_stands_upright_and_without_its_notes(make: Make) -> None:
    project = make([{}])
    path, (sha256,) = project.workspace.originals / "0.png", hashes(project)
    notes = Image.Exif()
    notes[0x0112], notes[0x010E] = 6, "at home"  # turned by 90 degrees
    Image.open(path).save(path, exif=notes)
    with serving(project) as site, site.client() as client:
        answer = client.get(f"/picture/photo/{sha256}")
    assert pixels(answer).shape == (50, 20, 3)
    assert b"at home" not in answer.content


def test_large_photographs_are_sent_reduced(make: Make) -> None:
    project = make([{}])
    path, (sha256,) = project.workspace.originals / "0.png", hashes(project)
    Image.new("RGB", (3000, 1500), "teal").save(path, "JPEG")
    with serving(project) as site, site.client() as client:
        assert pixels(client.get(f"/picture/photo/{sha256}")).shape == (640, 1280, 3)
        assert pixels(client.get(f"/picture/thumbnail/{sha256}")).shape == (128, 256, 3)


def test_thumbnails_are_made_once(make: Make) -> None:
    project = make([{}] * 4)
    folder = project.workspace.root / "state" / "thumbnails"
    wanted = [f"/picture/thumbnail/{sha256}" for sha256 in hashes(project)] * 8
    with serving(project) as site, site.client() as client, ThreadPoolExecutor(16) as pool:
        bodies = list(pool.map(lambda path: client.get(path).content, wanted))
        assert site.background.pictures.made == 4
    assert bodies[:4] * 8 == bodies
    made = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    assert len(made) == 4
    with serving(project, suspects=True) as site, site.client() as client:
        assert [client.get(path).content for path in wanted[:4]] == bodies[:4]
        site.background.join()
        assert site.background.pictures.made == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")} == made


def test_the_background_makes_every_thumbnail_and_says_how_far_it_is(make: Make) -> None:
    project = make([{}] * 6)
    (project.workspace.originals / "2.png").write_bytes(b"no picture")
    with serving(project, suspects=True) as site, site.client() as client:
        site.background.join()
        found = client.get("/api/suspects").json()
        broken = client.get(f"/picture/thumbnail/{hashes(project)[2]}")
    assert found["progress"] == {"doing": "done", "done": 6, "total": 6}
    assert site.background.pictures.made == 5
    assert broken.status_code == 404
    assert "cannot be decoded" in broken.json()["detail"]


def send(client: httpx.Client, body: Row) -> Row:
    answer = client.post("/api/exchange", json=body)
    assert answer.status_code == 200, answer.text
    found: Row = answer.json()
    return found


def test_decisions_are_on_the_disk_when_the_reply_comes(make: Make) -> None:
    project = make([{}] * 3)
    shas = hashes(project)
    made: list[Row] = [
        {"picture": shas[0], "decision": "accept", "label": "water"},
        {"picture": shas[2], "decision": "relabel", "label": "fire"},
        {"picture": shas[1], "decision": "reject", "label": None},
        {"picture": shas[1], "decision": "undo", "label": None},
    ]
    with serving(project) as site, site.client() as client:
        reply = send(client, site.exchange(made))
        written = [
            (0, "accept", "water"),
            (2, "relabel", "fire"),
            (1, "reject", None),
            (1, "undo", None),
        ]
        assert reviews(project) == written
        assert reply["decisions"] == [[shas[at], verb, label] for at, verb, label in written]
        assert reply["since"] == project.workspace.reviews.stat().st_size
        send(client, site.exchange(made))  # no reply had come
        assert reviews(project) == written
        send(client, site.exchange(made[:1], window="abcdef02"))
        assert reviews(project) == [*written, (0, "accept", "water")]
        whole = client.get("/api/board").json()
    assert {one[0]: one[1:] for one in whole["decisions"]} == {
        shas[0]: ["accept", "water"],
        shas[1]: ["undo", None],
        shas[2]: ["relabel", "fire"],
    }
    assert whole["edition"] == reply["edition"]


def test_what_no_longer_fits_is_named_and_keeps_nothing_else_back(make: Make) -> None:
    project = make([{}] * 2)
    shas = hashes(project)
    made: list[Row] = [
        {"picture": "0" * 64, "decision": "reject", "label": None},
        {"picture": shas[0], "decision": "accept", "label": "water"},
        {"picture": shas[1], "decision": "relabel", "label": "lava"},
        {"picture": shas[1], "decision": "relabel", "label": "fire"},
    ]
    with serving(project) as site, site.client() as client:
        for _ in range(2):  # the second time as if no reply had come
            refused = dict(send(client, site.exchange(made))["refused"])
            assert set(refused) == {0, 2}
            assert "000000000000" in refused[0]
            assert refused[2] == "my 1.png: 'lava' is no label of this project any more"
        assert reviews(project) == [(0, "accept", "water"), (1, "relabel", "fire")]
        send(client, site.exchange(made[3:], first=4))
        assert len(reviews(project)) == 3


def test_a_link_that_leads_to_itself_is_a_missing_picture(make: Make) -> None:
    project = make([{}] * 3)
    loop = project.workspace.originals / "1.png"
    loop.unlink()
    loop.symlink_to(loop)
    with serving(project, suspects=True) as site, site.client() as client:
        for kind in ("phone", "photo", "thumbnail"):
            refused = client.get(f"/picture/{kind}/{hashes(project)[1]}")
            assert refused.status_code == 404
            assert "1.png is not in originals/" in refused.json()["detail"]
        site.background.join()
        found = client.get("/api/suspects").json()
    assert found["progress"] == {"doing": "done", "done": 3, "total": 3}
    assert site.background.pictures.made == 2


def test_what_another_program_decided_is_seen(make: Make) -> None:
    project = make([{}] * 2)
    with serving(project) as site, site.client() as client:
        since = send(client, site.exchange())["since"]
        other = hashes(project)[1]
        append_row(project.workspace.reviews, review_row(Review(other, "reject", None), "now"))
        reply = send(client, site.exchange(since=since))
        assert reply["decisions"] == [[other, "reject", None]]
        assert send(client, site.exchange(since=reply["since"]))["decisions"] == []


def test_text_that_is_no_utf8_is_shown_as_escapes(make: Make) -> None:
    odd = {"reason": "half \ud83d", "colours": ["\udce9"], "label": "fire"}
    project = make([odd])
    (row,) = read_rows(project.workspace.index)
    write_rows(project.workspace.index, [row | {"origin": "caf\udce9.png"}])
    with serving(project) as site, site.client() as client:
        details = client.get(f"/api/picture/{row['sha256']}").json()
        assert client.get("/api/search", params={"words": "half fire"}).json() == [0]
        assert client.get("/api/board").status_code == 200
    assert details["origin"] == "caf\\udce9.png"
    assert details["opinions"][0]["reason"] == "half \\ud83d"
    assert details["opinions"][0]["colours"] == ["\\udce9"]


def test_search_and_details(site: Site) -> None:
    with site.client() as client:
        assert client.get("/api/search", params={"words": "my 7"}).json() == [7]
        assert len(client.get("/api/search", params={"words": "wet"}).json()) == 12
        details = client.get(f"/api/picture/{hashes(site.project)[7]}").json()
        assert details["opinions"][0]["reason"] == "It is wet."
        assert client.get("/api/search", params={"words": "w" * 201}).status_code == 422
