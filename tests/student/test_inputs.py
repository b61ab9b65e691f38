"""What the student sees."""

from pathlib import Path

import numpy as np
import torch

from pocketvlm.project import Project
from pocketvlm.student import load_base
from pocketvlm.student.data import IGNORED, Collator
from pocketvlm.student.inputs import embed, image_features, pixel_values


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


def test_the_reason_never_reaches_the_student(project: Project, tiny_base: Path) -> None:
    student = load_base(project)
    text = student.tokenizer.decode(student.prompt, skip_special_tokens=False)
    assert text.endswith(f"\n{project.config.task.question}\n\nElement:")
    assert "reason" not in text


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
