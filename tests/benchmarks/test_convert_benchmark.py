"""What convert.py prints and judges; its processes on a tiny model."""

import json
from pathlib import Path

import pytest

from convert import QUANTISE, Ratio, every_type, run, table
from pocketvlm.student.tiny import save_tiny


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conversion")
    save_tiny(folder / "merged", seed=1, words=["water"], side=256)
    return folder


@pytest.mark.slow
def test_every_type_has_a_line(root: Path) -> None:
    rows = every_type(root)
    head, *lines = table(rows).splitlines()
    assert "MiB" in head
    texts = ("F32", "F16", "Q8_0", "Q5_0", "Q4_0", "Q4_K_M")
    assert len(lines) == len(texts) + 3
    for type in texts:
        (line,) = (line for line in lines if line.startswith(f"model-{type} "))
        assert "%" in line
    for row in rows.values():
        assert row["predicted_mib"] == row["mib"]
        assert 5e7 < row["peak"] < 1.2e9


def test_a_process_that_fails_ends_the_benchmark(root: Path) -> None:
    with pytest.raises(SystemExit, match="a process failed"):
        run(QUANTISE, str(root / "none.gguf"), str(root / "out.gguf"))


def test_a_target_is_a_ceiling() -> None:
    assert Ratio("x", 1.0, 1.0).met
    assert not Ratio("x", 1.001, 1.0).met
    assert "MISSED" in str(Ratio("x", 1.001, 1.0))


def test_the_output_is_what_was_printed() -> None:
    seconds, said = run("print('{}')")
    assert json.loads(said) == {}
    assert seconds > 0
