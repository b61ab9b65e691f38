"""Skipping what is up to date, and saying why something is done again."""

from pathlib import Path
from typing import Any

import pytest

from pocketvlm.config import parse_config
from pocketvlm.errors import ConfigError, GateMissed, PocketError
from pocketvlm.pipeline import STAGES, Stage, execute, run, stages, why
from pocketvlm.pipeline.run import check_makers, select
from pocketvlm.pipeline.stages import ROOMS
from pocketvlm.pipeline.work import one_at_a_time
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_json, read_rows, write_json, write_rows, write_text
from tests.pipeline.conftest import draw_pictures

COLLECT = STAGES[0]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder with three pictures."""
    draw_pictures(tmp_path / "pictures", 3)
    return Project.of(parse_config({}), tmp_path)


def changed(project: Project, **sections: Any) -> Project:
    """The same folder under another configuration."""
    return Project.of(parse_config(sections), project.workspace.root)


def test_first_run_then_up_to_date(project: Project) -> None:
    assert why(project, COLLECT) == "first run"
    assert execute(project, COLLECT)["pictures"] == 3
    assert why(project, COLLECT) is None
    manifest = read_json(project.workspace.manifest("collect"))
    assert manifest["figures"]["pictures"] == 3
    assert manifest["contract"] == project.contract.hash


def test_a_new_picture_is_a_reason(project: Project) -> None:
    execute(project, COLLECT)
    draw_pictures(project.workspace.root / "pictures", 4)
    assert why(project, COLLECT) == "again, because pictures changed"


def test_a_changed_setting_is_a_reason(project: Project) -> None:
    execute(project, COLLECT)
    other = changed(project, collect={"licence": "CC0"})
    assert why(other, COLLECT) == 'again, because collect.licence ("unknown" to "CC0") changed'


def test_a_lost_result_is_a_reason(project: Project) -> None:
    execute(project, COLLECT)
    project.workspace.index.unlink()
    assert "originals/index.jsonl is missing" in str(why(project, COLLECT))


def test_how_the_teacher_is_reached_is_no_reason(project: Project) -> None:
    label = next(stage for stage in STAGES if stage.name == "label")
    before = label.state(project)
    moved = changed(project, teachers=[{"base_url": "http://127.0.0.1:9/v1", "concurrency": 2}])
    assert label.state(moved) == before
    assert label.state(changed(project, teachers=[{"model": "other"}])) != before


def test_other_weights_in_the_bases_folder_are_a_reason(project: Project) -> None:
    train = next(stage for stage in STAGES if stage.name == "train")
    weights = project.workspace.root / "base" / "model.safetensors"
    write_text(weights, "first")
    local = changed(project, base={"model": "base"})
    before = train.state(local)
    assert train.state(local) == before
    write_text(weights, "second")
    assert train.state(local) != before


def test_malformed_answers_are_a_reason(project: Project) -> None:
    label = next(stage for stage in STAGES if stage.name == "label")
    write_text(project.workspace.answers, "")
    manifest: Row = {"inputs": label.state(project), "outputs": label.results(project)}
    manifest["figures"] = {"status": {"ok": 3, "malformed": 2}, "unanswered": 2}
    write_json(project.workspace.manifest("label"), manifest)
    assert why(project, label) == "again, because 2 calls to the teacher gave no answer"


def test_run_logs_every_stage(project: Project) -> None:
    run(project, last="collect")
    run(project, last="collect")
    events = [row["event"] for row in read_rows(project.workspace.logs / "stages.jsonl")]
    assert events == ["started", "done"]
    run(project, last="collect", force=True)
    assert len(list(read_rows(project.workspace.logs / "stages.jsonl"))) == 4


def test_stages_between_two_names(project: Project) -> None:
    assert [stage.name for stage in select(project, "merge", "validate")] == [
        "merge",
        "convert",
        "validate",
    ]
    with pytest.raises(ConfigError, match="no stage 'trane'"):
        select(project, "trane", None)
    with pytest.raises(ConfigError, match="comes before"):
        select(project, "merge", "train")


def made(project: Project, *names: str) -> None:
    """As if these stages had just run: what they would read, recorded as it is now."""
    for stage in STAGES:
        if stage.name in names:
            row = {"inputs": stage.state(project), "outputs": {}, "figures": {}, "gate": None}
            write_json(project.workspace.manifest(stage.name), row)


def test_a_stage_refuses_what_was_made_before_a_change(project: Project) -> None:
    """Training again and validating alone would judge the model of the training before."""
    by_name = {stage.name: stage for stage in STAGES}
    adapter = project.workspace.adapter / "adapter_model.safetensors"
    write_text(adapter, "first")
    made(project, "merge", "convert")
    check_makers(project, by_name["validate"])
    write_text(adapter, "second")
    with pytest.raises(PocketError, match=r"merge made before adapter changed.*--from merge"):
        check_makers(project, by_name["validate"])
    with pytest.raises(PocketError, match="--from merge --until validate"):
        run(project, "validate", "validate")
    check_makers(project, by_name["merge"])  # it is about to read the new one


def test_new_pictures_do_not_stop_a_training(project: Project) -> None:
    made(project, "collect", "prepare")
    draw_pictures(project.workspace.root / "pictures", 5)
    check_makers(project, next(stage for stage in STAGES if stage.name == "train"))


def test_another_llama_cpp_or_other_bitmaps_are_a_reason(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = next(stage for stage in STAGES if stage.name == "validate")
    bitmap = project.workspace.dataset / "images" / "a.png"
    write_text(bitmap, "pixels")
    made(project, "validate")
    write_text(bitmap, "other pixels")
    assert why(project, validate) == "again, because dataset/images changed"
    made(project, "validate")
    monkeypatch.setattr(stages, "_runtime", lambda: "another build")
    assert why(project, validate) == "again, because the llama.cpp build changed"


@pytest.mark.parametrize(
    ("sections", "again"),
    [
        ({"gates": {"accuracy": 0.5}}, {"validate"}),
        ({"audit": {"tower": 1e-2}}, {"validate"}),
        ({"export": {"types": ["F16"]}}, {"convert", "validate", "bundle"}),
        ({"train": {"epochs": 1}}, {"train"}),
        ({"prepare": {"min_confidence": 0.5}}, {"prepare", "validate"}),
        ({"teachers": [{"model": "other"}]}, {"label", "prepare"}),
        ({"device": {"side": 128}}, {"prepare", "train", "convert", "validate", "bundle"}),
    ],
)
def test_a_setting_redoes_what_depends_on_it(
    project: Project, sections: Row, again: set[str]
) -> None:
    """What follows is redone when it finds other files, not because of the setting."""
    made(project, *(stage.name for stage in STAGES))
    other = changed(project, **sections)
    redone = {stage.name for stage in STAGES if "changed" in str(why(other, stage))}
    assert redone == again


def test_two_runs_in_one_folder_are_one_too_many(project: Project) -> None:
    with one_at_a_time(project), pytest.raises(PocketError, match="another pocketvlm is at work"):
        run(project, last="collect")
    assert execute(project, COLLECT)["pictures"] == 3


def test_other_pictures_of_a_custom_dataset_are_a_reason(project: Project) -> None:
    prepare = next(stage for stage in STAGES if stage.name == "prepare")
    custom = changed(project, prepare={"custom": "pictures/labels.jsonl"})
    file = project.workspace.root / "pictures" / "labels.jsonl"
    lines = ({"image_path": path, "label": "water"} for path in ("0.png", "data:" + "x" * 5000))
    write_rows(file, lines)
    made(custom, "prepare")
    assert "changed" not in str(why(custom, prepare))
    (file.parent / "0.png").write_bytes((file.parent / "1.png").read_bytes())
    assert why(custom, prepare) == "again, because custom pictures changed"


def test_a_custom_dataset_enters_at_prepare(project: Project) -> None:
    custom = changed(project, prepare={"custom": "labels.jsonl"})
    assert select(custom, None, None)[0].name == "prepare"


def test_every_stage_has_its_room() -> None:
    assert [stage.name for stage in STAGES] == list(ROOMS)


def test_a_missed_gate_is_kept_and_raised_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate's stage is up to date after it, but its verdict still stands."""

    def miss(stage: Stage, project: Project) -> Row:
        write_text(project.workspace.index, "{}\n")
        raise GateMissed("accuracy 0.1 misses the gate", {"accuracy": 0.1})

    monkeypatch.setattr(Stage, "run", miss)
    for _ in range(2):
        with pytest.raises(GateMissed, match=r"accuracy 0\.1"):
            run(project, last="collect")
    events = [row["event"] for row in read_rows(project.workspace.logs / "stages.jsonl")]
    assert events == ["started", "gate missed"]
