"""A tiny student and a dataset of flat colours: enough to learn something in seconds."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketvlm.config import parse_config
from pocketvlm.project import Project
from pocketvlm.student.tiny import save_tiny
from pocketvlm.workspace import write_rows

COLOURS = {"sky": (40, 90, 220), "grass": (40, 160, 50)}
SIZES = {"train": 24, "val": 8, "test": 8}

REASON = "because of its secret structure"
"""What the teacher said, which the student must never see."""


def make_project(root: Path, base: Path, **train: object) -> Project:
    """Two labels told apart by colour, under a 64 px contract, already prepared."""
    config = {
        "task": {
            "question": "Is this sky or grass?",
            "labels": {name: f"pictures of {name}" for name in COLOURS},
        },
        "device": {"side": 64},
        "base": {"model": str(base)},
        "train": {"effective_batch": 4, "learning_rate": 5e-3, **train},
    }
    project = Project.of(parse_config(config), root)
    rng = np.random.default_rng(0)
    (project.workspace.dataset / "images").mkdir(parents=True, exist_ok=True)
    for split, count in SIZES.items():
        rows = []
        for at in range(count):
            label = list(COLOURS)[at % 2]
            noise = rng.integers(-20, 20, (64, 64, 3))
            bitmap = (np.array(COLOURS[label]) + noise).clip(0, 255).astype(np.uint8)
            image = f"images/{split}{at}.png"
            Image.fromarray(bitmap).save(project.workspace.dataset / image)
            row = {"id": f"{at:064x}", "image": image, "label": label, "confidence": 1.0}
            rows.append(row | {"reason": REASON, "visual_features": [REASON]})
        write_rows(project.workspace.split(split), rows)
    project.record_contract(project.workspace.dataset)
    return project


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny student that knows the two labels as words."""
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny(folder, words=[*COLOURS, "Is", "this", "or"], side=64)
    return folder


@pytest.fixture
def project(tmp_path: Path, tiny_base: Path) -> Project:
    """A prepared project that has not been trained."""
    return make_project(tmp_path, tiny_base, epochs=1)
