"""Damaged files: whatever is in their heads, an answer or a PocketError, and a process that lives.

Each is opened in a child process, which a crash of llama.cpp would end.
"""

import os
import random
import resource
import sys
import traceback
from collections import Counter
from pathlib import Path

import gguf
import numpy as np
import pytest

from pocketvlm.errors import PocketError
from pocketvlm.runtime import Runtime
from pocketvlm.sections import MARKER
from tests.export.remade import spoiled
from tests.test_cli import pocketvlm

SIDE = 128

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="opens files in forked processes")


def opened(text: Path, vision: Path) -> str:
    """How it went: `answered`, `refused`, or what ended the child."""
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
        resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
        os._exit(_ask(text, vision))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {10: "answered", 11: "refused"}.get(status, f"ended by {status}")


def _ask(text: Path, vision: Path) -> int:
    try:
        with Runtime(text, vision, threads=1) as runtime:
            runtime.answer(f"{MARKER}\nq:", np.zeros((SIDE, SIDE, 3), np.uint8), 2)
        return 10
    except PocketError:
        return 11
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
        return 12


def outcomes(pair: tuple[Path, Path], folder: Path, which: int, times: int) -> Counter[str]:
    """Of as many files, each with other bytes at one place of its head."""
    draw = random.Random(which)
    end = int(gguf.GGUFReader(pair[which]).data_offset)
    counted = Counter[str]()
    for _ in range(times):
        value = draw.choice([b"\0", b"\xff", b"\x01", b"\xff\xff\xff\x7f", draw.randbytes(1)])
        files = list(pair)
        files[which] = spoiled(pair[which], folder / "bad.gguf", draw.randrange(end), value)
        counted[opened(files[0], files[1])] += 1
    return counted


def test_whole_files_answer(pair: tuple[Path, Path]) -> None:
    assert opened(*pair) == "answered"


@pytest.mark.parametrize("which", [0, 1])
def test_a_few_damaged_files(pair: tuple[Path, Path], tmp_path: Path, which: int) -> None:
    assert set(outcomes(pair, tmp_path, which, 40)) == {"answered", "refused"}


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_many_damaged_files(pair: tuple[Path, Path], tmp_path: Path, which: int) -> None:
    assert set(outcomes(pair, tmp_path, which, 600)) == {"answered", "refused"}


@pytest.mark.parametrize("content", [b"", b"GGUF", b"<html>"])
@pytest.mark.parametrize("which", ["--model", "--mmproj"])
def test_probe_names_a_damaged_file(
    pair: tuple[Path, Path], tmp_path: Path, which: str, content: bytes
) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    files = {"--model": pair[0], "--mmproj": pair[1]} | {which: tmp_path / "bad.gguf"}
    arguments = [str(word) for pair in files.items() for word in pair]
    done = pocketvlm("probe", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert f"error: {tmp_path / 'bad.gguf'} is " in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.gguf"]
