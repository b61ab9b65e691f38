"""Only the page that this user opened may ask."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pocketvlm.review.security import LARGEST

from .conftest import TICKET, Make, Site, reviewable, reviews, serving

OTHERS = (
    *('a={"x": 1}', "foo bar", "theme", "=v", "a/b=c", "a[b]=1", "k=v v2", "expires=1", "path=x"),
    *("name=caf\u00e9", "name=\u732b", "\u00e9=1", 'open="half', "a=b=c", ";;", "a,b=1"),
)
"""What other programs on 127.0.0.1 may have set: cookies do not know ports."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(reviewable(tmp_path_factory.mktemp("project"), [{}] * 3)) as running:
        yield running


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    with site.client() as opened:
        yield opened


def paths(site: Site) -> list[str]:
    """Everything that can be asked for."""
    sha256 = next(iter(site.board.places))
    pictures = [f"/picture/{kind}/{sha256}" for kind in ("phone", "photo", "thumbnail")]
    api = ["/api/board", f"/api/picture/{sha256}", "/api/search?words=wet", "/api/suspects"]
    return ["/", "/assets/review.js", "/assets/pages.css", *pictures, *api]


def test_with_the_token_everything_is_there(site: Site, client: httpx.Client) -> None:
    assert [client.get(path).status_code for path in paths(site)] == [200] * len(paths(site))
    assert client.post("/api/exchange", json=site.exchange()).status_code == 200


@pytest.mark.parametrize("given", [None, "", "wrong", "\u00e9", '"'])
def test_without_the_token_nothing_is(site: Site, given: str | None) -> None:
    cookie = f"pocketvlm-review-{port(site)}={given}".encode()
    headers = {b"Origin": site.base.encode()} | ({} if given is None else {b"Cookie": cookie})
    with httpx.Client(base_url=site.base, headers=headers) as client:
        answers = [client.get(path) for path in [*paths(site), "/nothing"]]
        answers.append(client.post("/api/exchange", json=site.exchange()))
    assert {answer.status_code for answer in answers} == {403}
    assert not any(site.token in answer.text for answer in answers)


def test_the_token_counts_in_the_address_of_the_page_alone(site: Site) -> None:
    assert httpx.get(f"{site.base}/api/board?token={site.token}").status_code == 403
    assert httpx.get(f"{site.base}/?token={site.token}x").status_code == 403


def test_a_ticket_is_good_for_one_visit(site: Site) -> None:
    with httpx.Client(base_url=site.base) as visitor:
        assert visitor.get(f"/?token={TICKET}").status_code == 200
        assert visitor.get("/api/board").status_code == 200  # the token came with it
        assert visitor.get(f"/?token={TICKET}").status_code == 200  # a reload
    assert httpx.get(f"{site.base}/?token={TICKET}").status_code == 403


@pytest.mark.parametrize(
    "refused",
    [
        ("HEAD", {"Sec-Fetch-Site": "cross-site"}),
        ("POST", {}),
        ("POST", {"Origin": "http://evil.example"}),
        ("GET", {"Host": "evil.example"}),
    ],
)
def test_a_refused_request_does_not_spend_the_ticket(
    make: Make, refused: tuple[str, dict[str, str]]
) -> None:
    method, headers = refused
    with serving(make([{}])) as site:
        address = f"{site.base}/?token={TICKET}"
        assert httpx.request(method, address, headers=headers).status_code in (400, 403)
        assert httpx.get(address).status_code == 200
        assert httpx.get(address).status_code == 403


@pytest.mark.parametrize("other", OTHERS)
def test_cookies_of_other_programs_do_not_hide_ours(site: Site, other: str) -> None:
    ours = f"pocketvlm-review-{port(site)}={site.token}"
    for cookie in (f"{other}; {ours}", f"{ours}; {other}"):
        headers = {b"Cookie": cookie.encode()}
        assert httpx.get(f"{site.base}/api/board", headers=headers).status_code == 200


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(site: Site) -> None:
    cookie = httpx.get(site.url).headers["set-cookie"]
    parts = set(cookie.split("; ")[1:])
    assert parts == {"HttpOnly", "SameSite=Strict", "Path=/"}
    assert cookie.startswith(f"pocketvlm-review-{port(site)}=")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "[::1]:{port}"]
)
def test_another_name_for_this_machine_is_refused(
    site: Site, client: httpx.Client, host: str
) -> None:
    named = {"Host": host.format(port=port(site))}
    assert client.get("/api/board", headers=named).status_code == 400
    assert client.get(site.url, headers=named).status_code == 400


