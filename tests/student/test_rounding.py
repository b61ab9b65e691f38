"""The tower's roundings are llama.cpp's while they are asked for, and gone afterwards."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pocketvlm.base import load_tokenizer
from pocketvlm.project import Project
from pocketvlm.runtime import ask_layout
from pocketvlm.student.load import load_model
from pocketvlm.student.rounding import rounded_as_runtime
from pocketvlm.student.student import Student


@pytest.fixture
def student(project: Project, tiny_base: Path) -> Student:
    layout = ask_layout(tiny_base, project.contract)
    model, tokenizer = load_model(tiny_base, torch.float32), load_tokenizer(tiny_base)
    return Student(model, tokenizer, project.contract, layout)


def test_roundings_change_a_little_and_are_taken_back(student: Student) -> None:
    bitmap = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    plain = student.look([bitmap])[0]
    rounded = student.rounded([bitmap])
    assert 0 < np.abs(rounded - plain).max() < 1e-2 * plain.std()
    np.testing.assert_array_equal(student.look([bitmap])[0], plain)


def test_a_failure_inside_takes_them_back_too(student: Student) -> None:
    weight = student.model.model.vision_model.embeddings.patch_embedding.weight
    before = weight.clone()
    with pytest.raises(KeyboardInterrupt), rounded_as_runtime(student.model):
        assert not torch.equal(weight, before)
        raise KeyboardInterrupt
    assert torch.equal(weight, before)
    gelu = student.model.model.vision_model.encoder.layers[0].mlp.activation_fn
    assert not gelu._forward_hooks and not gelu._forward_pre_hooks
