"""convert_to_gguf.sh: a merged model from anywhere becomes the files for the phone."""

import subprocess
import sys
from pathlib import Path

import pytest

from pocketvlm.export.header import read_header
from pocketvlm.student.tiny import save_tiny
from tests.deploy.scripts import ROOT, Checkout


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model as another program would leave it."""
    folder = tmp_path_factory.mktemp("foreign") / "merged model"
    save_tiny(folder, words=["water", "fire"], side=128)
    return folder


def convert(*words: str | Path, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run the real script with this environment's pocketvlm."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    script = cwd / "convert_to_gguf.sh"
    script.write_bytes((ROOT / "convert_to_gguf.sh").read_bytes())
    return subprocess.run(
        ["bash", script, *words],
        cwd=cwd,
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def names(folder: Path) -> list[str]:
    """All that lies there, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def test_a_foreign_folder(merged: Path, tmp_path: Path) -> None:
    before = names(merged)
    options = ["--set", "export.types=[Q8_0]", "--set", "export.mmproj=[F16]"]
    done = convert(merged, "out/gguf", *options, "--set", "device.side=128", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "out" / "gguf") == ["mmproj-F16.gguf", "model-Q8_0.gguf"]
    vision = read_header(tmp_path / "out" / "gguf" / "mmproj-F16.gguf")
    assert vision.whole("clip.vision.image_size") == 128
    assert names(merged) == before


def test_in_a_project_its_settings_count(merged: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "merged").mkdir(parents=True)
    for path in merged.iterdir():
        (project / "merged" / path.name).symlink_to(path)
    wanted = "device: {side: 64}\nexport: {types: [F16], mmproj: [Q8_0]}\n"
    (project / "pocketvlm.yaml").write_text(wanted)
    done = convert("project/merged", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "out") == ["mmproj-Q8_0.gguf", "model-F16.gguf"]


def test_a_mistake_leaves_nothing_behind(merged: Path, tmp_path: Path) -> None:
    done = convert(merged, "out", "--set", "export.types=[Q9]", cwd=tmp_path)
    assert done.returncode == 2
    assert "export.types" in done.stderr
    assert names(tmp_path / "out") == []


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    for words, said in (
        ([], "two folders are needed"),
        (["merged"], "two folders are needed"),
        (["merged", "out"], "merged/config.json does not exist"),
    ):
        done = checkout.run("convert_to_gguf.sh", *words)
        assert done.returncode == 2
        assert said in done.stderr
    assert checkout.told == []
