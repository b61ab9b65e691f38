"""Pushing in a process of its own, again and again."""

import json
import os
import subprocess
import sys
from typing import Any

from pocketvlm.project import Project

from .hub import TOKEN, FakeHub

PROGRAM = """
import json, sys
from pathlib import Path
from pocketvlm.config import parse_config
from pocketvlm.errors import PocketError
from pocketvlm.exchange import push_dataset, push_model
from pocketvlm.project import Project
project = Project.of(parse_config(json.loads(sys.argv[2])), Path(sys.argv[1]))
for line in sys.stdin:
    what, repo, private = json.loads(line)
    try:
        if what == "dataset":
            figures = push_dataset(project, repo, private)
        else:
            figures = push_model(project, what, repo, private)
        print(json.dumps(figures), flush=True)
    except PocketError as error:
        print(json.dumps([type(error).__name__, str(error)]), flush=True)
"""


class Pusher:
    """`push_dataset` or `push_model` in a process of its own: the Hub's address is read when
    libraries load."""

    def __init__(
        self, hub: FakeHub, project: Project, token: str = TOKEN, what: str = "dataset"
    ) -> None:
        self.what = what
        root = project.workspace.root
        config = project.config.model_dump_json(by_alias=True)
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(root / "hf"), "HF_HUB_DISABLE_XET": "1"}
        self.errors = (root / "stderr").open("a")
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(root), config],
            env=os.environ | settings | {"HF_TOKEN": token},
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def __enter__(self) -> "Pusher":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def send(self, repo: str = "me/elements", private: bool = False) -> None:
        """Begin to push."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps([self.what, repo, private]) + "\n")
        self.process.stdin.flush()

    def push(self, repo: str = "me/elements", private: bool = False) -> Any:
        """Figures, or kind and words of an error; None when the process ended."""
        self.send(repo, private)
        assert self.process.stdout
        line = self.process.stdout.readline()
        return json.loads(line) if line else None
