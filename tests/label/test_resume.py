"""Stopped by a kill or by Ctrl-C, labelling goes on where it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pocketvlm.label import label
from pocketvlm.label.client import encode_picture
from pocketvlm.project import Project
from pocketvlm.workspace import read_rows

from .conftest import answers, make
from .server import Server

PICTURES = 40
# A shell starts background jobs with SIGINT ignored, and what they start inherits that.
COMMAND = """
import signal
from pocketvlm.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


def start(project: Project) -> "subprocess.Popen[str]":
    """Label in a process of its own; come back when some answers are written down."""
    command = [sys.executable, "-c", COMMAND, "label", "-c", "pocketvlm.yaml"]
    process = subprocess.Popen(
        command, cwd=project.workspace.root, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    deadline = time.monotonic() + 60
    while answered(project) < 8:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def answered(project: Project) -> int:
    """Whole answer rows so far."""
    path = project.workspace.answers
    return path.read_bytes().count(b'"kind": "answer"') if path.is_file() else 0


def test_killed_and_resumed_no_answered_picture_is_asked_twice(
    tmp_path: Path, server: Server
) -> None:
    server.delay = 0.05
    project = make(tmp_path, PICTURES, server.url, concurrency=3)
    process = start(project)
    process.kill()
    process.communicate()
    paid = {row["picture"] for row in answers(project)}
    assert 8 <= len(paid) < PICTURES

    server.asked.clear()
    assert label(project)["status"] == {"ok": PICTURES}
    sent = {
        encode_picture(project.workspace.originals / row["file"], 1024)[0]: row["sha256"]
        for row in read_rows(project.workspace.index)
    }
    asked = [sent[image] for image in server.images()]
    assert len(asked) == len(set(asked)) == PICTURES - len(paid)
    assert not paid & set(asked)


def test_interrupted_it_ends_at_once_and_keeps_what_it_has(tmp_path: Path, server: Server) -> None:
    server.delay = 0.05
    project = make(tmp_path, PICTURES, server.url, concurrency=3)
    process = start(project)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert process.returncode > 0
    assert "Traceback" not in said
    assert 8 <= len(answers(project)) < PICTURES
