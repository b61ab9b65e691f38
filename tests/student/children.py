"""Trainings in processes of their own, which end as real ones do: killed, told to stop, short of
disk.

A child runs the real command. At a named moment something befalls it: a signal, or a full disk."""

import importlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest
from torch.distributed.launcher.api import LaunchConfig

from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_json
from tests.student.conftest import make_project

FORKS = multiprocessing.get_context("forkserver")
"""Starts children in milliseconds: torch and transformers are imported once."""
FORKS.set_forkserver_preload([__name__, "pocketvlm.cli", "pocketvlm.student", "matplotlib.figure"])

STEP = "pocketvlm.student.trainer:StudentTrainer.training_step"
SEAL = "pocketvlm.student.checkpoints:seal"
LOOK = "pocketvlm.student.cache:Shard.append"
EVALUATION = "pocketvlm.student.trainer:StudentTrainer._judged"
SAVE = "pocketvlm.student.train:_save"

HARD: dict[str, Any] = {"dropout": 0.05, "mirror": True, "balanced": True}
"""Everything that draws lots."""


def prepare(root: Path, base: Path, **train: Any) -> Project:
    """A prepared project with its configuration beside it; 6 steps an epoch, 2 epochs."""
    project = make_project(root, base, **{"epochs": 2, **HARD, **train})
    config = project.config.model_dump(mode="json", by_alias=True)
    (root / "pocketvlm.yaml").write_text(json.dumps(config))  # which is YAML too
    return project


class Child:
    """One command in its own process. `at` is "module:name:n", the moment before the n-th call of a
    function, or several joined by " > ", each counted from the one before; `act` is what happens
    there, to the process `rank` if there are several: a signal's name, "fill FOLDER", or "pause
    SECONDS". `every`: seconds between checkpoints, and until features are forced to the disk."""

    def __init__(
        self,
        project: Project,
        *options: str,
        at: str = "",
        act: str = "",
        rank: int = 0,
        every: float = 0,
    ) -> None:
        self.log = project.workspace.root.with_name(f"{project.workspace.root.name}.log")
        config = str(project.workspace.root / "pocketvlm.yaml")
        command = [options[0] if options else "train", "-c", config, *options[1:]]
        self.log.touch()
        self.process: ForkServerProcess = FORKS.Process(
            target=_live, args=(command, str(self.log), at, act, rank, every)
        )
        self.process.start()

    def wait(self, seconds: float = 120) -> int:
        """The exit code; negative after a signal."""
        self.process.join(seconds)
        code = self.process.exitcode
        if code is None:
            for process in self.family():
                process.kill()
            raise AssertionError(f"still at work after {seconds} s:\n{self.said}")
        return code

    @property
    def said(self) -> str:
        """Everything it printed."""
        return self.log.read_text()

    @property
    def errors(self) -> list[str]:
        """Its last words, one line an error."""
        return [line for line in self.said.splitlines() if line.startswith("error: ")]

    def until(self, reached: Callable[[], object], seconds: float = 120) -> None:
        """Wait for something while it is at work."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert self.process.is_alive() and time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def tell(self, number: int) -> None:
        """Send a signal from outside."""
        assert self.process.pid
        os.kill(self.process.pid, number)

    def family(self) -> list[psutil.Process]:
        """It and the processes that it has started."""
        me = psutil.Process(self.process.pid)
        return [me, *me.children(recursive=True)]


def finish(project: Project, *options: str, **fate: Any) -> tuple[int, str]:
    """Run a command to its end: exit code, and what it said."""
    child = Child(project, *options, **fate)
    return child.wait(), child.said


def history(project: Project) -> Row:
    """What a finished training learnt, step by step, and its adapter's bytes."""
    adapter = project.workspace.adapter
    told = read_json(adapter / "history.json")
    weights = (adapter / "adapter_model.safetensors").read_bytes()
    return {"train": told["train"], "val": told["val"], "best": told["best"], "weights": weights}


@cache
def undisturbed(base: Path, **train: Any) -> Row:
    """What a training learns when nothing happens to it."""
    with TemporaryDirectory() as folder:
        project = prepare(Path(folder) / "project", base, **train)
        code, said = finish(project)
        assert code == 0, said
        return history(project)


def sealed(project: Project) -> list[Path]:
    """Checkpoints that claim to be whole, in their order."""
    seals = project.workspace.root.glob("state/checkpoints/*/checkpoint-*/sealed.json")
    return sorted((seal.parent for seal in seals), key=lambda path: int(path.name.split("-")[1]))


def left(project: Project) -> list[Path]:
    """What is in state/checkpoints."""
    return list((project.workspace.root / "state" / "checkpoints").glob("*"))


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A disk of its own at `folder`; skips where none may be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={mebibytes}m"
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", size, "tmpfs", folder], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


FILLER = "filler"
PAUSED = "paused"


def fill(folder: Path, free: int = 0) -> None:
    """Leave `free` bytes on a folder's disk."""
    size = shutil.disk_usage(folder).free - free
    with (folder / FILLER).open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def _live(command: list[str], log: str, at: str, act: str, rank: int, every: float) -> None:
    """The child's life: what it says goes to a file, what befalls it is arranged beforehand, and
    is inherited by the processes that it starts."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    from pocketvlm.cli import main
    from pocketvlm.student import cache as features
    from pocketvlm.student import checkpoints, ranks

    if every:
        checkpoints.EVERY = features.FLUSH = every
    if at:
        _arrange([moment.split(":") for moment in at.split(" > ")], act, str(rank))
    vars(ranks)["LaunchConfig"] = _forking
    sys.argv = ["pocketvlm", *command]
    main()


def _forking(**options: Any) -> LaunchConfig:
    """Processes of a training that inherit what befalls them, and need not import torch again."""
    return LaunchConfig(**options | {"start_method": "fork"})


def _arrange(moments: list[list[str]], act: str, rank: str) -> None:
    """Let the first moment arrange the next, and the last one act."""
    (module, names, nth), *later = moments
    owner: Any = importlib.import_module(module)
    *path, name = names.split(".")
    for part in path:
        owner = getattr(owner, part)
    original, calls = getattr(owner, name), 0

    def watched(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == int(nth) and os.environ.get("RANK", "0") == rank:
            if later:
                _arrange(later, act, rank)
            else:
                _act(act)
        return original(*args, **options)

    setattr(owner, name, watched)


def _act(act: str) -> None:
    what, _, argument = act.partition(" ")
    if what == "fill":
        fill(Path(argument))
    elif what == "pause":
        print(PAUSED, flush=True)
        time.sleep(float(argument))
    else:
        os.kill(os.getpid(), signal.Signals[what])
