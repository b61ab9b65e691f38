"""The script that makes the base: its folder is a student, its log goes on."""

import json
from pathlib import Path

import pytest
import torch

from pocketvlm.base import load_tokenizer
from pocketvlm.demo.pretrain import Energies, pretrain
from pocketvlm.student.load import load_model
from pocketvlm.student.tiny import tiny_model, tiny_tokenizer


@pytest.mark.slow
def test_writes_a_student_and_goes_on_from_it(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    pretrain(first, steps=2, batch=2, seed=0, report=1)
    pretrain(second, steps=1, batch=2, seed=1, start=first, rate=1e-3, report=1)
    log = [json.loads(line) for line in (second / "pretrain.jsonl").read_text().splitlines()]
    assert [row.get("step", "run") for row in log] == ["run", 1, 2, "run", 1]
    assert [row["seed"] for row in log if "seed" in row] == [0, 1]
    assert all(row["loss"] > 0 for row in log if "step" in row)
    before = load_model(first, torch.float32).state_dict()
    after = load_model(second, torch.float32).state_dict()
    changes = [float((before[name] - after[name]).abs().max()) for name in before]
    assert 0 < max(changes) < 0.01  # it went on, it did not begin anew
    assert load_tokenizer(second).token_to_id(" water".replace(" ", "Ġ")) is not None


def test_energies_are_standardised_and_see_texture() -> None:
    torch.manual_seed(0)
    filters = tiny_model(tiny_tokenizer([]), "test").model.vision_model.embeddings.patch_embedding
    sample = torch.randn(8, 3, 256, 256)
    energies = Energies(filters, sample)
    found = energies(sample)
    assert found.shape == (8, 16, 64)
    assert float(found.mean().abs()) < 1e-4
    assert abs(float(found.std()) - 1) < 0.05
    flat = energies(torch.zeros(1, 3, 256, 256))
    assert float(flat.mean()) < float(found.min(dim=0).values.mean())
