"""What goes wrong with Unsplash's API ends in one line, costs nothing twice, and keeps the key."""

import json
import socket
from pathlib import Path

import pytest

from pocketvlm.collect.candidate import Candidate
from pocketvlm.collect.unsplash import from_unsplash
from pocketvlm.errors import ConfigError, PocketError

from .unsplash_server import Fault, Kind, Server, limits
from .unsplashing import KEY, make, names, offered, refused
from .unsplashing import environment as environment
from .unsplashing import server as server


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeats come at once."""
    monkeypatch.setattr("pocketvlm.collect.unsplash_api.PAUSES", (0.001, 0.001, 0.001))


BROKEN = {
    "500": Fault(500, "Internal Server Error"),
    "503 of a proxy": Fault(503, "<html>no backend</html>", counted=False),
    "408": Fault(408, "Request Timeout"),
    "cut": Fault(cut=True),
    "no JSON": Fault(body="<html>Welcome</html>"),
    "half a JSON": Fault(body='{"total": 3, "results": [{"id": "o1"'),
    "a list": Fault(body="[]"),
    "no results": Fault(body='{"errors": ["odd"]}'),
    "no number of pages": Fault(body='{"results": [], "total_pages": "NaN"}'),
    "deep": Fault(body="[" * 100_000),
    "compressed": Fault(body="\x1f\x8b\x08", headers={"Content-Encoding": "gzip"}),
    "long": Fault(body=" " * (9 << 20)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_search_is_tried_again(tmp_path: Path, server: Server, name: str) -> None:
    server.add("ocean", "o1")
    server.faults["search"] += [BROKEN[name]] * 2
    assert names(offered(make(tmp_path, server), water=1)) == ["o1"]
    assert server.count("search") == 3


@pytest.mark.parametrize("name", ["500", "503 of a proxy", "cut"])
def test_a_report_is_tried_again(tmp_path: Path, server: Server, name: str) -> None:
    server.add("ocean", "o1")
    server.faults["report"].append(BROKEN[name])
    assert names(offered(make(tmp_path, server), water=1)) == ["o1"]
    assert server.reports == {"o1": 2}


@pytest.mark.parametrize("kind", ["search", "report"])
@pytest.mark.parametrize("name", ["500", "cut"])
def test_after_some_tries_the_rest_is_left_for_another_run(
    tmp_path: Path, server: Server, kind: Kind, name: str
) -> None:
    server.add("ocean", "o1", "o2")
    project = make(tmp_path, server)
    server.faults[kind] += [BROKEN[name]] * 4
    with pytest.raises(PocketError, match=r"gives no usable reply .*run the same command") as error:
        offered(project, water=2)
    assert "\n" not in str(error.value) and error.value.exit_code == 1
    assert names(offered(project, water=2)) == ["o1", "o2"]


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    server = Server()
    server.http.server_close()
    with pytest.raises(PocketError, match="gives no usable reply"):
        offered(make(tmp_path, server), water=1)


def test_a_missing_key_is_named_before_anything_is_asked(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNSPLASH_ACCESS_KEY")
    with pytest.raises(ConfigError, match=r"UNSPLASH_ACCESS_KEY is not set: .*\.env"):
        from_unsplash(make(tmp_path, server), {"water": 1}, ())
    (tmp_path / ".env").write_text(f"UNSPLASH_ACCESS_KEY={KEY}\n")
    (tmp_path / ".env").chmod(0o600)
    assert offered(make(tmp_path, server), water=1) == []


REFUSALS = {
    "the access token": Fault(401, '{"errors": ["OAuth error: The access token is invalid"]}'),
    "401 with limits": Fault(401, "no", counted=True),
    "403 without limits": Fault(403, "Forbidden", counted=False),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refused_key_ends_the_run(tmp_path: Path, server: Server, name: str) -> None:
    server.faults["search"].append(REFUSALS[name])
    with pytest.raises(ConfigError, match=r"refuses the key .*access key of an app"):
        offered(make(tmp_path, server), water=1)
    assert server.count("search") == 1


def test_a_wrong_key_is_not_shown(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNSPLASH_ACCESS_KEY", "another-secret")
    with pytest.raises(ConfigError, match="refuses the key") as error:
        offered(make(tmp_path, server), water=1)
    assert "another-secret" not in str(error.value)


def test_the_key_is_not_sent_where_it_could_be_read(tmp_path: Path, server: Server) -> None:
    project = make(tmp_path, server, base_url="http://api.unsplash.com")
    with pytest.raises(ConfigError, match="without https the key could be read"):
        from_unsplash(project, {"water": 1}, ())


def test_a_refused_search_is_named(tmp_path: Path, server: Server) -> None:
    server.faults["search"].append(Fault(422, '{"errors": ["query is missing"]}'))
    with pytest.raises(PocketError, match=r"refuses the search for 'ocean' \(422 .*missing"):
        offered(make(tmp_path, server), water=1)


@pytest.mark.parametrize("kind", ["search", "report"])
def test_the_key_goes_to_no_other_host(tmp_path: Path, server: Server, kind: Kind) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        foreign.settimeout(0.0)
        elsewhere = f"http://127.0.0.1:{foreign.getsockname()[1]}/"
        server.add("ocean", "o1")
        server.faults[kind].append(Fault(302, headers={"Location": elsewhere}))
        with pytest.raises(PocketError, match=r"sends elsewhere \(302\)"):
            offered(make(tmp_path, server), water=1)
        with pytest.raises(BlockingIOError):
            foreign.accept()


@pytest.mark.parametrize("kind", ["search", "report"])
@pytest.mark.parametrize("location", ["data:text/plain,x", "http://xn--/", "http://[::1/"])
def test_an_answer_that_leads_to_no_address_ends_the_run_at_once(
    tmp_path: Path, server: Server, kind: Kind, location: str
) -> None:
    server.add("ocean", "o1")
    server.faults[kind] += [Fault(302, headers={"Location": location})] * 4
    with pytest.raises(PocketError, match=r"sends elsewhere \(302\)"):
        offered(make(tmp_path, server), water=1)
    assert server.count(kind) == 1


def page(server: Server, *ids: str) -> Fault:
    """A search page of a server that always has further ones."""
    return Fault(body=json.dumps({"total_pages": 10**9, "results": [*map(server.photo, ids)]}))


def test_pages_that_repeat_end_a_search(tmp_path: Path, server: Server) -> None:
    server.add("ocean", "unasked")
    pages = [("o1", "o2"), ("o2", "o3"), ("o1", "o3"), ("o4",)]
    server.faults["search"] += [page(server, *ids) for ids in pages]
    project = make(tmp_path, server)
    for _ in range(2):
        assert names(offered(project, water=9)) == ["o1", "o2", "o3"]
    assert server.count("search") == 3


def test_results_that_are_none_and_repeat_end_a_search(tmp_path: Path, server: Server) -> None:
    server.faults["search"] += [page(server, "../1", "../2")] * 3
    assert len(refused(make(tmp_path, server), water=1)) == 2
    assert server.count("search") == 2


def test_a_search_has_no_more_pages_than_allowed(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketvlm.collect.unsplash_api.MOST_PAGES", 3)
    server.faults["search"] += [page(server, f"o{number}") for number in range(9)]
    assert names(offered(make(tmp_path, server), water=9)) == ["o0", "o1", "o2"]
    assert server.count("search") == 3


def test_the_key_is_in_no_file_and_no_output(
    tmp_path: Path, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    server.add("ocean", "o1", user={"name": f"I was sent {KEY}"})
    server.add("ocean", "o2", urls={"raw": f"{server.url}/picture/o2?client_id={KEY}"})
    server.add("ocean", f"odd-{KEY}-{'x' * 64}", KEY)
    server.faults["search"] += [Fault(500, f"you sent {KEY}"), Fault(body=f'{{"key": "{KEY}"}}')]
    server.faults["report"] += [Fault(404, f"you sent {KEY}"), Fault(400, f"{KEY} is wrong")]
    project = make(tmp_path, server)
    found = list(from_unsplash(project, {"water": 9}, ()))
    server.faults["search"].append(Fault(422, f"you sent {KEY}"))
    with pytest.raises(PocketError) as error:
        offered(project, fire=1)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    kept = b"".join(path.read_bytes() + bytes(path) for path in files)
    said = capfd.readouterr()
    assert found and files
    for text in (repr(found), str(error.value), said.err, said.out, kept.decode(errors="replace")):
        assert KEY not in text


def test_a_used_up_hour_is_waited_for(tmp_path: Path) -> None:
    with Server(limit=4, window=0.6) as server:
        server.add("ocean", *(f"o{number}" for number in range(9)))
        found = offered(make(tmp_path, server), window=0.6, water=9)
    assert len(found) == 9
    assert server.reports == {f"o{number}": 1 for number in range(9)}
    assert len(server.asked) == 10 + 9


def test_a_refusal_that_is_not_the_limits_skips_one_photograph(
    tmp_path: Path, server: Server
) -> None:
    server.add("ocean", "o1", "o2")
    server.faults["report"].append(Fault(403, "this one is not for you", limits(50, 40)))
    found = list(from_unsplash(make(tmp_path, server), {"water": 1}, ()))
    assert [isinstance(one, Candidate) for one in found] == [False, True]


def test_a_key_that_others_use_up_ends_after_hours(tmp_path: Path) -> None:
    with Server(limit=0, window=0.2) as server:
        server.add("ocean", "o1")
        project = make(tmp_path, server)
        with pytest.raises(PocketError, match="another program may use the key"):
            offered(project, window=0.2, water=1)
        assert server.refused == 40
        server.limit = 5
        assert names(offered(project, window=0.2, water=1)) == ["o1"]


def test_a_damaged_journal_is_read_as_far_as_it_is_sound(tmp_path: Path, server: Server) -> None:
    server.add("ocean", "o1", "o2")
    project = make(tmp_path, server)
    offered(project, water=2)
    asked = len(server.asked)
    journal = tmp_path / "state" / "unsplash.jsonl"
    odd = [b"", b"null", b"[]", b'{"kind": "page"}', b'{"kind": "report", "id": "x"}', b"\xff"]
    odd += [b'{"kind": "closed", "at": "now", "limit": 1, "remaining": 0}']
    odd += [b'{"kind": "closed", "at": NaN, "limit": 1, "remaining": 0}']
    odd += [
        b'{"kind": "report", "id": "x", "refused": null, "at": 1, "limit": "x", "remaining": 0}'
    ]
    odd += [b'{"kind": "page", "query": "oc']
    journal.write_bytes(b"\n".join(odd[:-1]) + b"\n" + journal.read_bytes() + odd[-1])
    assert names(offered(project, water=2)) == ["o1", "o2"]
    assert len(server.asked) == asked
