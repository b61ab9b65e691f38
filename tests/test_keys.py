"""A key comes from the environment, or from a .env that nobody else may open."""

import os
from pathlib import Path

import pytest

from pocketvlm.errors import ConfigError
from pocketvlm.keys import read_key

KEY = "sk-a-key-of-the-environment"


def env(folder: Path, text: str, mode: int = 0o600) -> Path:
    """A .env in a folder."""
    folder.mkdir(exist_ok=True)
    file = folder / ".env"
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is not the project's; no key in the environment."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    env(tmp_path, "OPENAI_API_KEY=from-file\n")
    assert read_key("OPENAI_API_KEY", tmp_path) == KEY


def test_then_the_project_then_the_current_folder(tmp_path: Path, here: Path) -> None:
    assert read_key("MyOwn_Key", tmp_path) is None
    env(here, "MyOwn_Key=of-here\nANOTHER=def\n")
    assert read_key("MyOwn_Key", tmp_path) == "of-here"
    env(tmp_path, '# mine\nOTHER=1\nMyOwn_Key="abc"\n')
    assert read_key("MyOwn_Key", tmp_path) == "abc"
    assert read_key("ANOTHER", tmp_path) == "def"


@pytest.mark.parametrize("content", ["KEY=caf\xe9".encode("latin-1"), "KEY=a".encode("utf-16")])
def test_a_file_in_another_encoding_is_named(tmp_path: Path, content: bytes) -> None:
    env(tmp_path, "").write_bytes(content)
    with pytest.raises(ConfigError, match=r"\.env is not UTF-8: save it"):
        read_key("KEY", tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="no POSIX permissions here")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604, 0o601])
@pytest.mark.parametrize("place", ["project", "here"])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, place: str, mode: int) -> None:
    file = env(tmp_path / place, f"OPENAI_API_KEY={KEY}\n", mode)
    with pytest.raises(ConfigError, match=r"chmod 600 .*\.env") as caught:
        read_key("OPENAI_API_KEY", tmp_path / "project")
    assert f"mode {mode:o}" in str(caught.value)
    assert KEY not in str(caught.value)
    file.chmod(0o400)
    assert read_key("OPENAI_API_KEY", tmp_path / "project") == KEY


@pytest.mark.skipif(os.name != "posix", reason="no POSIX permissions here")
def test_a_link_is_judged_by_what_it_leads_to(tmp_path: Path) -> None:
    real = env(tmp_path / "elsewhere", f"OPENAI_API_KEY={KEY}\n", 0o644)
    (tmp_path / ".env").symlink_to(real)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_key("OPENAI_API_KEY", tmp_path)
    real.chmod(0o600)
    assert read_key("OPENAI_API_KEY", tmp_path) == KEY


def test_a_file_that_no_key_is_taken_from_may_be_open(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be another program's, and a key of the environment makes it none of ours."""
    env(here, f"PORT=8000\nEMPTY=\nOPENAI_API_KEY={KEY}\n", 0o644)
    assert read_key("HF_TOKEN", tmp_path) is None
    assert read_key("EMPTY", tmp_path) is None
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-environment")
    assert read_key("OPENAI_API_KEY", tmp_path) == "of-the-environment"


def test_a_folder_of_that_name_is_none(tmp_path: Path) -> None:
    """Some name their virtual environment so."""
    (tmp_path / ".env").mkdir()
    assert read_key("OPENAI_API_KEY", tmp_path) is None
