"""Files come whole or not at all, from known hosts alone, and are gone on with after a cut."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketvlm.collect import download
from pocketvlm.collect.download import DownloadError, Downloads
from pocketvlm.errors import PocketError

from .server import Files, Reply, quick

DATA = random.Random(1).randbytes(300_000)
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[Files]:
    with Files() as files:
        files.files["/a.jpg"] = DATA
        yield files


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, 3)


def fetch(server: Files, folder: Path, path: str = "/a.jpg", **given: int | str) -> Path:
    with Downloads(folder, {server.host}) as downloads:
        return downloads.fetch(server.url + path, "a.jpg", **given)  # type: ignore[arg-type]


def refused(server: Files, folder: Path, path: str = "/a.jpg", **given: int | str) -> str:
    """The reason of a lasting failure that leaves nothing behind."""
    with pytest.raises(DownloadError) as caught:
        fetch(server, folder, path, **given)
    assert caught.value.lasting
    assert caught.value.reason in str(caught.value)
    assert not folder.exists() or not list(folder.iterdir())
    return caught.value.reason


def failed(server: Files, folder: Path) -> DownloadError:
    """A failure that another run may mend."""
    with pytest.raises(DownloadError) as caught:
        fetch(server, folder)
    assert not caught.value.lasting
    assert not (folder / "a.jpg").exists()
    return caught.value


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_whole_and_alone(server: Files, tmp_path: Path) -> None:
    assert fetch(server, tmp_path / "new", size=len(DATA), md5=MD5.upper()).read_bytes() == DATA
    assert names(tmp_path / "new") == ["a.jpg"]
    assert server.asked[0].headers["accept-encoding"] == "identity"
    assert server.asked[0].headers["user-agent"].startswith("PocketVLM/")


def test_what_has_come_is_told(server: Files, tmp_path: Path) -> None:
    server.plant("/a.jpg", Reply(stop=100_000))
    told: list[tuple[int, int | None]] = []
    with Downloads(tmp_path, {server.host}) as downloads:
        downloads.fetch(
            f"{server.url}/a.jpg", "a", tell=lambda have, size: told.append((have, size))
        )
    assert told == sorted(told) and {size for _, size in told} == {len(DATA)}
    assert told[-1] == (len(DATA), len(DATA))


def test_a_file_that_is_there_is_not_asked_for(server: Files, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    fetch(server, tmp_path, size=len(DATA), md5=MD5)
    assert len(server.asked) == 1


def test_a_file_that_is_there_but_another_is_replaced(server: Files, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"old")
    assert fetch(server, tmp_path, size=len(DATA)).read_bytes() == DATA


@settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(0, 200_000), max_size=3))
def test_cut_transfers_are_gone_on_with(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    """No byte is sent twice, wherever it is cut."""
    folder = tmp_path_factory.mktemp("cut")
    with Files() as server:
        server.files["/a.jpg"] = DATA
        server.plant("/a.jpg", *(Reply(stop=cut) for cut in cuts))
        assert fetch(server, folder).read_bytes() == DATA
        assert server.sent["/a.jpg"] == len(DATA)
    assert names(folder) == ["a.jpg"]


def test_a_file_that_is_cut_too_often_is_left_for_another_run(
    server: Files, tmp_path: Path
) -> None:
    server.plant("/a.jpg", *[Reply(stop=50_000)] * 4)
    failed(server, tmp_path)
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.ranges("/a.jpg") == [None, *(f"bytes={n}0000-" for n in (5, 10, 15, 20))]
    assert server.sent["/a.jpg"] == len(DATA)


def test_cuts_of_a_large_file_do_not_count_while_it_grows(server: Files, tmp_path: Path) -> None:
    server.files["/a.jpg"] = DATA * 40
    server.plant("/a.jpg", *[Reply(stop=download.WORTH)] * 9)
    assert fetch(server, tmp_path).read_bytes() == DATA * 40


KILLED = """
import sys
from pathlib import Path
from pocketvlm.collect.download import Downloads
url, host, folder = sys.argv[1:]
Downloads(Path(folder), {host}).fetch(url, "a.jpg")
"""


def test_a_killed_transfer_is_gone_on_with(server: Files, tmp_path: Path) -> None:
    server.plant("/a.jpg", Reply(stop=123_456, then="hang"))
    command = [sys.executable, "-c", KILLED, f"{server.url}/a.jpg", server.host, str(tmp_path)]
    process = subprocess.Popen(command)
    part, deadline = tmp_path / ".a.jpg.part", time.monotonic() + 30
    while not part.is_file() or part.stat().st_size < 123_456:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.ranges("/a.jpg") == [None, "bytes=123456-"]
    assert server.sent["/a.jpg"] == len(DATA)
    assert names(tmp_path) == ["a.jpg"]


def cut(server: Files, folder: Path, **headers: str) -> None:
    """A first run that leaves a part."""
    server.plant("/a.jpg", *[Reply(stop=10_000, headers=headers)] * 4)
    failed(server, folder)
    server.asked.clear()


def test_a_file_killed_before_its_last_step_is_not_asked_for(server: Files, tmp_path: Path) -> None:
    cut(server, tmp_path)
    (tmp_path / ".a.jpg.part").write_bytes(DATA)
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.asked == []


def test_a_changed_file_starts_over(server: Files, tmp_path: Path) -> None:
    cut(server, tmp_path)
    server.files["/a.jpg"] = DATA[::-1]
    assert fetch(server, tmp_path).read_bytes() == DATA[::-1]
    assert server.ranges("/a.jpg") == ["bytes=40000-"]


def test_a_server_that_forgets_if_range_does_not_mix_two_files(
    server: Files, tmp_path: Path
) -> None:
    cut(server, tmp_path)
    other = DATA[::-1]
    server.files["/a.jpg"] = other
    span = f"bytes 40000-{len(DATA) - 1}/{len(DATA)}"
    mixed = {"Content-Range": span, "ETag": '"another"'}
    server.plant("/a.jpg", Reply(206, other[40_000:], mixed))
    assert fetch(server, tmp_path).read_bytes() == other
    assert server.ranges("/a.jpg") == ["bytes=40000-", None]


@pytest.mark.parametrize(
    "span", ["bytes 0-99/300000", "bytes 40000-99/77", "bytes 7", "", "9" * 99]
)
def test_a_range_that_was_not_asked_for_starts_over(
    server: Files, tmp_path: Path, span: str
) -> None:
    cut(server, tmp_path)
    server.plant("/a.jpg", Reply(206, b"x" * 100, {"Content-Range": span, "ETag": ""}))
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.ranges("/a.jpg") == ["bytes=40000-", None]


def test_a_range_that_cannot_be_had_starts_over(server: Files, tmp_path: Path) -> None:
    cut(server, tmp_path)
    server.plant("/a.jpg", Reply(416, b""))
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.ranges("/a.jpg") == ["bytes=40000-", None]


def test_a_server_without_ranges_starts_over(server: Files, tmp_path: Path) -> None:
    server.plant("/a.jpg", Reply(stop=10_000), Reply(ranges=False))
    assert fetch(server, tmp_path).read_bytes() == DATA


@pytest.mark.parametrize(
    ("etag", "date", "sent"),
    [
        ("", "", None),
        ('W/"weak"', "", None),
        ("", formatdate(0, usegmt=True), formatdate(0, usegmt=True)),
        ('"strong"', formatdate(0, usegmt=True), '"strong"'),
        ('"\xe9"', "", None),
        ('"\xe9"', formatdate(0, usegmt=True), formatdate(0, usegmt=True)),
        ('"a\tb"', "", None),
        ("", "\xe9", None),
    ],
)
def test_only_what_tells_versions_apart_is_trusted(
    server: Files, tmp_path: Path, etag: str, date: str, sent: str | None
) -> None:
    cut(server, tmp_path, **{"ETag": etag, "Last-Modified": date})
    fetch(server, tmp_path)
    assert server.asked[0].headers.get("if-range") == sent
    assert server.ranges("/a.jpg") == ["bytes=40000-" if sent else None]


def test_a_part_of_another_address_is_dropped(server: Files, tmp_path: Path) -> None:
    cut(server, tmp_path)
    server.files["/b.jpg"] = DATA[::-1]
    assert fetch(server, tmp_path, "/b.jpg").read_bytes() == DATA[::-1]
    assert server.ranges("/b.jpg") == [None]


@pytest.mark.parametrize("validator", ["\u2603", '"\n"', "", 7, None, ['"a"']])
def test_a_part_whose_validator_cannot_be_sent_is_dropped(
    server: Files, tmp_path: Path, validator: object
) -> None:
    cut(server, tmp_path)
    record = tmp_path / ".a.jpg.part.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"validator": validator}))
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.ranges("/a.jpg") == [None]


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b"\xff", b"{}"])
def test_a_part_of_which_nothing_is_known_is_dropped(
    server: Files, tmp_path: Path, record: bytes
) -> None:
    cut(server, tmp_path)
    (tmp_path / ".a.jpg.part.json").write_bytes(record)
    assert fetch(server, tmp_path).read_bytes() == DATA
    assert server.ranges("/a.jpg") == [None]


def test_wrong_content_is_fetched_once_more(server: Files, tmp_path: Path) -> None:
    server.plant("/a.jpg", Reply(body=DATA[::-1]))
    assert fetch(server, tmp_path, md5=MD5).read_bytes() == DATA


def test_content_that_stays_wrong_is_refused(server: Files, tmp_path: Path) -> None:
    assert "not what was announced" in refused(server, tmp_path, md5="0" * 32)
    assert len(server.asked) == 2
    assert "instead of 5" in refused(server, tmp_path, size=5)
    assert "300,000 bytes are announced" in refused(server, tmp_path, size=300_001)


def test_a_size_is_checked_where_the_server_announces_none(server: Files, tmp_path: Path) -> None:
    chunked = f"{len(DATA):x}\r\n".encode() + DATA + b"\r\n0\r\n\r\n"
    headers = {"Content-Length": "", "Transfer-Encoding": "chunked"}
    server.plant("/a.jpg", *[Reply(body=chunked, headers=headers)] * 3)
    assert fetch(server, tmp_path, size=len(DATA)).read_bytes() == DATA
    (tmp_path / "a.jpg").unlink()
    assert "not what was announced" in refused(server, tmp_path, size=300_001)


def test_the_md5_that_s3_states_is_checked(server: Files, tmp_path: Path) -> None:
    server.headers = {"Server": "AmazonS3", "ETag": f'"{MD5}"'}
    fetch(server, tmp_path).unlink()
    server.headers["ETag"] = f'"{"0" * 32}"'
    refused(server, tmp_path)


@pytest.mark.parametrize(
    "headers",
    [
        {"Server": "nginx"},
        {"Server": "AmazonS3", "x-amz-server-side-encryption": "aws:kms"},
        {"Server": "AmazonS3", "x-amz-server-side-encryption-customer-algorithm": "AES256"},
        {"Server": "AmazonS3", "ETag": f'"{"0" * 32}-7"'},
    ],
)
def test_an_etag_that_is_no_md5_is_none(
    server: Files, tmp_path: Path, headers: dict[str, str]
) -> None:
    server.headers = {"ETag": f'"{"0" * 32}"'} | headers
    assert fetch(server, tmp_path).read_bytes() == DATA


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(server: Files, tmp_path: Path, status: int) -> None:
    server.plant("/old", Reply(status, b"", {"Location": "/a.jpg"}))
    assert fetch(server, tmp_path, "/old").read_bytes() == DATA


def test_a_redirect_elsewhere_is_refused_unasked(server: Files, tmp_path: Path) -> None:
    with Files() as other:
        server.plant("/old", Reply(302, b"", {"Location": f"{other.url}/a.jpg"}))
        assert f"{other.host!r} is not allowed" in refused(server, tmp_path, "/old")
        assert other.asked == []


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/a", "//", "http://[", "http://user:secret@127.0.0.1/"],
)
def test_a_redirect_to_no_web_address_is_refused(
    server: Files, tmp_path: Path, location: str
) -> None:
    server.plant("/old", Reply(302, b"", {"Location": location}))
    assert "secret" not in refused(server, tmp_path, "/old")


@pytest.mark.parametrize(
    "location",
    [
        "data:text/plain,x",
        "http://xn--/",
        "http://\u2488/",
        "http://[::1/",
        "http://127.0.0.1\x01/",
        "http://127.0.0.1:x/",
        f"http://127.0.0.1/{'a' * 70_000}",
    ],
)
def test_a_redirect_that_no_address_can_be_made_of_is_refused_at_once(
    server: Files, tmp_path: Path, location: str
) -> None:
    written = location.encode().decode("latin-1")  # as the server's headers are encoded
    server.plant("/old", *[Reply(302, b"", {"Location": written})] * 4)
    refused(server, tmp_path, "/old")
    assert len(server.asked) == 1


def test_https_never_falls_to_http(server: Files, tmp_path: Path) -> None:
    with Downloads(tmp_path, {"a.org"}) as downloads:
        order = download.Order("https://a.org/", None, None, 1, lambda have, size: None)
        with pytest.raises(DownloadError, match="from https to http"):
            downloads._checked(order, "http://a.org/", httpx.URL("https://a.org/"))


def test_redirects_in_a_circle_end(server: Files, tmp_path: Path) -> None:
    server.plant("/old", *[Reply(302, b"", {"Location": "/old"})] * 99)
    assert "redirects" in refused(server, tmp_path, "/old")
    assert len(server.asked) == download.REDIRECTS + 1


@pytest.mark.parametrize(
    "url", ["http://127.0.0.2:1/a", "http://a@b/", "a.jpg", "", "http://\ud800/", "http://a\n/"]
)
def test_other_addresses_are_refused(server: Files, tmp_path: Path, url: str) -> None:
    with (
        Downloads(tmp_path, {server.host, "b", "a"}) as downloads,
        pytest.raises(DownloadError) as caught,
    ):
        downloads.fetch(url, "a.jpg")
    assert caught.value.lasting


NAMES = ["", ".", "..", "../a", "/a", "a/b", "a\\b", "a\0", "a\n", ".a.part", "\ud800", "a" * 201]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_leave_the_folder_are_refused(server: Files, tmp_path: Path, name: str) -> None:
    with (
        Downloads(tmp_path / "in", {server.host}) as downloads,
        pytest.raises(DownloadError, match="no name of a file"),
    ):
        downloads.fetch(f"{server.url}/a.jpg", name)
    assert server.asked == [] and names(tmp_path) == []


@given(name=st.text(min_size=1))
def test_any_name_stays_in_the_folder(name: str) -> None:
    if download.is_name(name):
        assert (Path("/in") / name).resolve().parent == Path("/in")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 206, 304, 416])
def test_what_is_not_to_be_had_is_not_asked_for_again(
    server: Files, tmp_path: Path, status: int
) -> None:
    server.plant("/a.jpg", Reply(status, b"", {"Content-Length": ""} if status == 304 else {}))
    assert refused(server, tmp_path) == f"status {status}"
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server: Files, tmp_path: Path, status: int) -> None:
    server.plant("/a.jpg", *[Reply(status, b"busy")] * 3)
    assert fetch(server, tmp_path).read_bytes() == DATA
    (tmp_path / "a.jpg").unlink()
    server.plant("/a.jpg", *[Reply(status, b"busy")] * 4)
    assert failed(server, tmp_path).reason == f"status {status}"


def test_a_pause_that_is_asked_for_is_kept(server: Files, tmp_path: Path) -> None:
    server.plant("/a.jpg", Reply(429, b"", {"Retry-After": "1"}))
    begun = time.monotonic()
    fetch(server, tmp_path)
    assert time.monotonic() - begun >= 1


def test_a_long_pause_is_left_for_another_run(server: Files, tmp_path: Path) -> None:
    server.plant("/a.jpg", Reply(429, b"", {"Retry-After": "3600"}))
    failed(server, tmp_path)
    assert len(server.asked) == 1


def test_a_server_that_hangs_is_left(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", httpx.Timeout(0.1))
    server.plant("/a.jpg", *[Reply(stop=1000, then="hang")] * 4)
    assert failed(server, tmp_path).reason == "no answer in time"
    assert (tmp_path / ".a.jpg.part").stat().st_size == 4000


def test_a_server_that_drips_is_left(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LONG", 0.1)
    server.plant("/a.jpg", *[Reply(stop=0, then="drip")] * 4)
    assert "too slowly" in failed(server, tmp_path).reason


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with Files() as gone:
        pass
    failed(gone, tmp_path)


def test_no_more_is_taken_than_allowed(server: Files, tmp_path: Path) -> None:
    assert "more than 1,000" in refused(server, tmp_path, largest=1000)
    endless = Reply(headers={"Content-Length": ""}, stop=0, then="endless")
    server.plant("/a.jpg", endless, endless)
    assert "sends more than 1,000,000 bytes" in refused(server, tmp_path, largest=1_000_000)
    assert "sends more than 100,000 bytes" in refused(server, tmp_path, size=100_000)


def test_what_comes_compressed_is_refused(server: Files, tmp_path: Path) -> None:
    server.headers = {"Content-Encoding": "gzip"}
    assert "compressed" in refused(server, tmp_path)


def test_no_proxy_stands_before_this_machine(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch(server, tmp_path).read_bytes() == DATA


def test_a_key_in_an_address_is_never_shown(server: Files, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(server, tmp_path, "/none?client_id=secret")
    assert "secret" not in str(caught.value)
    assert server.asked[0].target.endswith("secret")
    assert download.shown("https://user:secret@a.org/b?key=c#d\n") == "https://a.org/b"


def test_a_folder_that_cannot_be_written(server: Files, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PocketError, match="cannot be written"):
        fetch(server, tmp_path / "file")
