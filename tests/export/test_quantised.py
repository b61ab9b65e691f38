"""The runtime's quantiser: what it makes, how it fails, and that it can be interrupted."""

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketvlm.errors import PocketError
from pocketvlm.export import export_text
from pocketvlm.export.quantised import write_quantised
from pocketvlm.runtime.quantise import planned_types, quantise

Arrays = dict[str, np.ndarray[Any, Any]]


@pytest.fixture
def source(pristine: Path, tmp_path: Path) -> Path:
    export_text(pristine, tmp_path / "f16.gguf", "F16", "the contract")
    return tmp_path / "f16.gguf"


@pytest.mark.parametrize(("type", "error"), [("Q5_0", 0.07), ("Q4_0", 0.13), ("Q4_K_M", 0.13)])
def test_weights_arrive(
    source: Path, tmp_path: Path, tensors: Callable[[Path], Arrays], type: str, error: float
) -> None:
    out = tmp_path / "out.gguf"
    write_quantised(source, out, type, 0)
    before, after = tensors(source), tensors(out)
    assert before.keys() == after.keys()
    for name, wanted in before.items():
        assert np.abs(after[name] - wanted).max() <= error * np.abs(wanted).max(), name


@pytest.mark.parametrize("type", ["Q5_0", "Q4_0", "Q4_K_M"])
def test_the_plan_is_what_is_made(
    source: Path, tmp_path: Path, types: Callable[[Path], dict[str, str]], type: str
) -> None:
    planned = planned_types(source, type)
    write_quantised(source, tmp_path / "out.gguf", type, 0)
    assert planned == types(tmp_path / "out.gguf")


def test_what_is_no_model_is_told_with_the_reason(tmp_path: Path) -> None:
    source, out = tmp_path / "f16.gguf", tmp_path / "out.gguf"
    source.write_bytes(b"GGUF, but no more")
    with pytest.raises(PocketError, match=r"could not make Q4_0 of .*f16\.gguf \(.+\)"):
        write_quantised(source, out, "Q4_0", 0)
    with pytest.raises(PocketError, match="could not make Q4_0"):
        planned_types(source, "Q4_0")
    assert [path.name for path in tmp_path.iterdir()] == ["f16.gguf"]


def test_a_file_that_cannot_grow_is_told(source: Path, tmp_path: Path) -> None:
    """A limit on files' sizes stands for the full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (source.stat().st_size // 4, hard))
    try:
        with pytest.raises(PocketError, match="look whether the disk is full"):
            quantise(source, tmp_path / "out.gguf", "Q4_0")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


INTERRUPTED = """
import sys
from pathlib import Path
from pocketvlm.export.quantised import write_quantised

source, out = map(Path, sys.argv[1:])
print("begun", flush=True)
for _ in range(10_000):
    write_quantised(source, out, "Q4_K_M", 0)
"""


def test_it_can_be_interrupted(source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(source), str(tmp_path / "out.gguf")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"begun\n"
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in said
    assert {path.name for path in tmp_path.iterdir()} <= {"f16.gguf", "out.gguf"}
