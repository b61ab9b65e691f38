"""A project that is ready to be bundled: converted tiny files and figures about them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketvlm.config import parse_config
from pocketvlm.export import export_text, export_vision
from pocketvlm.project import Project
from pocketvlm.workspace import Row, sha256_file, write_json, write_rows

SIDE = 64
LABELS = {"water": "seas", "fire|heat": "flames"}


def project_in(root: Path) -> Project:
    """Two labels, 64 pixel bitmaps."""
    settings = {"task": {"question": "Which | `one`?", "labels": LABELS}, "device": {"side": SIDE}}
    return Project.of(parse_config(settings), root)


def figures_of(project: Project) -> Row:
    """What validate writes, as far as the bundle reads it: the second vision type ships."""
    files = project.workspace.text_gguf("Q8_0"), project.workspace.vision_gguf("Q8_0")
    gate = {"wanted": 0.85, "found": 0.826, "passed": False, "by": 0.024, "bound": "least"}
    return {
        "accuracy": 0.9,
        "ci": [0.826, 0.945],
        "n": 100,
        "truth": "known",
        "split": "test",
        "model": files[0].name,
        "mmproj": files[1].name,
        "type": "Q8_0",
        "mmproj_type": "Q8_0",
        "files": {file.name: sha256_file(file) for file in files},
        "contract": project.contract.hash,
        "ms_per_picture": 12.3,
        "audit": {"first_break": None},
        "ways": {
            "greedy": {"accuracy": 0.9, "ci": [0.826, 0.945], "ms": 12.3, "change": None},
            "likelihood": {"accuracy": 0.92, "ci": [0.85, 0.96], "ms": 14.6, "change": {}},
            "grammar": {"accuracy": 0.91, "ci": [0.838, 0.952], "ms": 12.4, "change": {}},
        },
        "calibration": {
            "temperatures": {"Q8_0": 1.25, "F16": 1.3},
            "temperature": 1.25,
            "n_val": 120,
            "ece": 0.03,
            "sure": 0.95,
            "unsure_below": 0.71,
            "coverage": 0.8,
            "accuracy_when_sure": 0.975,
        },
        "gates": {"accuracy": gate},
        "warnings": ["only 100 pictures were asked"],
    }


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Random tiny files and their figures; no test changes it."""
    from pocketvlm.student.tiny import save_tiny

    root = tmp_path_factory.mktemp("converted")
    project = project_in(root)
    save_tiny(root / "merged", words=LABELS, side=SIDE)
    export_text(root / "merged", project.workspace.text_gguf("Q8_0"), "Q8_0")
    export_vision(root / "merged", project.workspace.vision_gguf("Q8_0"), "Q8_0", SIDE)
    write_json(project.workspace.report / "metrics.json", figures_of(project))
    add_pictures(project)
    return project


def add_pictures(project: Project) -> None:
    """A picture a label, one of them with its original."""
    (project.workspace.dataset / "images").mkdir(parents=True)
    noise = np.random.default_rng(0)
    rows = []
    for at, label in enumerate(LABELS):
        original = noise.integers(0, 256, (90, 70 + at, 3), np.uint8)
        bitmap = project.contract.bitmap(original)
        Image.fromarray(bitmap).save(project.workspace.dataset / f"images/{at}.png")
        Image.fromarray(original).save(project.workspace.root / f"original-{at}.png")
        rows.append({"image": f"images/{at}.png", "truth": label, "right": False})
    write_rows(project.workspace.report / "predictions.jsonl", rows)
    write_json(project.workspace.dataset / "originals.json", {"images/0.png": "original-0.png"})


@pytest.fixture
def project(converted: Project, tmp_path: Path) -> Project:
    """A copy that a test may spoil."""
    return project_in(Path(shutil.copytree(converted.workspace.root, tmp_path / "project")))
