"""What the student sees."""

from pathlib import Path

import numpy as np
import torch

from pocketvlm.project import Project
from pocketvlm.student import load_base
from pocketvlm.student.data import IGNORED, Collator, Split
from pocketvlm.student.inputs import embed, image_features, pixel_values, scaled
from tests.student.conftest import REASON, make_project
from tests.student.students import lessons_of


def test_pixels_are_minus_one_to_one() -> None:
    black, white = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)
    values = pixel_values([black, white])
    assert values.shape == (2, 3, 64, 64)
    assert bool((values[0] == -1).all())
    assert bool((values[1] == 1).all())


def test_embedding_equals_transformers_own_forward(project: Project) -> None:
    """The masked scatter gives what transformers gives when it is handed two pictures."""
    student = load_base(project)
    bitmap = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    pixels = pixel_values([bitmap])
    ids = torch.tensor([student.prompt])
    with torch.no_grad():
        ours = student.model(
            inputs_embeds=embed(student.model, ids, image_features(student.model, pixels))
        ).logits
        theirs = student.model(input_ids=ids, pixel_values=torch.stack([pixels, pixels], 1)).logits
    assert (ours - theirs).abs().max() < 1e-5


def test_loss_lies_on_answer_and_end_token_only(project: Project) -> None:
    student = load_base(project)
    features = torch.zeros(4, 128)
    batch = Collator(student)([(features, "sky"), (features, "grass")])
    for row, label in enumerate(("sky", "grass")):
        taught = [token for token in batch["labels"][row].tolist() if token != IGNORED]
        assert taught == student.answer_ids(label)
        assert taught[-1] == student.end
        kept = batch["ids"][row][batch["mask"][row].bool()].tolist()
        assert kept == student.prompt + taught


def test_the_reason_never_reaches_the_student(project: Project) -> None:
    student = load_base(project)
    split = Split(project, "train")
    lessons = lessons_of(student, split, project.workspace.root / "kept")
    batch = Collator(student)([lessons[at, 0] for at in range(len(lessons))])
    assert REASON in project.workspace.split("train").read_text()
    for ids, label in zip(batch["ids"].tolist(), split.labels, strict=True):
        text = student.tokenizer.decode(ids, skip_special_tokens=False)
        question = f"\n{project.config.task.question}\n\nElement:"
        assert text.endswith(f"{question} {label}<end_of_utterance>")
        assert "secret" not in text


def test_padding_changes_no_likelihood(tmp_path: Path, tiny_base: Path) -> None:
    """A short answer beside a long one is as likely as alone."""
    project = make_project(tmp_path, tiny_base, epochs=1)
    student = load_base(project)
    collator = Collator(student)
    ids = collator.answers["sky"][:-1]
    collator.answers["grass"] = [*ids, 40, 50, 60, student.end]
    collator.tail = len(ids) + 4
    bitmap = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        features = image_features(student.model, pixel_values([bitmap]))[0]
        batch = collator([(features, "sky"), (features, "grass")])
        embeddings = embed(student.model, batch["ids"], batch["seen"])
        logits = student.model(inputs_embeds=embeddings, attention_mask=batch["mask"]).logits
    said = logits[0].log_softmax(-1)[-len(ids) - 2 : -1]
    together = sum(float(row[token]) for row, token in zip(said, [*ids, student.end], strict=True))
    alone = student.likelihoods([bitmap])[0, list(project.contract.labels).index("sky")]
    assert abs(together - alone) < 1e-4


def test_answers_of_unequal_length_are_padded_on_the_left(project: Project) -> None:
    student = load_base(project)
    collator = Collator(student)
    collator.answers = {"sky": [5, student.end], "grass": [5, 6, 7, student.end]}
    collator.tail = 4
    features = torch.zeros(4, 128)
    batch = collator([(features, "sky"), (features, "grass")])
    assert batch["mask"][0].tolist()[:3] == [0, 0, 1]
    assert batch["labels"].tolist() == [
        [IGNORED, IGNORED, 5, student.end],
        [5, 6, 7, student.end],
    ]


def test_a_batch_of_none_is_empty(project: Project) -> None:
    assert Collator(load_base(project))([]) == {}


def test_bitmaps_are_scaled_alike_one_by_one_and_in_a_batch() -> None:
    bitmaps = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    together = scaled(torch.from_numpy(bitmaps))
    assert torch.equal(together, pixel_values(list(bitmaps)))
    assert torch.equal(together[1], pixel_values([bitmaps[1]])[0])
