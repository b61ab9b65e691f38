"""The scripts at the root, in a clone whose pocketvlm only writes down what it was asked."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from pocketvlm.project import Project
from tests.e2e.test_whole_way import colour_project

ROOT = Path(__file__).parents[2]

RECORDER = """#!{python}
import json, pathlib, sys
with open({told!r}, "a") as told:
    told.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "init":
    folder = pathlib.Path(sys.argv[2])
    folder.mkdir(exist_ok=True)
    (folder / "pocketvlm.yaml").touch()
sys.exit(int(sys.argv[1] == {fails!r}) * 2)
"""

NAMES = ("NUM_IMAGES", "MIN_CONFIDENCE", "BATCH_SIZE", "GRAD_ACCUM", "NUM_EPOCHS", "LEARNING_RATE")
KNOWN = {*NAMES, "LORA_R", "PROJECT"}


class Checkout:
    """A clone that is set up: the scripts, and a `.venv` whose pocketvlm is a recorder, where the
    command `fails` exits with 2, or this environment's `real` one."""

    def __init__(self, folder: Path, fails: str = "", real: bool = False) -> None:
        self.folder = folder
        self.told_file = folder / "told.jsonl"
        for name in ("quickstart.sh", "run_remote.sh", "convert_to_gguf.sh", "Makefile"):
            shutil.copy(ROOT / name, folder)
        for name in ("requirements.txt", "pyproject.toml"):
            (folder / name).touch()
        program = folder / ".venv" / "bin" / "pocketvlm"
        program.parent.mkdir(parents=True)
        if real:
            program.symlink_to(Path(sys.executable).with_name("pocketvlm"))
        else:
            told = str(self.told_file)
            program.write_text(RECORDER.format(python=sys.executable, told=told, fails=fails))
            program.chmod(0o755)
        (folder / ".venv" / ".ready").touch()

    def run(self, script: str, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a script there with only these of its variables set."""
        kept = {name: value for name, value in os.environ.items() if name not in KNOWN}
        return subprocess.run(
            [f"./{script}", *words],
            cwd=self.folder,
            env=kept | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def told(self) -> list[list[str]]:
        """What pocketvlm was asked, a list of words a call."""
        if not self.told_file.exists():
            return []
        return [json.loads(line) for line in self.told_file.read_text().splitlines()]


def quick_project(root: Path) -> Project:
    """Goes the whole way in seconds, with a student that has learnt too little for any gate."""
    train = {"epochs": 2, "effective_batch": 4}
    lenient = {"gates": {"accuracy": 0}, "audit": {"answers": 0.01}}
    project = colour_project(root, train=train, **lenient)
    config = project.config.model_dump(mode="json", by_alias=True)
    (root / "pocketvlm.yaml").write_text(json.dumps(config))
    return project
