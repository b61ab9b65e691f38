"""Several processes at one training: torch's launcher starts them, one of them writes files.

Under `torchrun` every process runs the command itself; `--nproc` starts them from here. The
workspace is one folder that all of them see.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar, cast

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from pocketvlm.errors import ConfigError, PocketError, Stopped
from pocketvlm.progress import console, handed_on, say
from pocketvlm.project import Project
from pocketvlm.workspace import Row

T = TypeVar("T")

TALKATIVE = (
    "torch.distributed.elastic",
    "torch.distributed.elastic.agent.server.api",
    "torch.multiprocessing",
)
"""Loggers of the launcher: what they say is said in our words."""

PATIENCE = 3600
"""Seconds in which a process that is told to end finishes its step, or its questions about val, and
writes a checkpoint."""

LAUNCHER = 2.0
"""Seconds in which a launcher has seen that a process is gone."""


class Ranks(NamedTuple):
    """Which of how many processes this is."""

    rank: int
    processes: int

    @property
    def first(self) -> bool:
        """Whether this one writes the files and talks."""
        return self.rank == 0

    def wait(self) -> None:
        """Until every process has come here."""
        if self.processes > 1:
            PartialState().wait_for_everyone()

    def gather(self, rows: list[T]) -> list[T]:
        """The rows of all processes, in the order of the processes, in each of them."""
        return list(gather_object(rows)) if self.processes > 1 else rows

    def agreed(self, work: Callable[[], T]) -> T:
        """What the first process's `work` gives, in all of them; also its PocketError, so that
        none waits for one that has gone."""
        found: T | PocketError | None = None
        if self.first:
            try:
                found = work()
            except PocketError as error:
                found = error
        [found, *_] = self.gather([found])
        if isinstance(found, PocketError):
            raise found
        return cast(T, found)

    @contextmanager
    def all_alive(self) -> Iterator[None]:
        """PocketError when another process is gone; the launcher learns first which one it was."""
        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, DistError) and "gloo" not in str(error):  # gloo's are plain
                raise
            time.sleep(LAUNCHER)
            raise PocketError(
                "another process of the training died: run the same command to go on from the "
                "last checkpoint"
            ) from None

    @classmethod
    def here(cls) -> "Ranks":
        """As torch's launcher says in the environment; alone without it."""
        return cls(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


def launch(project: Project, processes: int) -> Row:
    """Train in `processes` processes on this machine; the first one's figures.

    PocketError with what stopped them: one that dies ends all. ConfigError when GPUs are fewer."""
    gpus = torch.cuda.device_count()
    if torch.backends.mps.is_available():
        raise ConfigError("--nproc: processes cannot share Apple's GPU: leave it out")
    if 0 < gpus < processes:
        raise ConfigError(f"--nproc {processes}: each process needs a GPU, this machine has {gpus}")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="pocketvlm",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="spawn",
        max_restarts=0,
        monitor_interval=0.2,
        shutdown_timeout=PATIENCE,
    )
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    say(f"Starting {processes} processes ...")
    try:
        figures: Row = elastic_launch(config, one_of_many)(project)[0]
    except ChildFailedError as failed:
        raise _told(failed.get_first_failure()) from None
    except SignalException as stopped:
        raise Stopped(
            f"stopped by {stopped.sigval.name}: the last checkpoint is kept, run the same command "
            "to go on"
        ) from None
    return figures


def one_of_many(project: Project) -> Row:
    """The work of one process."""
    from pocketvlm.student.train import train

    ranks = Ranks.here()
    try:
        with handed_on(project.workspace.root if ranks.first else None):
            return train(project)
    except OSError as error:  # a full disk, as the command line tells it
        said = f"{error.strerror or error}: {error.filename or 'no file named'}"
        raise PocketError(said) from None


def quiet_unless_first(ranks: Ranks) -> None:
    """Only the first process talks to people."""
    console.quiet = console.quiet or not ranks.first


def _told(failure: tuple[int, ProcessFailure]) -> PocketError:
    """The error of the process that failed first, in its own words where it had some."""
    rank, what = failure
    said = what.message["message"] if isinstance(what.message, dict) else ""
    kind, _, words = said.partition(": ")
    for known in (PocketError, ConfigError, Stopped):
        if kind == known.__name__:
            return known(words)
    if isinstance(what.message, dict):
        say(what.message["extraInfo"]["py_callstack"])  # a mistake of ours
    how = f"{said[:300]}" if said else signal_or_code(what.exitcode)
    return PocketError(
        f"process {rank} of the training died ({how}), so all were ended: run the same command to "
        "go on from the last checkpoint"
    )


def signal_or_code(code: int) -> str:
    """How a process ended, in words: torch gives signals as negative exit codes."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
