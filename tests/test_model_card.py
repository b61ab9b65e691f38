"""The model's card: what it says was recorded and measured, and its program runs."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from PIL import Image

from pocketvlm.base import RECORD
from pocketvlm.config import parse_config
from pocketvlm.model_card import Model, judged, model_card, render
from pocketvlm.project import Project
from pocketvlm.student.inputs import pixel_values
from pocketvlm.student.load import load_adapter, load_merged
from pocketvlm.workspace import Row, read_json, read_record, write_json
from tests.judged import judge
from tests.models import COMMIT, HUB, modelled, run
from tests.validate.conftest import LABELS, settings

PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>{}"), max_size=60)
"""Text without lone surrogates and markers of pictures."""

UNJUDGED = "Not judged in llama.cpp when this card was written: run `pocketvlm validate`."


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose base is a folder, with a verdict."""
    return judge(modelled(tmp_path_factory.mktemp("whole")))


@pytest.fixture
def project(whole: Project, tmp_path: Path) -> Project:
    """A copy to change."""
    shutil.copytree(whole.workspace.root, tmp_path / "copy")
    return Project.of(whole.config, tmp_path / "copy")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose base is of the Hub, with a verdict."""
    return judge(modelled(tmp_path_factory.mktemp("hub"), base=HUB))


def block(card: str, kind: str, number: int = 0) -> str:
    """The content of a fenced block."""
    return str(re.findall(rf"^```{kind}\n(.*?)\n```$", card, re.M | re.S)[number])


def metadata(card: str) -> Any:
    """As huggingface_hub reads it."""
    return ModelCard(card).data


@pytest.mark.parametrize(
    ("what", "library", "relation"),
    [("adapter", "peft", "adapter"), ("merged", "transformers", "finetune")],
)
def test_the_hub_reads_what_was_measured(
    hub: Project, what: Model, library: str, relation: str
) -> None:
    data = metadata(model_card(hub, what))
    head = data.to_dict()
    assert (head["library_name"], head["pipeline_tag"]) == (library, "image-text-to-text")
    assert (head["base_model"], head["base_model_relation"]) == (HUB, relation)
    assert (head["license"], head["language"]) == ("apache-2.0", "en")
    metrics = read_json(hub.workspace.report / "metrics.json")
    found = [(one.dataset_split, one.metric_type, one.metric_value) for one in data.eval_results]
    assert found == [
        ("val", "accuracy", 1.0),
        ("test", "accuracy", metrics["accuracy"]),
        ("test", "f1", metrics["macro_f1"]),
    ]
    assert head["metrics"] == ["accuracy", "f1"]


def test_the_program_loads_the_commit_of_the_base_it_was_trained_on(hub: Project) -> None:
    program = block(model_card(hub, "adapter"), "python")
    compile(program, "README.md", "exec")
    assert f'snapshot_download("{HUB}", revision="{COMMIT}")' in program


def test_of_a_base_in_a_folder_nothing_is_invented(whole: Project) -> None:
    card = model_card(whole, "adapter")
    head = metadata(card).to_dict()
    assert not {"base_model", "license", "language"} & set(head)
    assert "the base's, which is not recorded here" in card
    assert "- Base: `base`, a local folder.\n" in card
    assert str(whole.workspace.root) not in card


def test_a_base_that_is_not_smolvlms_keeps_its_licence(project: Project) -> None:
    path = project.workspace.adapter / RECORD
    write_json(path, read_record(path) | {"model": "someone/other", "commit": COMMIT})
    head = metadata(model_card(project, "adapter")).to_dict()
    assert head["base_model"] == "someone/other" and "license" not in head


def test_it_says_what_the_device_must_do(whole: Project) -> None:
    card = model_card(whole, "merged")
    record = read_json(whole.workspace.merged / "contract.json")
    assert json.loads(block(card, "json", 0)) == whole.contract.prompt
    assert json.loads(block(card, "json", 1)) == record["layout_words"]
    assert whole.contract.hash in card and "| 64x64 RGB, bilinear" in card


def test_it_counts_pictures_sources_and_licences(whole: Project) -> None:
    card = model_card(whole, "adapter")
    for label, definition in LABELS.items():
        assert f"| {label} | {definition} | 3 | 2 | {2 if label == 'water' else 1} |" in card
    assert "| **all** | | 9 | 6 | 4 |" in card
    assert "Labels by: teacher (15), mine.jsonl (4); looked at by a person: 10." in card
    assert "Teachers: gpt-6-luna." in card
    assert "licences: CC-BY-4.0 (10), unknown (9)." in card


def test_it_tells_the_training(whole: Project) -> None:
    card = model_card(whole, "adapter")
    assert "100.0% of 6 pictures, after epoch 2" in card
    assert "| 1 | 1.000 | 50.0% |" in card and "| 2 | 0.500 | 100.0% |" in card
    assert "`learning_rate` 0.01" in card and "> Mind: 'fire' is rare." in card


def test_a_data_set_without_val_and_test_has_a_card(project: Project) -> None:
    history = project.workspace.adapter / "history.json"
    write_json(history, read_record(history) | {"val": [], "best": None})
    project.workspace.split("val").unlink()
    project.workspace.split("test").unlink()
    card = model_card(project, "adapter")
    assert "| **all** | | 9 | 0 | 0 |" in card and "nothing was measured" in card
    assert "eval_results" not in card and "model-index" not in card
    limits = card.partition("## Limits")[2]
    assert not any(word in limits for word in ("val", "test", "accuracy"))


def test_limits_name_the_splits_that_there_are(project: Project) -> None:
    assert "val and test were taken from the same data set" in model_card(project, "merged")
    project.workspace.split("val").unlink()
    card = model_card(project, "merged")
    assert "test was taken from the same data set" in card
    assert "the accuracy above is not of that" in card


def test_the_verdict_is_told(whole: Project) -> None:
    card = model_card(whole, "merged")
    assert "**75.0% of 4 pictures** answered right by `model-Q8_0.gguf`" in card
    assert "Gates: the lower bound of accuracy at least 85.0%, found 30.1%: **missed**" in card
    assert "> Mind: only 4 of at least 100 pictures were asked" in card and UNJUDGED not in card


def test_the_ladder_says_what_each_step_changed(whole: Project) -> None:
    card = model_card(whole, "merged")
    ships = "| llama.cpp Q8_0, ships | 75.0% | 10.0% to 90.0% | +0.0 (-12.0 to +79.0) |"
    for row in (
        "| torch base, likelihood | 25.0% | 10.0% to 90.0% |  |  |  |",
        f"{ships} torch merged | 100.0% |",
        "| 50.0% | 10.0% to 90.0% | -25.0 (-59.0 to +31.0) | llama.cpp Q8_0 | 75.0% |",
    ):
        assert row in card


def test_the_recommendation_and_unsure_are_told(whole: Project) -> None:
    card = model_card(whole, "adapter")
    assert "\nNot enough pictures to tell; llama.cpp Q8_0 is safe meanwhile.\n" in card
    assert "Below a confidence of 0.710 an answer is `unsure`, chosen on 6 pictures of val" in card
    assert "50.0% of the pictures are answered, 100.0% of these right." in card


def test_a_verdict_without_base_and_calibration_is_told(project: Project) -> None:
    path = project.workspace.report / "metrics.json"
    metrics = read_record(path) | {"base": None, "calibration": None}
    card = render(project, "merged", project.workspace.merged, metrics)
    assert "the commonest label would give 50.0%.\n" in card
    assert "How sure the student is was not calibrated" in card


def test_the_verdict_of_an_older_version_is_not_told(project: Project) -> None:
    def work(project: Project) -> Row:
        path = project.workspace.report / "metrics.json"
        older = read_record(path) | {"gates": {"min_accuracy": {"value": 0.85, "passed": True}}}
        del older["mmproj_type"]
        write_json(path, older)
        return older

    run(project, "validate", work)
    assert UNJUDGED in model_card(project, "merged")


@pytest.mark.parametrize(
    "name",
    [
        "adapter/adapter_model.safetensors",
        "merged/model.safetensors",
        "gguf/model-Q8_0.gguf",
        "report/metrics.json",
    ],
)
def test_the_verdict_of_other_files_is_not_told(project: Project, name: str) -> None:
    assert judged(project)
    with (project.workspace.root / name).open("a") as file:
        file.write(" ")
    assert judged(project) is None
    assert UNJUDGED in model_card(project, "merged")


def test_the_verdict_under_another_contract_is_not_told(project: Project) -> None:
    config = settings(device={"side": 128})
    assert judged(Project.of(parse_config(config), project.workspace.root)) is None


@pytest.mark.parametrize("what", ["adapter", "merged"])
def test_while_it_is_written_nobody_has_judged_it(
    project: Project, what: Model, tmp_path: Path
) -> None:
    (project.workspace.root / what).rename(tmp_path / "partial")
    card = model_card(project, what, tmp_path / "partial")
    assert UNJUDGED in card and "in llama.cpp (Q8_0)" not in card


def picture(path: Path, size: tuple[int, int], quarter_turn: bool = False) -> Path:
    """Write a photograph of noise, with an EXIF orientation on demand."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6 if quarter_turn else 1
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def executed(project: Project, what: Model) -> dict[str, Any]:
    """The names that the card's program leaves, run where its files lie."""
    scope: dict[str, Any] = {}
    exec(block(model_card(project, what), "python"), scope)
    return scope


