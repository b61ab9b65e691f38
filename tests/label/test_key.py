"""The key comes from the environment or .env, and is written nowhere."""

from pathlib import Path

import pytest

from pocketvlm.errors import ConfigError
from pocketvlm.label import label
from pocketvlm.label.client import read_key

from .conftest import KEY, make
from .server import Server, busy, refusal


def test_the_environment_comes_first(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-file\n")
    assert read_key("OPENAI_API_KEY", tmp_path) == KEY


def test_a_line_of_env_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert read_key("MyOwn_Key", tmp_path) is None
    (tmp_path / ".env").write_text('# mine\nOTHER=1\nMyOwn_Key="abc"\n')
    assert read_key("MyOwn_Key", tmp_path) == "abc"
    (elsewhere / ".env").write_text("ANOTHER=def\n")
    assert read_key("ANOTHER", tmp_path) == "def"


def test_a_local_server_needs_none(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert label(make(tmp_path, 1, server.url))["status"] == {"ok": 1}
    assert server.keys == ["Bearer none"]


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


def test_a_proxy_of_the_environment_is_not_asked_about_loopback(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert label(make(tmp_path, 1, server.url))["status"] == {"ok": 1}
