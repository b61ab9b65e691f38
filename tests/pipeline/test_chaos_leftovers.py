"""What a run that was killed while it wrote a file leaves behind is gone after the next one."""

import signal
import subprocess
import sys
from pathlib import Path

from pocketvlm.config import parse_config
from pocketvlm.pipeline import run
from pocketvlm.project import Project
from tests.pipeline.conftest import draw_pictures

DIE = """
import os, signal, sys
from pathlib import Path
from pocketvlm.config import parse_config
from pocketvlm.pipeline import run
from pocketvlm.project import Project

replace = Path.replace

def die(self, target):
    if Path(target).name == "collect.json":
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)

Path.replace = die
run(Project.of(parse_config({}), Path(sys.argv[1])), last="collect")
"""


def test_a_half_written_manifest_goes(tmp_path: Path) -> None:
    draw_pictures(tmp_path / "pictures", 3)
    died = subprocess.run([sys.executable, "-c", DIE, tmp_path], capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    state = tmp_path / "state"
    assert list(state.glob(".collect.json.*"))
    run(Project.of(parse_config({}), tmp_path), last="collect")
    assert not [path.name for path in state.glob(".*")]
