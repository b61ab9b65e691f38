"""Which layers are adapted."""

from pathlib import Path

import torch
from peft import get_peft_model

from pocketvlm.sections import Train
from pocketvlm.student.load import load_model
from pocketvlm.student.train import lora


def adapted(base: Path, **settings: bool) -> set[str]:
    """Names of the layers that carry an adapter."""
    model = get_peft_model(load_model(base, torch.float32), lora(Train(**settings)))
    return {name.split(".lora_A")[0] for name, _ in model.named_parameters() if "lora_A" in name}


def test_text_model_only(tiny_base: Path) -> None:
    names = adapted(tiny_base)
    assert len(names) == 2 * 7  # two layers: q k v o gate up down
    assert all("text_model" in name for name in names)


def test_plain_names_would_hit_the_tower(tiny_base: Path) -> None:
    """The tower has layers of the same names, so the regex is needed."""
    tower = load_model(tiny_base, torch.float32).model.vision_model
    assert any(name.endswith("q_proj") for name, _ in tower.named_modules())


def test_connector_on_demand(tiny_base: Path) -> None:
    names = adapted(tiny_base, connector=True)
    assert len(names) == 2 * 7 + 1
    assert not any("vision_model" in name for name in names)
