"""A key goes to the run there, and into no file and no list of processes on the way."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest

from pocketvlm.config import commented_yaml, parse_config
from pocketvlm.demo.demo import BASE
from tests.label.server import Server, answer
from tests.pipeline.conftest import draw_pictures
from tests.remote.conftest import PYTHON
from tests.remote.sshd import Sshd, needs_sshd, remote

pytestmark = [needs_sshd, pytest.mark.slow]

FIRST, SECOND = "sk-planted-0123456789-first", "sk-planted-9876543210-second"


def files_with(secret: str, root: Path) -> list[Path]:
    """Files below a folder that hold it."""
    files = (path for path in root.rglob("*") if path.is_file())
    return [path for path in files if secret.encode() in path.read_bytes()]


@contextmanager
def command_lines() -> Iterator[set[str]]:
    """Those of every process that is there at any time while the block runs."""
    seen, over = set[str](), Event()

    def look() -> None:
        while not over.wait(0.02):
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    seen.add(" ".join(process.cmdline()))

    watching = Thread(target=look)
    watching.start()
    yield seen
    over.set()
    watching.join()


def test_keys_of_the_environment_and_of_a_file_reach_the_run_alone(
    server: Sshd, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    draw_pictures(here / "pictures", 3)
    with Server() as teacher:
        teacher.usual = answer(confidence=0.5)  # the second one is asked as well
        teachers = [
            {"base_url": teacher.url, "model": "first", "api_key_env": "PLANTED_FIRST"},
            {"base_url": teacher.url, "model": "second", "api_key_env": "PLANTED_SECOND"},
        ]
        config = parse_config({"base": {"model": str(BASE)}, "teachers": teachers})
        (here / "pocketvlm.yaml").write_text(commented_yaml(config))
        (here / ".env").write_text(f"PLANTED_SECOND={SECOND}\n")
        (here / ".env").chmod(0o600)
        with command_lines() as seen:
            code, out, said = remote(
                server, here, "run", *PYTHON, "--until", "label", PLANTED_FIRST=FIRST
            )
            assert code == 0, said
            _, logged, told = remote(server, here, "logs", "-f")
        assert set(teacher.keys) == {f"Bearer {FIRST}", f"Bearer {SECOND}"}
    there = server.home / "pocketvlm" / "here"
    assert (there / "labels" / "answers.jsonl").is_file()
    assert any("pocketvlm run --detach" in line for line in seen)
    for key in (FIRST, SECOND):
        assert not [line for line in seen if key in line]
        assert key not in out + said + logged + told
    assert files_with(FIRST, tmp_path) == []
    assert files_with(SECOND, tmp_path) == [here / ".env"]
    assert not list(server.home.rglob(".env*"))
