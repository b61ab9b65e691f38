"""The key is sent to the teacher, and written nowhere."""

from pathlib import Path

import pytest

from pocketvlm.errors import ConfigError
from pocketvlm.label import label

from .conftest import KEY, make
from .server import Reply, Server, answer, busy, refusal, says


def test_a_local_server_needs_none(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert label(make(tmp_path, 1, server.url))["status"] == {"ok": 1}
    assert server.keys == ["Bearer none"]


FREE = {"stand-in": {"input_usd": 0, "output_usd": 0, "image": {"rule": "fixed", "tokens": 1}}}


@pytest.mark.parametrize("bad", ["sk-half\nof-it", "sk-with\u2026dots", "two words"])
def test_a_key_no_header_can_carry_is_never_shown(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", bad)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY") as caught:
        label(make(tmp_path, 1, server.url))
    assert bad not in str(caught.value)


def test_it_is_sent_and_written_nowhere(
    tmp_path: Path, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    server.queue.extend([refusal(400, f"bad {KEY}")] * 2 + [busy(500)])
    label(make(tmp_path, 3, server.url, retries=0))
    assert set(server.keys) == {f"Bearer {KEY}"}
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=f"<html>Authorization: Bearer {KEY}"),
        says(f"I was sent {KEY}"),
        says(None, refusal=f"I was sent {KEY}"),
        answer(reason=f"The header says {KEY}", visual_features=[KEY]),
    ],
    ids=["page", "prose", "refusal", "answer"],
)
def test_a_server_that_sends_it_back_does_not_get_it_into_the_ledger(
    tmp_path: Path, server: Server, reply: Reply
) -> None:
    server.queue.append(reply)
    label(make(tmp_path, 2, server.url))
    ledger = (tmp_path / "labels" / "answers.jsonl").read_text()
    assert KEY not in ledger
    assert "***" in ledger


def test_a_placeholder_for_a_key_is_a_word_like_others(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "water")
    assert label(make(tmp_path, 1, server.url))["labels"] == {"water": 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("all_proxy", "socks://127.0.0.1:9"),
        ("all_proxy", "socks5://127.0.0.1:9"),
        ("SSL_CERT_FILE", "/nowhere/certificates.pem"),
    ],
)
def test_an_environment_that_no_connection_can_use_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"no connection .* can be set up .*ALL_PROXY"):
        label(make(tmp_path, 1, "https://teacher.invalid/v1", config={"prices": FREE}))


def test_a_proxy_of_the_environment_is_not_asked_about_loopback(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert label(make(tmp_path, 1, server.url))["status"] == {"ok": 1}
