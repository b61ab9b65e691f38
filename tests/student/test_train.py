"""Training: it learns, it resumes, it says what is wrong."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pocketvlm.errors import PocketError
from pocketvlm.pipeline import STAGES, execute
from pocketvlm.project import Project
from pocketvlm.runtime import ask_layout
from pocketvlm.student import load_adapter, load_merged, merge, train
from pocketvlm.student.data import Split
from pocketvlm.student.history import record
from pocketvlm.student.load import told_if_full
from pocketvlm.student.student import Student
from pocketvlm.workspace import read_json, read_rows, write_json, write_rows
from tests.student.conftest import make_project


def ask(student: Student, split: Split) -> list[str]:
    """Greedy answers to a whole split."""
    return student.answers([split[at][0] for at in range(len(split))])


def test_learns_two_colours_and_keeps_it_through_the_merge(tmp_path: Path, tiny_base: Path) -> None:
    project = make_project(tmp_path, tiny_base, epochs=15, patience=15)
    figures = train(project)
    merged = merge(project)
    test = Split(project, "test")
    assert figures["best_accuracy"] == 1.0
    assert merged["merge_error"] < 1e-4 < merged["adapter_effect"]
    made = load_merged(project).layout
    record = project.contract.describe() | made.record()
    assert read_json(project.workspace.merged / "contract.json") == record
    assert made == load_adapter(project).layout == ask_layout(tiny_base, project.contract)
    assert ask(load_adapter(project), test) == ask(load_merged(project), test)
    assert [text.strip() for text in ask(load_merged(project), test)] == test.labels


def test_writes_adapter_base_and_history(project: Project) -> None:
    train(project)
    adapter = project.workspace.adapter
    assert sorted(path.name for path in adapter.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "base.json",
        "contract.json",
        "history.json",
        "history.png",
    ]
    history = json.loads((adapter / "history.json").read_text())
    assert len(history["val"]) == 1
    assert set(history["val"][0]["answered"]) == set(project.contract.labels)
    assert history["val"][0]["accuracy_confident"] == history["val"][0]["accuracy"]
    assert not any("vision" in name for name in load_file(adapter / "adapter_model.safetensors"))


def test_the_same_seed_gives_the_same_adapter(tmp_path: Path, tiny_base: Path) -> None:
    weights = []
    for name in ("first", "second"):
        project = make_project(tmp_path / name, tiny_base, epochs=1)
        train(project)
        weights.append(load_file(project.workspace.adapter / "adapter_model.safetensors"))
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_val_is_also_told_without_the_unsure(tmp_path: Path, tiny_base: Path) -> None:
    project = make_project(tmp_path, tiny_base, epochs=1)
    rows = list(read_rows(project.workspace.split("val")))
    for row in rows[1:]:
        row["confidence"] = 0.1
    write_rows(project.workspace.split("val"), rows)
    train(project)
    epoch = json.loads((project.workspace.adapter / "history.json").read_text())["val"][0]
    assert epoch["accuracy_confident"] in (0.0, 1.0)  # one picture is left


def test_an_empty_val_split_trains_to_the_end(project: Project) -> None:
    write_rows(project.workspace.split("val"), [])
    assert train(project)["best_accuracy"] is None


def test_an_empty_train_split_is_an_error(project: Project) -> None:
    write_rows(project.workspace.split("train"), [])
    with pytest.raises(PocketError, match="training split is empty"):
        train(project)


def test_a_loss_that_is_not_finite_is_said(tmp_path: Path, tiny_base: Path) -> None:
    project = make_project(tmp_path, tiny_base, epochs=4, learning_rate=1e30)
    with pytest.raises(PocketError, match=r"train\.learning_rate"):
        train(project)


@pytest.mark.parametrize("epochs", [1, 2])
def test_nor_is_one_hidden_in_a_short_training(
    tmp_path: Path, tiny_base: Path, epochs: int
) -> None:
    """After one step only val shows it; without val the second step does."""
    project = make_project(
        tmp_path, tiny_base, epochs=epochs, effective_batch=24, warmup=0, learning_rate=1e30
    )
    if epochs == 2:
        write_rows(project.workspace.split("val"), [])
    with pytest.raises(PocketError, match=r"train\.learning_rate"):
        train(project)


def test_an_only_step_teaches(tmp_path: Path, tiny_base: Path) -> None:
    project = make_project(tmp_path, tiny_base, epochs=1, effective_batch=24)
    train(project)
    history = read_json(project.workspace.adapter / "history.json")
    assert [row["rate"] for row in history["train"]] == [5e-3]
    assert merge(project)["adapter_effect"] > 1e-4


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_damaged_adapter_is_named(tmp_path: Path, tiny_base: Path, name: str) -> None:
    project = make_project(tmp_path, tiny_base, epochs=1)
    train(project)
    file = project.workspace.adapter / name
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(PocketError, match="train again"):
        merge(project)


def test_a_damaged_base_is_named(tmp_path: Path, tiny_base: Path) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(PocketError, match="does not load as a SmolVLM"):
        train(make_project(tmp_path, base, epochs=1))


@pytest.mark.parametrize(
    "error", [SafetensorError("No space left"), RuntimeError("inline_container")]
)
def test_a_full_disk_is_told(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(PocketError, match="the disk is full"), told_if_full(tmp_path):
        raise error


def test_a_dataset_of_another_contract_is_refused(project: Project) -> None:
    (project.workspace.dataset / "contract.json").write_text('{"hash": "another"}')
    with pytest.raises(PocketError, match="pocketvlm prepare"):
        train(project)


def test_labels_outside_the_task_are_refused(project: Project) -> None:
    rows = [{"id": "0", "image": "images/train0.png", "label": "lava"}]
    write_rows(project.workspace.split("train"), rows)
    with pytest.raises(PocketError, match="lava"):
        train(project)


def test_history_of_no_epoch_is_empty() -> None:
    class State:
        log_history: tuple[dict[str, float], ...] = ()

    assert record(State(), ["sky"])["best"] is None


@pytest.mark.parametrize(
    ("key", "what"), [("contract", "device contract"), ("model", "base"), ("sha256", "base")]
)
def test_an_adapter_of_another_base_or_contract_is_refused(
    project: Project, key: str, what: str
) -> None:
    train(project)
    record = project.workspace.adapter / "base.json"
    write_json(record, json.loads(record.read_text()) | {key: "another"})
    for use in (merge, load_adapter):
        with pytest.raises(PocketError, match=f"another {what}"):
            use(project)


def test_an_early_end_is_told(
    tmp_path: Path, tiny_base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    figures = train(make_project(tmp_path, tiny_base, epochs=9, patience=2, learning_rate=1e-12))
    said = capfd.readouterr().err
    assert "No better val for 2 epochs (train.patience): stopped, epoch 1 is kept." in said
    assert (figures["epochs"], figures["best_epoch"]) == (3, 1)


def test_a_training_that_taught_nothing_is_told_however_short(
    tmp_path: Path, tiny_base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    figures = train(make_project(tmp_path, tiny_base, epochs=1, learning_rate=1e-9))
    assert figures["warnings"]
    assert f"WARNING: {figures['warnings'][0]}" in " ".join(capfd.readouterr().err.split())


def test_another_trainings_checkpoints_stay(tmp_path: Path, tiny_base: Path) -> None:
    project = make_project(tmp_path, tiny_base, epochs=1)
    other = tmp_path / "state" / "checkpoints" / "0123" / "checkpoint-7"
    other.mkdir(parents=True)
    execute(project, next(stage for stage in STAGES if stage.name == "train"))
    assert [path.name for path in other.parent.parent.iterdir()] == ["0123"]
