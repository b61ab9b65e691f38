"""Two processes train as one does, one of them writes, and they live and die together."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from pocketvlm.project import Project
from pocketvlm.workspace import read_rows, write_rows
from tests.student.children import (
    PAUSED,
    STEP,
    Child,
    finish,
    history,
    left,
    prepare,
    sealed,
    small_disk,
    undisturbed,
)

TWO = ("train", "--nproc", "2")
PLAIN: dict[str, Any] = {"dropout": 0}
"""Each process draws its own dropout; without it they compute what one does."""

OFTEN = 1e-9


@pytest.fixture
def project(tmp_path: Path, tiny_base: Path) -> Project:
    """Without dropout; not trained."""
    return prepare(tmp_path / "project", tiny_base, **PLAIN)


def same(project: Project, base: Path, **train: Any) -> None:
    """It has learnt what one process learns, as far as float32 adds up."""
    here, alone = history(project), undisturbed(base, **PLAIN, **train)
    for name in ("train", "val"):
        assert [row["step"] for row in here[name]] == [row["step"] for row in alone[name]]
        for mine, other in zip(here[name], alone[name], strict=True):
            assert mine["loss"] == pytest.approx(other["loss"], abs=2e-6)
            assert mine.get("accuracy") == other.get("accuracy")
            assert mine.get("answered") == other.get("answered")
    assert not left(project)


@contextmanager
def nobody_left(child: Child) -> Iterator[None]:
    """All processes of a command are gone when the block ends."""
    child.until(lambda: len(child.family()) >= 3)
    family = child.family()
    yield
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


def files(root: Path) -> list[str]:
    """What training wrote: names, apart from the folder that is named by a hash, and from logs,
    each of which has its own."""
    folders = [path for name in ("adapter", "state", "logs") for path in (root / name).rglob("*")]
    return sorted(path.name for path in folders if path.is_file() and path.suffix != ".log")


def test_they_learn_what_one_does_and_one_of_them_writes(project: Project, tiny_base: Path) -> None:
    code, said = finish(project, *TWO, "--json")
    assert code == 0, said
    same(project, tiny_base)
    assert said.count("Training on 2 processes") == 1
    assert said.count("epoch 1: val accuracy") == 1
    figures = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [row["epochs"] for row in figures] == [2]
    root = project.workspace.root
    shards = ["000.keys", "000.rows", "001.keys", "001.rows"]
    alone = [name for name in files(root) if name not in shards]
    events = [row["event"] for row in read_rows(root / "logs" / "stages.jsonl")]
    assert events == ["started", "done"]
    [log] = (root / "logs").glob("train-*.log")
    assert log.read_text().count("epoch 1: val accuracy") == 1
    code, said = finish(project)  # one process: the features are there
    assert code == 0, said
    assert "Looking at" not in said
    assert [name for name in files(root) if name not in shards] == alone
    same(project, tiny_base)


def test_one_that_dies_ends_all(project: Project, tiny_base: Path) -> None:
    """They go on as one process, from the step before."""
    child = Child(project, *TWO, at=f"{STEP}:9", act="SIGKILL", rank=1, every=OFTEN)
    with nobody_left(child):
        assert child.wait(60) == 1
    assert child.errors == [
        "error: process 1 of the training died (SIGKILL), so all were ended: run the same command "
        "to go on from the last checkpoint"
    ]
    assert "Traceback" not in child.said and "SIGTERM" not in child.said
    code, said = finish(project)
    assert code == 0, said
    assert "Going on from checkpoint-8 " in said
    same(project, tiny_base)


@pytest.mark.slow
def test_one_that_was_killed_goes_on_as_two(project: Project, tiny_base: Path) -> None:
    finish(project, at=f"{STEP}:9", act="SIGKILL", every=OFTEN)
    code, said = finish(project, *TWO)
    assert code == 0, said
    assert "Going on from checkpoint-8 " in said
    assert "Looking at" not in said
    same(project, tiny_base)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_launcher_is_told_to_stop(project: Project, tiny_base: Path, number: int) -> None:
    """Killed, it cannot pass it on: its children end all the same, with the checkpoint they have,
    and mostly with one of that very step."""
    child = Child(project, *TWO, at=f"{STEP}:9", act="pause 2", rank=1)
    with nobody_left(child):
        child.until(lambda: PAUSED in child.said)
        child.tell(number)
        code = child.wait(60)
    if number == signal.SIGKILL:
        assert code == -signal.SIGKILL
    else:
        assert code == 1
        assert len(child.errors) == 1, child.said
        assert signal.Signals(number).name in child.errors[0]
        assert "Traceback" not in child.said
        assert sealed(project)[-1].name == "checkpoint-9"
    assert sealed(project)[-1].name in ("checkpoint-6", "checkpoint-9")
    assert finish(project, *TWO)[0] == 0
    same(project, tiny_base)


@pytest.mark.slow
def test_ctrl_c_reaches_all_at_once_and_again(project: Project, tiny_base: Path) -> None:
    """A terminal tells every process; the launcher then tells its own once more."""
    child = Child(project, *TWO, at=f"{STEP}:9", act="pause 1", rank=1)
    with nobody_left(child):
        child.until(lambda: PAUSED in child.said)
        for process in reversed(child.family()):
            process.send_signal(signal.SIGINT)
        assert child.wait(60) == 1
    assert len(child.errors) == 1, child.said
    assert sealed(project)[-1].name == "checkpoint-9"


@pytest.mark.slow
def test_one_of_them_is_told_to_stop(project: Project) -> None:
    """All stop after the same step, and the error names the signal."""
    child = Child(project, *TWO, at=f"{STEP}:9", act="SIGTERM", rank=1)
    assert child.wait() == 1
    assert len(child.errors) == 1, child.said
    assert "stopped by SIGTERM after step 9 of 12" in child.errors[0]
    assert sealed(project)[-1].name == "checkpoint-9"


@pytest.mark.slow
def test_what_the_second_one_writes_belongs_to_a_checkpoint(project: Project) -> None:
    """It is slow with its own file: the seal waits for it."""
    at = "transformers.trainer:Trainer._save_rng_state:4"
    child = Child(project, *TWO, at=at, act="pause 2", rank=1, every=OFTEN)
    child.until(lambda: PAUSED in child.said)
    time.sleep(1)
    assert sealed(project)[-1].name == "checkpoint-3"
    assert child.wait() == 0, child.said


@pytest.mark.slow
@pytest.mark.parametrize(
    "train", [{"effective_batch": 23}, {"effective_batch": 1}], ids=["last batch", "every batch"]
)
def test_a_share_may_be_empty(tmp_path: Path, tiny_base: Path, train: dict[str, int]) -> None:
    """Of one picture the second process gets none; of val's only one neither."""
    project = prepare(tmp_path / "project", tiny_base, **PLAIN, epochs=1, **train)
    code, said = finish(project, *TWO)
    assert code == 0, said
    same(project, tiny_base, epochs=1, **train)


