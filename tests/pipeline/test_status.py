"""Where a run stands, in figures and for people."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pocketvlm.config import parse_config
from pocketvlm.errors import PocketError
from pocketvlm.pipeline.status import status, told
from pocketvlm.pipeline.work import Record, recorded
from pocketvlm.progress import bar, enter, measured
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_json, write_json


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.of(parse_config({}), tmp_path)


def finished(project: Project, stage: str, gate: str | None = None, **figures: object) -> None:
    """As if a stage had ended before."""
    row: Row = {"at": "2026-11-26T09:00:00+00:00", "seconds": 312.0, "gate": gate}
    write_json(project.workspace.manifest(stage), row | {"figures": figures})


def stages(figures: Row) -> dict[str, str]:
    return {row["stage"]: row["state"] for row in figures["stages"]}


def test_nothing_has_run(project: Project) -> None:
    figures = status(project.workspace)
    assert figures["state"] == "never"
    assert set(stages(figures).values()) == {"to do"}
    assert "no run is on record" in told(figures)
    json.dumps(figures)


def begin(project: Project, record: Record) -> None:
    """A training that has been going on for a while."""
    record.under_way()
    enter("train")
    measured(val_accuracy=0.913)
    with bar("Training", 30) as advance:
        for _ in range(12):
            advance("loss 0.412")
        journal = record.journal
        journal.written = 0.0
        journal.stands("Training", 12, 30, 75.0, "loss 0.412")


def test_a_training_at_work(project: Project) -> None:
    finished(project, "collect", pictures=1234)
    finished(project, "label", asked=1234, usd=1.25)
    with recorded(project, "run", ["train"]) as record:
        begin(project, record)
        figures = status(project.workspace)
    assert figures["state"] == "running"
    assert stages(figures)["train"] == "at work"
    assert figures["now"]["done"] == 12
    assert figures["memory_gib"] > 0.01
    said = told(figures)
    assert "1,234 pictures" in said
    assert "1.2500 USD" in said
    assert "Training 12 of 30; loss 0.412; 75 s left; val accuracy 0.913" in said


@pytest.mark.parametrize("state", ["failed", "done"])
def test_after_its_end_the_stage_says_how(project: Project, state: str) -> None:
    with pytest.raises(PocketError), recorded(project, "run", ["train"]) as record:
        begin(project, record)
        if state == "done":
            at = read_json(record.journal.stand)["since"]
            row = {"at": at, "seconds": 3.0, "gate": None, "figures": {"epochs": 3}}
            write_json(project.workspace.manifest("train"), row)
        raise PocketError("the tower is on fire")
    figures = status(project.workspace)
    assert figures["state"] == "failed"
    assert figures["now"] is None
    assert stages(figures)["train"] == state
    assert "the tower is on fire" in told(figures)


def test_a_missed_gate_is_told(project: Project) -> None:
    finished(project, "validate", "accuracy 0.7 misses 0.85", accuracy=0.7, n=30)
    figures = status(project.workspace)
    assert stages(figures)["validate"] == "gate missed"
    assert "accuracy 0.700 on 30 pictures" in told(figures)


def test_the_cards_through_the_drivers_library(project: Project, tmp_path: Path) -> None:
    """No card is here: a library with the driver's functions answers, through the same bindings."""
    library, source = tmp_path / "libnvidia-ml.so.1", Path(__file__).with_name("nvml.c")
    if not (compiler := shutil.which("gcc")):
        pytest.skip("no C compiler: gcc")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from pocketvlm.pipeline.status import status, told\nfrom pocketvlm.workspace import "
        "Workspace\nprint(told(status(Workspace(Path(sys.argv[1])))))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(project.workspace.root)],
        env=os.environ | {"LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "GPU     NVIDIA L40S: 97% busy, 0.9 of 44.7 GiB" in said.stdout, said.stderr


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"figures": 3}', '{"stage": "train"}'])
def test_what_only_informs_may_be_broken(project: Project, text: str) -> None:
    with recorded(project, "run", []) as record:
        record.journal.stand.write_text(text)
        project.workspace.manifest("train").write_text(text)
        figures = status(project.workspace)
        assert stages(figures)["train"] == "to do"
        told(figures)


def test_a_side_of_its_own_folder_is_told_without_a_stage(project: Project, tmp_path: Path) -> None:
    side = Project.of(project.config, tmp_path / "sizes" / "64")
    with recorded(project, "run --vision-sizes", []) as outer, recorded(side, "run", []) as inner:
        enter("train")
        outer.journal.stands("Training", 3, 30, None, "")
        outer.journal.written = 0.0
        outer.journal.measured({})
        mine, its = status(project.workspace), status(side.workspace)
        assert inner is not outer
    assert stages(mine)["train"] == "to do"
    assert stages(its)["train"] == "at work"
    assert "Training 3 of 30" in told(mine)
