"""A workspace with a folder of pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketvlm.config import parse_config
from pocketvlm.project import Project


def save(path: Path, seed: int = 0, size: tuple[int, int] = (48, 40)) -> Path:
    """Write a picture of random pixels; the name's ending decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "pictures").mkdir()
    return Project.of(parse_config({"collect": {"licence": "CC0-1.0"}}), tmp_path)


@pytest.fixture
def pictures(project: Project) -> Path:
    return project.path(project.config.collect.folder)
