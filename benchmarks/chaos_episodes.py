"""What ends a run besides a kill: a full disk in each stage, and the kernel that is out of memory.
They need a small disk and a control group, so mostly root; what cannot be had is skipped."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chaos_audit import Finding, audit_leftovers, named
from chaos_kills import LOOK, NAMES, Aim, Running

DISK = 400
"""MiB of the small disk."""

MEMORY = 500
"""MiB under which the training of the demo's student cannot live."""

GROUPS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max"),
)
"""Where control groups live, and the file of their limit: version 1, then version 2."""

FILLER = "filler"


class Unavailable(Exception):
    """This machine has no such thing, or does not let us have it."""


def full_disk(root: Path, begin: Callable[[], Running]) -> list[Finding]:
    """The disk of a workspace is filled just after each stage has begun, and emptied again."""
    unclear: list[str] = []
    for stage in NAMES:
        running = begin()
        if not until(running, stage):
            return [(f"full disk: {stage} was not reached: {running.last_words}", False)]
        os.killpg(running.process.pid, signal.SIGSTOP)  # or a short stage would be over by then
        fill(root)
        os.killpg(running.process.pid, signal.SIGCONT)
        code = running.finish()
        (root / FILLER).unlink()
        said = running.log.read_text(errors="replace")
        print(f"       full disk in {stage}: {said.splitlines()[-1]}", flush=True)
        if code != 1 or not clear(said):
            unclear.append(stage)
    last = begin()
    return [
        (
            f"full disk in {len(NAMES)} stages: {named('ended without a clear word', unclear)}",
            not unclear,
        ),
        (f"full disk: once there was room, the run ended with {last.finish()}", not last.finish()),
        audit_leftovers(root),
    ]


def until(running: Running, stage: str) -> bool:
    """Wait until a stage has begun; False when the run ends before."""
    aim = Aim("inside", stage, 0.0)
    while running.process.poll() is None:
        if running.due(aim):
            return True
        time.sleep(LOOK)
    return False


def clear(said: str) -> bool:
    """Whether the last line says that the disk is full, and where, and nothing is dumped."""
    last = said.splitlines()[-1]
    full = any(words in last for words in ("No space left", "make room"))
    return last.startswith("error: ") and full and "/" in last and "Traceback" not in said


def fill(folder: Path) -> None:
    """Leave nothing on a folder's disk."""
    with (folder / FILLER).open("wb") as file, suppress(OSError):
        while free := shutil.disk_usage(folder).free:
            os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of its own at `folder`. Unavailable."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        raise Unavailable("there is no mount here") from None
    if done.returncode:
        raise Unavailable(f"no small disk can be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def out_of_memory(begin: Callable[[], Running]) -> list[Finding]:
    """Training in less memory than it needs: the kernel kills it. The next run has enough."""
    with small_memory() as join:
        running = begin()
        join(running.process.pid)
        killed = running.finish()
        running.look()
    after = begin()
    code = after.finish()
    said = "out of memory" in after.log.read_text()
    return [
        (f"out of memory: ended by signal {-killed} in {running.at}", killed == -9),
        (f"out of memory: the next run says so ({said}) and ended with {code}", said and not code),
    ]


@contextmanager
def small_memory() -> Iterator[Callable[[int], object]]:
    """A control group with little memory; the value puts a process into it. Unavailable."""
    group = limited_group()
    try:
        yield lambda pid: (group / "cgroup.procs").write_text(str(pid))
    finally:
        group.rmdir()


def limited_group() -> Path:
    """Make the group."""
    for parent, limit in GROUPS:
        group = parent / f"pocketvlm-{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
            if (group / limit).is_file():
                (group / limit).write_text(str(MEMORY << 20))
                return group
            group.rmdir()
    raise Unavailable("no control group with a limit of memory can be made")
