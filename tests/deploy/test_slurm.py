"""deploy/pocketvlm.slurm in a real Slurm of one node, whose GPU is one in name only: signalled, it
writes a checkpoint, comes back and finishes."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pocketvlm.project import Project
from tests.deploy.scripts import ROOT, quick_project
from tests.deploy.test_torchrun import free_port

DAEMONS = ("munged", "slurmctld", "slurmd")

CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctl}
SlurmdPort={d}
SlurmUser=root
AuthInfo=socket={root}/munge.socket
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 Gres=gpu:1
PartitionName=main Nodes=ALL Default=YES State=UP
"""


class Cluster:
    """One node; commands are given its configuration."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.env = os.environ | {"SLURM_CONF": str(root / "slurm.conf")}
        host = socket.gethostname().partition(".")[0]
        for name in ("state", "spool"):
            (root / name).mkdir()
        conf = CONF.format(host=host, root=root, ctl=free_port(), d=free_port())
        (root / "slurm.conf").write_text(conf)
        (root / "gres.conf").write_text(f"NodeName={host} Name=gpu File=/dev/null\n")
        (root / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        (root / "munge.key").write_bytes(os.urandom(1024))
        (root / "munge.key").chmod(0o400)

    def daemons(self) -> list[list[str]]:
        """Their commands, in the foreground."""
        root = str(self.root)
        munge = [f"--{name}={root}/munge.{end}" for name, end in MUNGE.items()]
        return [
            ["munged", "--foreground", "--force", *munge],
            ["slurmctld", "-D"],
            ["slurmd", "-D"],
        ]

    def ask(self, *command: str, cwd: Path | None = None) -> str:
        """What a command of Slurm says."""
        done = subprocess.run(
            command, env=self.env, cwd=cwd, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        """What is known of a job."""
        return dict(
            word.split("=", 1)
            for word in self.ask("scontrol", "show", "job", number).split()
            if "=" in word
        )


MUNGE = {
    "key-file": "key",
    "socket": "socket",
    "pid-file": "pid",
    "log-file": "log",
    "seed-file": "seed",
}


AT_WORK = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING")
"""States in which Slurm still has something to do; 300 seconds after any other it forgets a job."""


def until(reached: Callable[[], object], what: str, seconds: float = 400) -> None:
    """Wait for another process; AssertionError says what did not come."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Started, and ended with the test; skips where Slurm is not here or does not start."""
    missing = [name for name in DAEMONS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and slurmctld, slurmd, munge of Debian; missing: {missing}")
    (tmp_path / "slurm").mkdir()
    cluster = Cluster(tmp_path / "slurm")
    with ExitStack() as stack:
        for command in cluster.daemons():
            log = stack.enter_context((cluster.root / f"{command[0]}.out").open("w"))
            daemon = subprocess.Popen(command, env=cluster.env, stdout=log, stderr=log)
            stack.callback(daemon.wait, 30)
            stack.callback(daemon.terminate)
            time.sleep(0.5)  # the next one asks this one
        try:
            until(lambda: cluster.ask("sinfo", "-h", "-o", "%T") == "idle", "no idle node", 30)
        except AssertionError as error:
            last = (cluster.root / "slurmd.out").read_text()[-500:]
            pytest.skip(f"Slurm does not start here: {error}; {last}")
        yield cluster


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Beside a `.venv`, as in a checkout."""
    project = quick_project(tmp_path / "my project")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return project


@pytest.mark.slow
def test_signalled_it_comes_back_and_finishes(cluster: Cluster, project: Project) -> None:
    folder = project.workspace.root.parent
    script = str(ROOT / "deploy" / "pocketvlm.slurm")
    small = ["--cpus-per-task=1", "--mem=4G"]
    job = cluster.ask("sbatch", "--parsable", *small, script, "my project", cwd=folder)
    log = folder / f"pocketvlm-{job}.log"

    def said(words: str) -> bool:
        return log.exists() and words in log.read_text()

    until(lambda: said("go through the model at once"), "no training")
    cluster.ask("scancel", "--batch", "--signal=USR1", job)
    until(lambda: cluster.job(job)["JobState"] == "PENDING", "not queued again")
    assert said("error: stopped by SIGTERM after step "), log.read_text()
    # Slurm starts no job again in the second in which it ended: "Job credential revoked".
    cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now+3")
    until(lambda: cluster.job(job)["JobState"] not in AT_WORK, "not ended")
    assert cluster.job(job)["JobState"] == "COMPLETED", log.read_text()
    assert cluster.job(job)["Restarts"] == "1"
    assert said("Going on from checkpoint-"), log.read_text()
    assert (project.workspace.bundle / "SHA256SUMS").is_file()


@pytest.mark.slow
def test_without_a_project_it_says_what_is_missing(cluster: Cluster, tmp_path: Path) -> None:
    script = str(ROOT / "deploy" / "pocketvlm.slurm")
    small = ["--cpus-per-task=1", "--mem=1G"]
    job = cluster.ask("sbatch", "--parsable", *small, script, cwd=tmp_path)
    until(lambda: cluster.job(job)["JobState"] not in AT_WORK, "not ended")
    assert cluster.job(job)["JobState"] == "FAILED"
    assert "name the project's folder" in (tmp_path / f"pocketvlm-{job}.log").read_text()
