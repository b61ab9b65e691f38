"""The whole way in one go: pictures in, two GGUF files and a verdict out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pocketvlm.config import parse_config
from pocketvlm.demo.scenes import write_scenes
from pocketvlm.demo.teacher import MODEL, serve
from pocketvlm.errors import GateMissed
from pocketvlm.pipeline import STAGES, run, why
from pocketvlm.project import Project
from pocketvlm.runtime.predict import predict
from pocketvlm.student.tiny import save_tiny
from pocketvlm.workspace import read_json

METRICS = (
    "accuracy n ci truth model mmproj type runtime majority macro_f1 per_class confusion one_word "
    "agreement ms_per_picture base ladder gates"
)


def colour_project(root: Path, **sections: Any) -> Project:
    """Sky and grass, told apart by colour, labelled by a file instead of a teacher."""
    colours = {"sky": (40, 90, 220), "grass": (40, 160, 50)}
    rng = np.random.default_rng(0)
    (root / "mine").mkdir(parents=True)
    lines = []
    for at in range(120):
        label = list(colours)[at % 2]
        pixels = np.array(colours[label]) + rng.integers(-30, 30, (90, 120, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / f"mine/{at}.png")
        lines.append(json.dumps({"image_path": f"{at}.png", "element": label}))
    (root / "mine/labels.jsonl").write_text("\n".join(lines))
    save_tiny(root / "base", words=[*colours, "Is", "this", "or"], side=64)
    config = {
        "task": {"question": "Is this sky or grass?", "labels": dict.fromkeys(colours, "a colour")},
        "device": {"side": 64},
        "base": {"model": "base"},
        "prepare": {"custom": "mine/labels.jsonl"},
        "train": {"epochs": 12, "effective_batch": 4, "learning_rate": 5e-3},
    }
    return Project.of(parse_config(config | sections), root)


@pytest.mark.slow
def test_two_other_labels_from_a_file(tmp_path: Path) -> None:
    project = colour_project(tmp_path, gates={"accuracy": 0.8})  # 16 pictures show no more
    run(project)
    metrics = read_json(project.workspace.report / "metrics.json")
    assert set(METRICS.split()) <= set(metrics)
    assert metrics["accuracy"] == 1.0
    assert metrics["agreement"] == 1.0
    assert metrics["one_word"] == 1.0
    assert metrics["base"]["likelihood"] < 1.0
    picture = tmp_path / "mine" / "0.png"
    assert [row["label"] for row in predict(project.workspace.bundle, [picture])] == ["sky"]
    assert all(why(project, stage) is None for stage in STAGES if stage.name in ("train", "bundle"))
    sums = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=project.workspace.bundle, check=False
    )
    assert sums.returncode == 0


@pytest.mark.slow
def test_a_missed_gate_leaves_the_files(tmp_path: Path) -> None:
    train = {"epochs": 1, "effective_batch": 4, "learning_rate": 1e-7}
    project = colour_project(tmp_path, train=train)
    with pytest.raises(GateMissed, match=r"0\.85"):
        run(project)
    assert (project.workspace.report / "report.html").is_file()
    assert project.workspace.text_gguf("Q8_0").is_file()
    assert not project.workspace.bundle.exists()


@pytest.mark.slow
def test_ten_pictures_and_a_teacher(tmp_path: Path) -> None:
    write_scenes(tmp_path / "pictures", tmp_path / "truth.jsonl", 10, 0)
    save_tiny(tmp_path / "base", words=parse_config({}).task.labels)
    with serve() as url:
        config = {
            "base": {"model": "base"},
            "teachers": [{"base_url": url, "model": MODEL}],
            "train": {"epochs": 1},
            "gates": {"accuracy": 0},
            "validate": {"truth": "known", "truth_file": "truth.jsonl"},
        }
        figures = run(Project.of(parse_config(config), tmp_path))
    assert figures["collect"]["pictures"] == 10
    assert figures["prepare"]["notes"]
    assert figures["validate"]["n"] >= 1
    assert (tmp_path / "bundle" / "contract.json").is_file()


@pytest.mark.slow
def test_the_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    pip = [sys.executable, "-m", "pip"]
    subprocess.run(
        [*pip, "wheel", "--quiet", "--no-deps", "-w", tmp_path, root], check=True, cwd=tmp_path
    )
    wheel = next(tmp_path.glob("pocketvlm-*.whl"))
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "-t", site, wheel], check=True)
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import pocketvlm.demo.demo as demo; "
        "assert demo.__file__.startswith(sys.path[0]), demo.__file__; "
        "assert (demo.BASE / 'model.safetensors').is_file(); "
        "from pocketvlm.demo.rules import judge; import numpy; "
        "judge(numpy.zeros((64, 64, 3), numpy.uint8)); "
        "import pocketvlm.validate.report, pocketvlm.bundle; "
        "from pocketvlm.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, site, "demo", "--pictures", "12", "--folder", "here"],
        check=False,
        cwd=tmp_path,
        env={"PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 3), done.stderr  # 12 pictures teach little
    assert "accuracy in llama.cpp (Q8_0, known truth)" in done.stderr
    assert (tmp_path / "here" / "report" / "report.html").is_file()


@pytest.mark.slow
def test_the_demo_tells_its_figures_and_goes_on(tmp_path: Path) -> None:
    """Few scenes miss the gate: the summary is printed all the same."""
    command = [sys.executable, "-c", "from pocketvlm.cli import main; main()", "demo"]
    command += ["--pictures", "60", "--folder", str(tmp_path / "demo"), "--json"]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode in (0, 3), first.stderr
    metrics = read_json(tmp_path / "demo" / "report" / "metrics.json")
    assert f"{metrics['accuracy']:.3f} [" in first.stderr
    bundled = (tmp_path / "demo" / "bundle").is_dir()
    assert ("classify a picture: pocketvlm predict -c" in first.stderr) == bundled
    assert ("no bundle: it is made where the gates are reached" in first.stderr) == (not bundled)
    assert bundled == (first.returncode == 0)
    assert "teacher 0.9" in first.stderr or "teacher 1.0" in first.stderr
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == first.returncode
    assert "train: up to date" in again.stderr
