"""Doctor: packages that a stage needs, and the runtime's build."""

import importlib.util
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from pocketvlm.pipeline.doctor import packages
from pocketvlm.pipeline.doctor.packages import check_packages, check_runtime, check_tracking
from tests.pipeline.examined import asked, project


def test_missing_packages_are_named_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def installed(name: str) -> str:
        if name in ("peft", "gguf"):
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(packages, "version", installed)
    found = asked(check_packages, project(tmp_path))
    assert [str(problem) for problem in found.problems] == [
        "not installed: peft, gguf: pip install peft gguf"
    ]


@pytest.mark.parametrize(
    ("track", "count"),
    [({}, 0), ({"tensorboard": True}, 1), ({"wandb": "offline"}, 1), ({"wandb": "online"}, 2)],
)
def test_tracking_needs_its_packages_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, track: dict[str, Any], count: int
) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda _: None)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    found = asked(check_tracking, project(tmp_path, track=track))
    assert len(found.problems) == count
    assert all("pip install" in str(p) or "WANDB_API_KEY" in str(p) for p in found.problems)


def test_installed_tracking_is_no_problem(tmp_path: Path) -> None:
    if not importlib.util.find_spec("tensorboard"):
        pytest.skip("needs tensorboard")
    assert not asked(check_tracking, project(tmp_path, track={"tensorboard": True})).problems


def test_this_build_takes_pictures(tmp_path: Path) -> None:
    found = asked(check_runtime, project(tmp_path))
    assert not found.problems and found.facts["runtime"]["pictures"] is True


def test_a_build_without_pictures_is_a_problem_with_the_command(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; "
        "from tests.pipeline.examined import asked, project; "
        "from pocketvlm.pipeline.doctor.packages import check_runtime; "
        "print(*asked(check_runtime, project(Path(sys.argv[1]))).problems)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        env={"MTMD_CPP_LIB": str(tmp_path), "PATH": ""},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "takes pictures" in done.stdout and "pip install --force-reinstall" in done.stdout