def test_localhost_is_this_machine(site: Site) -> None:
    assert httpx.get(site.url, headers={"Host": f"localhost:{port(site)}"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_only_the_page_may_write(site: Site, client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.post("/api/exchange", json=site.exchange([decided(site)]), headers=headers)
    assert answer.status_code == 403
    assert reviews(site.project) == []


def test_another_site_may_not_even_read(site: Site, client: httpx.Client) -> None:
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    refused = [client.get(path, headers=elsewhere).status_code for path in paths(site)[1:]]
    assert set(refused) == {403}
    assert client.get("/", headers=elsewhere).status_code == 200  # a link to the page


def test_bodies_are_bounded(site: Site, client: httpx.Client) -> None:
    long = client.post("/api/exchange", content=b" " * (LARGEST + 1))
    assert long.status_code == 413
    assert client.post("/api/exchange", content=iter([b"{}"])).status_code == 411


@pytest.mark.parametrize(
    "fields",
    [
        {"decision": "destroy"},
        {"decision": "relabel", "label": None},
        {"decision": "reject", "label": "water"},
        {"decision": "undo", "label": "water"},
        {"picture": "../../../etc/passwd"},
        {"label": "w" * 300},
        {"extra": 1},
    ],
)
def test_only_known_decisions_on_known_pictures_are_written(
    site: Site, client: httpx.Client, fields: dict[str, str]
) -> None:
    body = site.exchange([decided(site), decided(site) | fields])
    assert client.post("/api/exchange", json=body).status_code == 422
    assert reviews(site.project) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"since": 1e999}', b"\xff"])
def test_a_body_that_is_none_is_refused(site: Site, client: httpx.Client, body: bytes) -> None:
    json_ = {"Content-Type": "application/json"}
    assert client.post("/api/exchange", content=body, headers=json_).status_code in (400, 422)


def test_another_projects_page_may_not_write(site: Site, client: httpx.Client) -> None:
    body = site.exchange([decided(site)], board="0" * 16)
    assert client.post("/api/exchange", json=body).status_code == 409
    assert reviews(site.project) == []


@pytest.mark.parametrize(
    "path",
    [
        "/picture/phone/" + "0" * 64,
        "/picture/phone/..%2f..%2fpocketvlm.yaml",
        "/picture/original/" + "0" * 64,
        "/assets/..%2freview.py",
        "/assets/../review.py",
        "/originals/0.png",
        "/docs",
        "/openapi.json",
    ],
)
def test_no_other_file_is_reachable(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code in (404, 422)


def test_a_link_out_of_originals_is_refused(tmp_path: Path) -> None:
    project = reviewable(tmp_path / "project", [{}] * 2)
    secret = (project.workspace.originals / "0.png").rename(tmp_path / "secret.png")
    (project.workspace.originals / "0.png").symlink_to(secret)
    with serving(project) as site, site.client() as client:
        outside, inside = list(site.board.places)
        for kind in ("phone", "photo", "thumbnail"):
            refused = client.get(f"/picture/{kind}/{outside}")
            assert refused.status_code == 404
            assert str(tmp_path) not in refused.text
            assert client.get(f"/picture/{kind}/{inside}").status_code == 200


def test_every_answer_keeps_the_browser_strict(site: Site, client: httpx.Client) -> None:
    stranger = httpx.get(f"{site.base}/api/board")
    for answer in [stranger, *(client.get(path) for path in [*paths(site), "/nothing"])]:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers
    asked = client.options("/api/exchange", headers={"Access-Control-Request-Method": "POST"})
    assert "access-control-allow-origin" not in asked.headers


def test_the_page_holds_no_inline_script_and_asks_nobody_else(client: httpx.Client) -> None:
    files = ["review.html", "review.css", "pages.css", *(f"{name}.js" for name in SCRIPTS)]
    for name in files:
        text = client.get(f"/assets/{name}").text
        assert "://" not in text
        assert not any(
            word in text for word in ("innerHTML", "outerHTML", "insertAdjacent", "eval(")
        )
    assert "<script>" not in client.get("/").text
    assert " style=" not in client.get("/").text


def test_no_web_socket_is_answered(site: Site) -> None:
    lines = [
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port(site)}\r\nConnection: Upgrade",
        "Upgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13\r\nConnection: close\r\n\r\n",
    ]
    with contextlib.closing(socket.create_connection(("127.0.0.1", port(site)))) as line:
        line.sendall("\r\n".join(lines).encode())
        assert b" 403 " in line.recv(1000).split(b"\r\n")[0]


SCRIPTS = ("cache", "desk", "dom", "panel", "review", "sheet", "store", "sync", "work")


def decided(site: Site) -> dict[str, str]:
    """A sound decision."""
    return {"picture": next(iter(site.board.places)), "decision": "relabel", "label": "water"}


def port(site: Site) -> int:
    return int(site.base.rsplit(":")[-1])
