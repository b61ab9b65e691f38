"""W&B offline: nothing is asked of anybody, no key is written, and `wandb sync` sends it later."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketvlm.errors import ConfigError
from tests.student.tracked import (
    TEACHER_KEY,
    WANDB_KEY,
    Watched,
    apart,
    make_tracked,
    sync,
    wrong,
)
from tests.student.tracking_server import Wandb

__all__ = ["apart"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wandb]:
    with Wandb(WANDB_KEY) as running:
        monkeypatch.setenv("WANDB_BASE_URL", running.url)
        yield running


def test_offline_asks_nobody(
    tmp_path: Path, server: Wandb, capfd: pytest.CaptureFixture[str]
) -> None:
    watched = Watched(make_tracked(tmp_path, wandb="offline"))
    watched.steps(20)
    watched.evaluation(wrong(tmp_path))
    assert watched.end() < 5
    assert server.operations == []
    said = capfd.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, lines  # of W&B's own chatter nothing
    assert "with WANDB_API_KEY in the environment" in lines[0] and "wandb sync" in lines[0]


def test_no_key_in_any_file(tmp_path: Path, server: Wandb, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from the environment, not from the command line, and not where a user wrote it himself:
    into the question, which stands in the configuration and in the contract."""
    monkeypatch.setenv("WANDB_API_KEY", WANDB_KEY)
    monkeypatch.setenv("OPENAI_API_KEY", TEACHER_KEY)
    monkeypatch.setattr(sys, "argv", ["pocketvlm", "train", "--set", f"x={TEACHER_KEY}"])
    question = f"Is this sky or grass? {TEACHER_KEY} {WANDB_KEY}"
    for mode in ("offline", "online"):
        watched = Watched(make_tracked(tmp_path, question, wandb=mode, tensorboard=True))
        watched.steps(3)
        watched.evaluation(wrong(tmp_path))
        watched.end()
        (tmp_path / "state" / "checkpoints" / "key" / "tracking.json").unlink()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix == ".wandb"]
    assert [path for path in files if "tfevents" in path.name]
    held = {path: path.read_bytes() for path in files}
    held |= {Path(name): data for name, data in server.files.items()}
    held[Path("sent")] = json.dumps([server.config, server.history]).encode()
    assert server.files and server.history
    for key in (WANDB_KEY, TEACHER_KEY):
        assert [path for path, data in held.items() if key.encode() in data] == []
    assert "***" in json.dumps(server.config)


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_files_stay_in_the_workspace(
    tmp_path: Path, server: Wandb, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Not in the home, and not in the current folder, also those of the sender."""
    monkeypatch.setenv("WANDB_API_KEY", WANDB_KEY)
    watched = Watched(make_tracked(tmp_path / "project", wandb=mode))
    watched.evaluation(wrong(tmp_path))
    watched.end()
    assert bool(server.files) == (mode == "online")
    assert list((tmp_path / "here").iterdir()) == []
    outside = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert [path for path in outside if "matplotlib" not in str(path)] == []


def test_synced_later(tmp_path: Path, server: Wandb, capsys: pytest.CaptureFixture[str]) -> None:
    """A training, killed and resumed, arrives as one run."""
    project = make_tracked(tmp_path, wandb="offline")
    first = Watched(project)
    first.steps(5)
    first.evaluation(wrong(tmp_path), accuracy=0.5)
    first.close()
    second = Watched(project, step=5)
    second.steps(3)
    second.evaluation(wrong(tmp_path), accuracy=0.875)
    second.end()
    assert f"{tmp_path}/logs/wandb/offline-run-*-" in capsys.readouterr().err
    sync(tmp_path)
    assert len(server.runs) == 1
    assert [step for step, _ in server.rows("train/loss")] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert server.rows("val/accuracy") == [(5, 0.5), (8, 0.875)]
    assert server.rows("recall/sky") == [(5, 0.25), (8, 0.25)]
    assert server.rows("train/samples_per_second")
    assert server.exit_code == 0
    assert server.config["contract"]["value"]["hash"] == project.contract.hash
    assert server.config["configuration"]["value"]["train"]["effective_batch"] == 8
    table = json.loads(server.files["val/mistakes.table.json"])
    assert table["columns"] == ["image", "label", "answer"]
    assert table["data"][0][1:] == ["sky", "grass"]
    assert server.files[table["data"][0][0]["path"]] == (tmp_path / "wrong.png").read_bytes()


def test_online_needs_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="WANDB_API_KEY"):
        Watched(make_tracked(tmp_path, wandb="online"))


def test_a_failed_training_is_seen_as_failed(tmp_path: Path, server: Wandb) -> None:
    watched = Watched(make_tracked(tmp_path, wandb="offline"))
    watched.steps(2)
    watched.close()
    sync(tmp_path)
    assert server.exit_code == 1
