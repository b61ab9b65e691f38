"""The stage on a real tiny student: torch and llama.cpp asked, everything written, then judged."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pocketvlm.bundle import bundle
from pocketvlm.config import parse_config
from pocketvlm.errors import GateMissed, PocketError
from pocketvlm.project import Project
from pocketvlm.validate import validate
from pocketvlm.workspace import Row, read_json, read_rows, write_json

from .conftest import settings


@pytest.fixture(scope="module")
def figures(trained: Project) -> Row:
    """What validate returned."""
    return validate(trained)


def test_everything_is_written(trained: Project, figures: Row) -> None:
    report = trained.workspace.report
    assert sorted(path.name for path in report.iterdir()) == [
        "metrics.json",
        "predictions.jsonl",
        "report.html",
    ]
    metrics = read_json(report / "metrics.json")
    assert metrics["accuracy"] == figures["accuracy"]
    assert metrics["n"] == figures["n"] == 9
    assert [rung["step"] for rung in metrics["ladder"]] == [
        "torch base, greedy",
        "torch base, likelihood",
        "torch adapter",
        "torch merged",
        "llama.cpp F16",
        "llama.cpp Q8_0",
        "llama.cpp Q4_0",
        "llama.cpp Q8_0 + mmproj Q8_0",
    ]
    assert all(rung["mib"] > 0 and rung["ms"] > 0 for rung in metrics["ladder"])


def test_merged_and_f16_answer_alike(trained: Project, figures: Row) -> None:
    rungs = {
        rung["step"]: rung
        for rung in read_json(trained.workspace.report / "metrics.json")["ladder"]
    }
    assert rungs["torch merged"]["agreement"] == 1.0
    assert rungs["llama.cpp F16"]["agreement"] >= 8 / 9
    rows = list(read_rows(trained.workspace.report / "predictions.jsonl"))
    hits = sum(row["texts"]["llama.cpp Q8_0"].strip() == row["truth"] for row in rows)
    assert figures["accuracy"] == pytest.approx(hits / 9)


def test_the_bundle_takes_what_was_measured(trained: Project, figures: Row) -> None:
    made = bundle(trained)
    assert made["accuracy"] == figures["accuracy"]
    contract = read_json(trained.workspace.bundle / "contract.json")
    assert contract["accuracy"] == figures["accuracy"]


@pytest.fixture
def copy(trained: Project, tmp_path: Path) -> Project:
    """The trained project in a folder of its own, with a gate that nothing passes."""
    root = Path(shutil.copytree(trained.workspace.root, tmp_path / "copy"))
    shutil.rmtree(root / "report", ignore_errors=True)
    sections = {"gates": {"accuracy": 1.0}, "export": {"types": ["Q8_0"], "mmproj": ["F16"]}}
    return Project.of(parse_config(settings(**sections)), root)


def test_a_missed_gate_is_raised_after_everything_is_written(copy: Project) -> None:
    rows = list(read_rows(copy.workspace.split("test")))
    copy.workspace.split("test").write_text("")
    assert rows
    with pytest.raises(GateMissed, match=r"below gates\.accuracy 1,"):
        validate(copy)
    metrics = read_json(copy.workspace.report / "metrics.json")
    assert metrics["split"] == "val"
    assert metrics["gates"]["accuracy"]["passed"] is False
    assert (copy.workspace.report / "report.html").is_file()


def test_another_contract_is_refused(copy: Project) -> None:
    other = replace(copy.contract, prompt="<__media__>\nOther:").describe()
    write_json(copy.workspace.dataset / "contract.json", other)
    with pytest.raises(PocketError, match="another device contract"):
        validate(copy)


def test_a_failed_run_leaves_the_old_report(copy: Project) -> None:
    write_json(copy.workspace.report / "metrics.json", {"old": True})
    copy.workspace.vision_gguf("F16").unlink()
    with pytest.raises(PocketError, match=r"mmproj-F16\.gguf"):
        validate(copy)
    assert read_json(copy.workspace.report / "metrics.json") == {"old": True}
