"""In which numbers a student trains, what is said of it, and that float16 learns."""

from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from peft import get_peft_model

from pocketvlm.student.load import load_model
from pocketvlm.student.precision import Precision, device, free_memory, precision
from pocketvlm.student.train import lora
from pocketvlm.student.trainer import StudentTrainer
from tests.student.conftest import make_project
from tests.student.students import trainer_of


def machine(patch: pytest.MonkeyPatch, **has: bool) -> None:
    """Another one: `cuda`, `bf16`, `mps` or `amx`. None of them is here to be had."""
    patch.setattr(torch.cuda, "is_available", lambda: has.get("cuda", False))
    patch.setattr(torch.cuda, "device_count", lambda: 4)
    patch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has.get("bf16", False))
    patch.setattr(torch.backends.mps, "is_available", lambda: has.get("mps", False))
    patch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has.get("amx", False))


@pytest.mark.parametrize(
    ("has", "where", "dtype", "scaled"),
    [
        ({"cuda": True, "bf16": True}, "cuda", torch.bfloat16, False),
        ({"cuda": True}, "cuda", torch.float16, True),
        ({"mps": True}, "mps", torch.float32, False),
        ({"amx": True}, "cpu", torch.bfloat16, False),
        ({}, "cpu", torch.float32, False),
    ],
)
def test_the_hardware_chooses(
    monkeypatch: pytest.MonkeyPatch,
    has: dict[str, bool],
    where: str,
    dtype: torch.dtype,
    scaled: bool,
) -> None:
    machine(monkeypatch, **has)
    assert device().type == where
    assert precision().dtype == dtype
    assert precision().scaled == scaled


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=True)
    assert device() == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device() == torch.device("cuda", 3)


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({}, "What tower and connector say is kept"),
        ({"vision": "connector"}, "What the tower says is kept, the connector learns"),
        ({"vision": "lora"}, "The tower looks at every picture in every epoch"),
        ({"cache": False}, "The tower looks at every picture in every epoch"),
    ],
)
def test_numbers_and_their_reason_are_said(
    tmp_path: Path,
    tiny_base: Path,
    capfd: pytest.CaptureFixture[str],
    settings: dict[str, Any],
    seen: str,
) -> None:
    trainer_of(make_project(tmp_path, tiny_base, **settings))
    said = " ".join(capfd.readouterr().err.split())
    name = str(precision().dtype).removeprefix("torch.")
    assert f"Training on {device().type} in {name} ({precision().why}). {seen}" in said


def test_free_memory_is_that_of_the_machine() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine's GPU is asked")
    assert 0 < free_memory() <= psutil.virtual_memory().total


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("vision", ["frozen", "connector", "lora"])
def test_adapters_are_float32_beside_any_weights(
    tmp_path: Path, tiny_base: Path, vision: str, dtype: torch.dtype
) -> None:
    config = make_project(tmp_path, tiny_base, vision=vision).config.train
    model = get_peft_model(load_model(tiny_base, dtype), lora(config))
    for value in model.parameters():
        assert value.dtype == (torch.float32 if value.requires_grad else dtype)


def trainer_in(
    patch: pytest.MonkeyPatch, root: Path, base: Path, dtype: torch.dtype, **settings: Any
) -> StudentTrainer:
    """A trainer whose frozen weights are in `dtype`. Its loss is not scaled: accelerate scales on
    GPUs alone."""
    module = import_module("pocketvlm.student.train")
    patch.setattr(module, "precision", lambda: Precision(dtype, "asked for"))
    project = make_project(root, base, effective_batch=8, dropout=0, **settings)
    with patch.context() as inner:
        if dtype == torch.float16:
            inner.setattr(Precision, "scaled", False)
        return trainer_of(project)


@pytest.mark.parametrize("vision", ["frozen", "connector", "lora"])
def test_float16_learns_with_a_scaled_loss(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, vision: str
) -> None:
    """What accelerate does on a GPU, with torch's own autocast and scaler on the processor."""
    exact = trainer_in(monkeypatch, tmp_path / "32", tiny_base, torch.float32, vision=vision)
    half = trainer_in(monkeypatch, tmp_path / "16", tiny_base, torch.float16, vision=vision)
    losses: dict[torch.dtype, list[float]] = {}
    for trainer, dtype in ((exact, torch.float32), (half, torch.float16)):
        batch = next(iter(trainer.get_train_dataloader()))
        learning = [value for value in trainer.model.parameters() if value.requires_grad]
        optimiser = torch.optim.AdamW(learning, lr=5e-3)
        scaler = torch.amp.GradScaler("cpu", enabled=dtype == torch.float16)
        losses[dtype] = []
        for _ in range(8):
            with torch.autocast("cpu", dtype, enabled=dtype == torch.float16):
                loss = trainer._loss(trainer.model, batch) / len(batch["ids"]) / 2
            torch.autograd.backward(scaler.scale(loss))
            scaler.unscale_(optimiser)
            assert all(
                bool(value.grad.isfinite().all()) for value in learning if value.grad is not None
            )
            scaler.step(optimiser)
            scaler.update()
            optimiser.zero_grad()
            losses[dtype].append(loss.item())
    assert losses[torch.float16][-1] < losses[torch.float16][0] - 0.3
    for one, other in zip(*losses.values(), strict=True):
        assert abs(one - other) < 0.05


@pytest.mark.parametrize("vision", ["frozen", "connector", "lora"])
def test_bfloat16_trains_as_float32_does(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, vision: str
) -> None:
    """A whole training, as on a processor that multiplies bfloat16."""
    losses = []
    for dtype in (torch.float32, torch.bfloat16):
        root = tmp_path / str(dtype)
        trainer = trainer_in(monkeypatch, root, tiny_base, dtype, vision=vision, epochs=2)
        trainer.train()
        losses.append([row["loss"] for row in trainer.state.log_history if "loss" in row])
    assert losses[0][-1] < losses[0][0] - 0.3
    assert all(abs(one - other) < 0.05 for one, other in zip(*losses, strict=True))


def test_a_container_may_allow_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As cgroup v2 writes it."""
    monkeypatch.setattr(import_module("pocketvlm.student.precision"), "CGROUP", tmp_path)
    assert free_memory() > 2**20
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 2**20
    (tmp_path / "memory.max").write_text("5000\n")
    assert free_memory() == 4000
