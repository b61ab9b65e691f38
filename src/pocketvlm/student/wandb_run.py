"""A training as a W&B run: always recorded on the disk, and sent by another process.

W&B's own online mode is not used. There a table asks the server in the middle of a step (0.31:
`Run.log` of a table calls `Artifact._expected_type`), a start that failed leaves the run's id
taken, so that the same process cannot go on offline (wandb/wandb#9865), and an answer that is no
W&B's ends the helper process that also records. Recording asks no server."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from pocketvlm.errors import ConfigError
from pocketvlm.keys import LOOPBACK, read_key
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.workspace import Row

KEY = "WANDB_API_KEY"

ANSWER_WITHIN = 10.0
"""Seconds that a server may take to say that it is there."""

REST_WITHIN = 30.0
"""Seconds at the end of a training for what is not sent yet."""

SENDING = str(Path(__file__).with_name("sending.py"))
"""A script: as a module it would load torch for nothing."""

QUIET = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "disable_job_creation": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "program": "pocketvlm",
}
"""Nothing is collected that the project does not hand over: no command line, environment, code, git
remote, package list or console; nothing is printed. Memory and GPU use are figures of our own."""


class WandbRun:
    """One run, from its first training to its last resumption. Close it in any case."""

    name = "W&B"

    def __init__(self, project: Project, run: str, resumed: bool, settings: Row) -> None:
        track, self.id = project.config.track, run
        self.folder = project.workspace.logs / "wandb"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.online = track.wandb == "online"
        self.key = needed_key(project) if self.online else ""
        self.sender: subprocess.Popen[bytes] | None = None
        _keep_to(self.folder)
        import wandb  # after the environment is set

        self.table, self.image = wandb.Table, wandb.Image
        self.run = wandb.init(
            settings=wandb.Settings(
                mode="offline",
                root_dir=str(project.workspace.logs),
                project=track.project,
                run_id=run,
                resume="allow" if resumed else None,
                reinit="create_new",
                finish_timeout=ANSWER_WITHIN,
                x_transaction_log_flush_interval=2,
                **QUIET,
            ),
            config=settings,
        )
        self.written = Path(self.run.dir).parent
        self.run.define_metric("step")
        self.run.define_metric("*", step_metric="step")
        if self.online:
            self._go_online()

    def figures(self, values: dict[str, float], step: int) -> None:
        """One row. W&B's own counter must rise, so a resumed training's step is a figure."""
        self.run.log(values | {"step": step})

    def mistakes(self, rows: Sequence[tuple[Path, str, str]], step: int) -> None:
        """A table of pictures with label and answer."""
        data = [[self.image(str(path)), label, answer] for path, label, answer in rows]
        table = self.table(columns=["image", "label", "answer"], data=data)
        self.run.log({"val/mistakes": table, "step": step})

    def close(self, finished: bool) -> None:
        """End the run; waits at most `REST_WITHIN` seconds for the rest to be sent."""
        self.run.finish(exit_code=0 if finished else 1)
        if self.sender:
            self._wait_for_sender(self.sender)
        if not self._sent():
            say(
                f"W&B: the run is on the disk; this sends it, with {KEY} in the environment: "
                f"{self.command()}"
            )

    def command(self) -> str:
        """What sends the run later, with all its resumptions."""
        return f"wandb sync {shlex.quote(str(self.folder))}/offline-run-*-{self.id}"

    def _go_online(self) -> None:
        """Start to send, if the server is there."""
        settings: Any = self.run.settings
        try:
            account = greet(settings.base_url, self.key)
        except Unanswered as error:
            say(
                f"W&B: {shown(settings.base_url)} {error}. The training goes on offline; at its "
                "end follows the command that sends it"
            )
            return
        self.sender = subprocess.Popen(
            [sys.executable, "-P", SENDING, str(self.written), str(REST_WITHIN)],
            env=_own_service()
            | {KEY: self.key, "WANDB_BASE_URL": settings.base_url}
            | {"WANDB_DIR": str(self.folder.parent)},  # else its logs lie in the current folder
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the training, which then says good-bye
        )
        owner = settings.entity or account
        say(f"W&B: {settings.app_url}/{owner}/{settings.project}/runs/{self.id}")

    def _wait_for_sender(self, sender: "subprocess.Popen[bytes]") -> None:
        assert sender.stdin
        sender.stdin.close()
        try:
            sender.wait(2)
        except subprocess.TimeoutExpired:
            say(f"W&B: sending the rest, at most {REST_WITHIN:.0f} s ...")
        try:
            sender.wait(REST_WITHIN)
        except subprocess.TimeoutExpired:
            sender.kill()
            sender.wait()

    def _sent(self) -> bool:
        """W&B's own mark; its exit code is 0 also where nothing arrived."""
        return (self.written / f"run-{self.id}.wandb.synced").exists()


def needed_key(project: Project) -> str:
    """The key; ConfigError when there is none."""
    root = project.workspace.root
    if key := read_key(KEY, root):
        return key
    raise ConfigError(
        f"track.wandb: online needs a key: put {KEY}=... into the environment or {root / '.env'}, "
        "or set track.wandb: offline"
    )


class Unanswered(Exception):
    """The server cannot take a run; the message says why."""


def greet(base_url: str, key: str) -> str:
    """The account that the key belongs to; `Unanswered` after `ANSWER_WITHIN` seconds at most."""
    try:
        reply = httpx2.post(
            f"{base_url.rstrip('/')}/graphql",
            json={"query": "query Viewer { viewer { entity } }"},
            auth=("api", key),
            timeout=ANSWER_WITHIN,
            trust_env=urlsplit(base_url).hostname not in LOOPBACK,
        )
    except httpx2.TimeoutException:
        raise Unanswered(f"does not answer within {ANSWER_WITHIN:.0f} s") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, OSError, ImportError) as error:
        raise Unanswered(f"cannot be reached ({error})") from None
    if reply.status_code in (401, 403):
        raise Unanswered(f"does not know the key in {KEY}")
    if not reply.is_success:
        raise Unanswered(f"answers with status {reply.status_code}")
    try:
        viewer = reply.json()["data"]["viewer"]
        entity = viewer and viewer["entity"]
    except (ValueError, KeyError, TypeError):
        raise Unanswered("does not answer as W&B does") from None
    if not viewer:
        raise Unanswered(f"does not know the key in {KEY}")
    return str(entity or "")


def shown(address: str) -> str:
    """An address without a name or a password in it."""
    return urlsplit(address).netloc.rpartition("@")[2] or "the server"


def _keep_to(folder: Path) -> None:
    """No telemetry, and no file outside the workspace. W&B reads both from the environment only."""
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    os.environ["WANDB_DATA_DIR"] = os.environ["WANDB_CACHE_DIR"] = str(folder / "cache")


def _own_service() -> dict[str, str]:
    """The environment, without the training's own W&B service: the sender must not share it."""
    hidden = {"WANDB_X_DISABLE_MACHINE_INFO": "true", "WANDB_X_DISABLE_META": "true"}
    return {name: text for name, text in os.environ.items() if name != "WANDB_SERVICE"} | hidden