@pytest.mark.slow
def test_val_may_be_smaller_than_the_number_of_processes(project: Project, tmp_path: Path) -> None:
    one = list(read_rows(project.workspace.split("val")))[:1]
    write_rows(project.workspace.split("val"), one)
    code, said = finish(project, *TWO)
    assert code == 0, said
    assert [row["accuracy"] in (0, 1) for row in history(project)["val"]] == [True, True]


@pytest.mark.slow
def test_an_error_of_all_is_told_once_with_its_exit_code(project: Project) -> None:
    rows = list(read_rows(project.workspace.split("train")))
    write_rows(project.workspace.split("train"), [])
    child = Child(project, *TWO)
    assert child.wait() == 1
    assert len(child.errors) == 1
    assert "training split is empty" in child.errors[0]
    assert "Traceback" not in child.said
    write_rows(project.workspace.split("train"), rows)
    base = project.config.base.model_copy(update={"model": "nowhere/./at all"})
    config = project.config.model_copy(update={"base": base}).model_dump(mode="json", by_alias=True)
    (project.workspace.root / "pocketvlm.yaml").write_text(json.dumps(config))
    child = Child(project, *TWO)
    assert child.wait() == 2
    assert len(child.errors) == 1
    assert child.errors[0].startswith("error: base.model: ")


def test_what_the_first_one_finds_ends_all(project: Project) -> None:
    """Only it compares the splits; the other one must not wait for one that has gone."""
    rows = list(read_rows(project.workspace.split("train")))
    write_rows(project.workspace.split("val"), rows[:4])
    started = time.monotonic()
    code, said = finish(project, *TWO)
    assert code == 1
    assert "of val are in train too" in " ".join(said.split())
    assert "Traceback" not in said
    assert time.monotonic() - started < 25  # torch's launcher kills after 30 what does not end


@pytest.mark.slow
def test_a_full_disk_is_told_once(tmp_path: Path, tiny_base: Path) -> None:
    project = prepare(tmp_path / "project", tiny_base, **PLAIN)
    at = "transformers.trainer:Trainer._save_checkpoint:9 > torch:save:2"
    with small_disk(project.workspace.root / "state" / "checkpoints", 32) as disk:
        child = Child(project, *TWO, at=at, act=f"fill {disk}", every=OFTEN)
        assert child.wait() == 1
        assert len(child.errors) == 1, child.said
        assert str(disk) in child.errors[0] and "Traceback" not in child.said
        assert sealed(project)[-1].name == "checkpoint-8"


@pytest.mark.slow
def test_run_passes_it_on(project: Project, tiny_base: Path) -> None:
    code, said = finish(project, "run", "--from", "train", "--until", "train", "--nproc", "2")
    assert code == 0, said
    assert said.count("Training on 2 processes") == 1
    same(project, tiny_base)


LAUNCHER = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")


@pytest.mark.slow
def test_under_torchrun(project: Project, tiny_base: Path) -> None:
    """Real launchers, real imports: stopped by SIGTERM, then finished by `--nproc`."""
    root = project.workspace.root
    config = ["train", "-c", str(root / "pocketvlm.yaml"), "--set", "train.epochs=60"]
    config += ["--set", "train.patience=60"]
    with (root.with_name("torchrun.log")).open("w+") as log:
        torchrun = subprocess.Popen([*LAUNCHER, "-m", "pocketvlm", *config], stdout=log, stderr=log)
        while not sealed(project):
            assert torchrun.poll() is None, root.with_name("torchrun.log").read_text()
            with_children = psutil.Process(torchrun.pid).children(recursive=True)
        torchrun.terminate()
        assert torchrun.wait(60) != 0
        _, alive = psutil.wait_procs(with_children, timeout=30)
        assert not alive
        said = root.with_name("torchrun.log").read_text()
    assert said.count("error: stopped by SIGTERM after step ") == 1
    step = sealed(project)[-1].name
    command = [sys.executable, "-m", "pocketvlm", *config, "--nproc", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert f"Going on from {step} " in done.stderr
    assert json.loads(done.stdout)["epochs"] == 60
    assert not left(project)
