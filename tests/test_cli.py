"""The command line: exit codes, no tracebacks, light imports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.pipeline.conftest import draw_pictures

MAIN = "from pocketvlm.cli import main; main()"


def pocketvlm(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-c", MAIN, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys, pocketvlm.cli; "
        "print([n for n in ('torch', 'transformers', 'llama_cpp', 'pydantic', 'numpy', 'cv2') "
        "if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_version() -> None:
    assert pocketvlm("--version").stdout.startswith("pocketvlm ")


def test_init_writes_a_configuration_that_loads(tmp_path: Path) -> None:
    assert pocketvlm("init", tmp_path).returncode == 0
    assert "/.env\n" in (tmp_path / ".gitignore").read_text()
    text = (tmp_path / "pocketvlm.yaml").read_text()
    assert set(yaml.safe_load(text)["task"]["labels"]) == {"water", "land", "fire", "wood", "metal"}
    again = pocketvlm("init", tmp_path)
    assert again.returncode == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        ({"colour": 1}, "colour: unknown key"),
        ({"train": {"rnak": 1}}, "train.rnak: unknown key"),
        ({"task": {"labels": {"two words": "x", "b": "y"}}}, "must be one word"),
        ({"device": {"vision_size": 250}}, "use 256"),
        ({"device": {"prompt": "Element:"}}, "0 markers"),
        ({"device": {"prompt": "{marker}{marker} Element:"}}, "2 markers"),
        ({"device": {"prompt": "{marker} Element: "}}, "white space"),
    ],
)
def test_wrong_configuration_is_exit_code_2(
    tmp_path: Path, section: dict[str, object], wanted: str
) -> None:
    path = tmp_path / "pocketvlm.yaml"
    path.write_text(yaml.safe_dump(section))
    done = pocketvlm("collect", "-c", path)
    assert done.returncode == 2
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr


def test_no_configuration_is_exit_code_2(tmp_path: Path) -> None:
    done = pocketvlm("run", cwd=tmp_path)
    assert done.returncode == 2
    assert "pocketvlm init" in done.stderr


def test_a_failed_stage_is_exit_code_1(tmp_path: Path) -> None:
    pocketvlm("init", tmp_path)
    done = pocketvlm("merge", "-c", tmp_path / "pocketvlm.yaml")
    assert done.returncode == 1
    assert "run `pocketvlm train` first" in done.stderr.replace("\n", " ")


def test_json_goes_to_standard_output(tmp_path: Path) -> None:
    pocketvlm("init", tmp_path)
    draw_pictures(tmp_path / "pictures", 2)
    done = pocketvlm("collect", "-c", tmp_path / "pocketvlm.yaml", "--json")
    assert json.loads(done.stdout)["pictures"] == 2


def test_set_overrides_one_value(tmp_path: Path) -> None:
    pocketvlm("init", tmp_path)
    draw_pictures(tmp_path / "elsewhere", 1)
    config = tmp_path / "pocketvlm.yaml"
    done = pocketvlm("collect", "-c", config, "--set", "collect.folder=elsewhere", "--json")
    assert json.loads(done.stdout)["new"] == 1
    wrong = pocketvlm("collect", "-c", config, "--set", "collect")
    assert wrong.returncode == 2


def test_the_demo_refuses_too_few_pictures_only(tmp_path: Path) -> None:
    few = pocketvlm("demo", "--folder", tmp_path, "--pictures", 5)
    assert few.returncode == 2
    assert "greater than or equal to 10" in few.stderr
