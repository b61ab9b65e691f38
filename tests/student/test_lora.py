"""Which layers are adapted, and what an adapted tower leads to."""

from pathlib import Path

import pytest
import torch
from peft import get_peft_model
from safetensors.numpy import load_file

from pocketvlm.export import convert
from pocketvlm.project import Project
from pocketvlm.runtime import Runtime
from pocketvlm.sections import Export, Train
from pocketvlm.student import load_adapter, load_base, load_merged, merge, train
from pocketvlm.student.data import Split
from pocketvlm.student.load import load_model
from pocketvlm.student.train import lora
from tests.student.conftest import make_project


def adapted(base: Path, **settings: object) -> set[str]:
    """Names of the layers that carry an adapter."""
    config = Train.model_validate(settings)
    model = get_peft_model(load_model(base, torch.float32), lora(config))
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
    names = adapted(tiny_base, vision="connector")
    assert len(names) == 2 * 7 + 1
    assert not any("vision_model" in name for name in names)


def test_tower_on_demand(tiny_base: Path) -> None:
    names = adapted(tiny_base, vision="lora")
    assert len(names) == 2 * 7 + 1 + 2 * 6  # two layers of the tower: q k v out fc1 fc2
    assert sum("vision_model" in name for name in names) == 2 * 6


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Project:
    """A project whose tower has learnt, exported in full precision."""
    root = tmp_path_factory.mktemp("lora")
    project = make_project(root, tiny_base, vision="lora", epochs=6, patience=9)
    train(project)
    merge(project)
    config = project.config.model_copy(update={"export": Export(types=("F32",), mmproj=("F32",))})
    project = Project.of(config, root)
    convert(project)
    return project


def test_the_tower_learns(trained: Project) -> None:
    weights = load_file(trained.workspace.adapter / "adapter_model.safetensors")
    learnt = {name: abs(value).max() for name, value in weights.items() if "lora_B" in name}
    tower = [value for name, value in learnt.items() if "vision_model" in name]
    assert len(tower) == 2 * 6
    assert min(tower) > 1e-4  # all begin at zero
    test = Split(trained, "test")
    bitmap = [test[0][0]]
    before, after = load_base(trained).look(bitmap)[0], load_merged(trained).look(bitmap)[0]
    assert abs(after - before).max() > 1e-2


def test_features_are_off_by_themselves(trained: Project) -> None:
    assert not (trained.workspace.root / "state" / "features").exists()


def test_adapter_merged_and_phone_answer_the_same(trained: Project) -> None:
    test, contract = Split(trained, "test"), trained.contract
    bitmaps = [test[at][0] for at in range(len(test))]
    adapter, merged = load_adapter(trained), load_merged(trained)
    assert adapter.answers(bitmaps) == merged.answers(bitmaps)
    assert [answer.strip() for answer in merged.answers(bitmaps)] == test.labels
    wanted = merged.logits(bitmaps)
    assert (adapter.logits(bitmaps) - wanted).abs().max() < 1e-4
    files = trained.workspace.text_gguf("F32"), trained.workspace.vision_gguf("F32")
    with Runtime(*files, exact=True, threads=1) as runtime:
        for bitmap, logits, label in zip(bitmaps, wanted.numpy(), test.labels, strict=True):
            assert runtime.answer(contract.prompt, bitmap, 4).text.strip() == label
            assert abs(runtime.logits(contract.prompt, bitmap) - logits).max() < 1e-2