@pytest.mark.parametrize("what", ["adapter", "merged"])
def test_the_program_asks_as_the_student_does(
    whole: Project, what: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole.workspace.root / what, tmp_path / "here")
    shutil.copytree(whole.workspace.root / "base", tmp_path / "here" / "base")
    monkeypatch.chdir(tmp_path / "here")
    path = picture(tmp_path / "here" / "picture.jpg", (200, 90), quarter_turn=True)
    scope = executed(whole, what)
    student = load_adapter(whole) if what == "adapter" else load_merged(whole)
    bitmap = whole.contract.open(path)
    assert scope["prompt"] == student.prompt

    shown = scope["pixels"](path).expand(1, scope["tiles"], -1, -1, -1)
    ids = torch.tensor([scope["prompt"]])
    with torch.inference_mode():
        logits = scope["model"](input_ids=ids, pixel_values=shown).logits[:, -1]
    assert (logits - student.logits([bitmap])).abs().max() < 1e-3
    [said] = student.answers([bitmap])
    heard = scope["tokenizer"].encode(said, add_special_tokens=False).ids
    assert scope["answer"](path) == scope["tokenizer"].decode(heard).strip()


@pytest.mark.parametrize("exif", [True, False])
@pytest.mark.parametrize("resize", ["bilinear", "lanczos", "area"])
def test_the_program_makes_the_contracts_bitmap(
    project: Project, resize: str, exif: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = {"side": 64, "resize": resize, "exif": exif}
    other = Project.of(parse_config(settings(device=device)), project.workspace.root)
    monkeypatch.chdir(project.workspace.merged)
    path = picture(project.workspace.merged / "picture.jpg", (333, 130), quarter_turn=True)
    made = executed(other, "merged")["pixels"](path)
    wanted = pixel_values([other.contract.open(path)])[0]
    assert (made - wanted).abs().max() <= 1 / 127 and (made != wanted).float().mean() < 1e-3


@hypothesis(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(question=PLAIN, meaning=PLAIN)
def test_any_question_and_definition_leave_the_card_whole(
    whole: Project, question: str, meaning: str
) -> None:
    task = {"question": question, "labels": dict.fromkeys(LABELS, meaning)}
    odd = Project.of(parse_config(settings(task=task)), whole.workspace.root)
    card = model_card(odd, "adapter")
    assert metadata(card).library_name == "peft"
    assert json.loads(block(card, "json", 0)) == odd.contract.prompt
