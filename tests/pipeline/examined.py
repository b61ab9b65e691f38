"""Projects for the doctor's tests, and a doctor that asks one thing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from pocketvlm.config import parse_config
from pocketvlm.demo.demo import BASE
from pocketvlm.pipeline.doctor.found import Found
from pocketvlm.pipeline.stages import STAGES
from pocketvlm.project import Project
from tests.pipeline.conftest import draw_pictures

KEY = "POCKETVLM_TEST_KEY"
ALL = frozenset(stage.name for stage in STAGES)


def project(root: Path, **sections: Any) -> Project:
    """Two pictures, the demo's base and a teacher that needs a key."""
    draw_pictures(root / "pictures", 2)
    teacher = {"api_key_env": KEY, "base_url": "https://teacher.invalid/v1"}
    config = {"base": {"model": str(BASE)}, "teachers": [teacher]}
    return Project.of(parse_config(config | sections), root)


def asked(check: Callable[[Found], None], project: Project, *due: str) -> Found:
    """What one check finds."""
    found = Found(project, frozenset(due) or ALL)
    with found.going_on():
        check(found)
    return found


def write_weights(path: Path) -> bytes:
    """A small safetensors file; its bytes."""
    save_file({"x": np.zeros(1000, np.float32)}, path)
    return path.read_bytes()
