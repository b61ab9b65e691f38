"""Doctor: the GPU, and whether the installed torch can use it."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from pocketvlm.nvidia import Card, Driver, read_driver
from pocketvlm.pipeline.doctor import gpu
from pocketvlm.pipeline.doctor.cuda import torch_build, usable
from pocketvlm.pipeline.doctor.gpu import check_gpu
from tests.pipeline.examined import asked, project

L40S = Card("NVIDIA L40S", 48_000_000_000, 47_000_000_000, 97)
DRIVER = Driver("550.54", 12, (L40S,))


def test_torch_is_read_without_being_loaded() -> None:
    script = (
        "import sys; from pocketvlm.pipeline.doctor import cuda, checks; "
        "print(cuda.torch_build()[0], 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [version("torch"), "False"]


def test_the_file_says_what_torch_says() -> None:
    import torch

    assert torch_build() == (torch.__version__, torch.version.cuda)


@pytest.mark.parametrize(
    ("cuda", "words"),
    [
        (None, "the installed torch is a build without CUDA"),
        ("13.0", "torch was built for CUDA 13.0, driver 550.54 runs CUDA 12 at most"),
    ],
)
def test_a_card_that_torch_cannot_use_is_a_warning_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuda: str | None, words: str
) -> None:
    monkeypatch.setattr(gpu, "read_driver", lambda: DRIVER)
    for name in ("pocketvlm.pipeline.doctor.cuda", "pocketvlm.pipeline.doctor.gpu"):
        monkeypatch.setattr(f"{name}.torch_build", lambda: ("2.13.0+cpu", cuda))
    found = asked(check_gpu, project(tmp_path))
    [warning] = found.warnings
    assert words in warning and "pip install --force-reinstall torch==2.13.0 " in warning
    assert found.card is None and not found.problems


def test_a_card_that_torch_can_use_holds_the_student(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "read_driver", lambda: DRIVER)
    for name in ("pocketvlm.pipeline.doctor.cuda", "pocketvlm.pipeline.doctor.gpu"):
        monkeypatch.setattr(f"{name}.torch_build", lambda: ("2.13.0", "12.9"))
    found = asked(check_gpu, project(tmp_path))
    assert (found.card, found.warnings) == (L40S, [])
    assert gpu.bytes_a_number(found.card) == 2


def test_no_card_is_a_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "read_driver", lambda: None)
    found = asked(check_gpu, project(tmp_path))
    assert (found.problems, found.warnings, found.card) == ([], [], None)


def test_the_drivers_own_library_is_asked(tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if not compiler or sys.platform != "linux":
        pytest.skip("needs gcc on Linux")
    source, library = Path(__file__).with_name("nvml.c"), tmp_path / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    script = "from pocketvlm.nvidia import read_driver; print(read_driver())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(DRIVER)


def test_without_a_driver_there_is_none() -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a driver")
    assert read_driver() is None
    assert not usable(None)
