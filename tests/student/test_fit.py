"""How many pictures fit at once: asked of the memory, and halved where that was too many."""

import ctypes
import gc
import resource
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from pocketvlm.errors import PocketError
from pocketvlm.sections import Train
from pocketvlm.student import fit
from pocketvlm.student.fit import SHARE, Fit, kept_bytes, out_of_memory
from pocketvlm.student.ranks import Ranks
from pocketvlm.student.trainer import StudentTrainer
from pocketvlm.workspace import Row, read_json, write_json
from tests.student.children import FORKS
from tests.student.conftest import make_project
from tests.student.students import ALONE, repeat, trainer_of

MIB = 1 << 20


class Layers(nn.Module):
    """Keeps `width` numbers for each of three sums, and a weight that is no activation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width, bias=False)
        self.seen: list[weakref.ref[Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        """The sine keeps its input, the exponential its output, and both keep `y`."""
        y = self.linear(x)
        z = y.exp()
        self.seen = [weakref.ref(y), weakref.ref(z)]
        total: Tensor = (y.sin() + z).sum()
        return total


def test_a_forward_pass_is_measured_without_weights_and_each_tensor_once() -> None:
    layers, x = Layers(1000), torch.randn(8, 1000)
    kept = kept_bytes(lambda: layers(x), layers.parameters())
    assert kept == 3 * 8 * 1000 * 4  # x, y and z


def test_nothing_of_the_measured_pass_is_kept() -> None:
    layers = Layers(1000)
    kept_bytes(lambda: layers(torch.randn(8, 1000)), layers.parameters())
    gc.collect()
    assert [ref() for ref in layers.seen] == [None, None]


@pytest.mark.parametrize("vision", ["frozen", "connector", "lora"])
def test_what_is_measured_is_near_what_is_allocated(
    tmp_path: Path, tiny_base: Path, vision: str
) -> None:
    trainer = trainer_of(make_project(tmp_path, tiny_base, vision=vision))
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    measured = kept_bytes(lambda: trainer._loss(trainer.model, batch), trainer.fit.weights)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as told:
        loss = trainer._loss(trainer.model, batch)
    allocated = sum(event.self_cpu_memory_usage for event in told.events())
    assert loss.requires_grad
    assert 0.8 < measured / allocated < 1.25


@given(
    st.integers(1, 64 * MIB),
    st.integers(0, 1 << 34),
    st.integers(1, 64),
    st.integers(1, 4),
)
def test_auto_fills_what_is_free_and_no_more(
    needed: int, free: int, batch: int, processes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "kept_bytes", lambda forward, weights: needed)
        patch.setattr(fit, "free_memory", lambda: free)
        patch.setattr(fit, "write_json", lambda path, row: None)
        config = Train(effective_batch=batch)
        found = Fit(config, Ranks(0, processes), [], Path("nowhere"))
        assert found.rows is None and found.size == 1
        found.measure(lambda: torch.zeros(()))
    share = -(-batch // processes)
    assert 1 <= found.size <= share
    assert found.size == 1 or found.size * needed <= SHARE * free / processes
    assert found.size == share or (found.size + 1) * needed > SHARE * free / processes


def test_what_was_found_is_found_again(tmp_path: Path) -> None:
    """Each process its own; a number in the configuration goes before."""
    first = Fit(Train(effective_batch=12, batch_size=5), Ranks(1, 2), [], tmp_path)
    assert not first.file.exists()  # what ends the first step must not be tried again
    first.keep()
    assert Fit(Train(effective_batch=12), Ranks(1, 2), [], tmp_path).rows == 5
    assert Fit(Train(effective_batch=4), Ranks(1, 2), [], tmp_path).rows == 2
    assert Fit(Train(effective_batch=12), Ranks(0, 2), [], tmp_path).rows is None
    assert Fit(Train(effective_batch=12, batch_size=4), Ranks(1, 2), [], tmp_path).rows == 4
    assert Fit(Train(effective_batch=12, batch_size=99), ALONE, [], tmp_path).rows == 12


def test_less_memory_than_before_is_heeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "batch-size-0.json", {"pictures": 12, "bytes_each": 2**20})
    monkeypatch.setattr(fit, "free_memory", lambda: 5 * 2**20)
    assert Fit(Train(effective_batch=12), ALONE, [], tmp_path).rows == 3  # SHARE of 5


def test_one_picture_cannot_be_halved(tmp_path: Path) -> None:
    found = Fit(Train(effective_batch=7, batch_size=7), ALONE, [], tmp_path)
    for rows in (3, 1):
        found.halve()
        assert found.rows == rows
    with pytest.raises(PocketError, match="one picture alone does not fit"):
        found.halve()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)."),
        RuntimeError("could not create a primitive"),
    ],
)
def test_memory_is_known_to_be_short(error: Exception) -> None:
    assert out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("could not create a primitive descriptor for a convolution"),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        ValueError("out of memory."),
        PocketError("one picture alone does not fit"),
    ],
)
def test_other_mistakes_are_not_taken_for_it(error: Exception) -> None:
    assert not out_of_memory(error)


@contextmanager
def limited(more: int) -> Iterator[None]:
    """Inside of the block the process gets no more than so many bytes beside what it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


MMAP_THRESHOLD = -3
"""glibc's M_MMAP_THRESHOLD: blocks above it are asked of the system, and given back, each alone."""


def live(root: Path, base: Path, more: int, settings: dict[str, Any]) -> None:
    """Train on 240 pictures a step, three steps; writes what happened to told.json."""
    ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 1 << 16)
    torch.set_num_threads(1)
    project = make_project(root, base, effective_batch=240, epochs=3, dropout=0, **settings)
    repeat(project, "train", 10)
    trainer = trainer_of(project)
    with limited(more):
        trainer.train()
    losses = [[row["step"], row["loss"]] for row in trainer.state.log_history if "loss" in row]
    write_json(root / "told.json", {"losses": losses, "rows": trainer.fit.rows})


def take_a_step(root: Path, base: Path) -> None:
    """With no memory at all; writes what is said of it."""
    torch.set_num_threads(1)
    trainer = trainer_of(make_project(root, base, vision="lora", batch_size=4))
    batch = next(iter(trainer.get_train_dataloader()))
    with pytest.raises(PocketError) as told, limited(0):
        trainer.training_step(trainer.model, batch)
    write_json(root / "told.json", {"error": str(told.value)})


def lived(life: Callable[..., None], root: Path, *settings: Any) -> Row:
    """The same in a process of its own."""
    child = FORKS.Process(target=life, args=(root, *settings))
    child.start()
    child.join(200)
    if child.exitcode is None:
        child.kill()
    assert child.exitcode == 0
    told: Row = read_json(root / "told.json")
    return told


glibc = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")


@glibc
def test_out_of_memory_halves_the_step_and_loses_nothing(tmp_path: Path, tiny_base: Path) -> None:
    """Asked, the machine's memory is enough for all 240; the process may not have it."""
    short = lived(live, tmp_path / "short", tiny_base, 20 * MIB, {})
    plenty = lived(live, tmp_path / "plenty", tiny_base, 1 << 34, {"batch_size": 32})
    assert short["rows"] in (120, 60, 30, 15)
    assert plenty["rows"] == 32
    found = (tmp_path / "short" / "state" / "checkpoints").glob("*/batch-size-0.json")
    assert [read_json(file)["pictures"] for file in found] == [short["rows"]]
    assert [step for step, _ in short["losses"]] == [1, 2, 3]
    for (step, loss), (same, other) in zip(short["losses"], plenty["losses"], strict=True):
        assert step == same
        assert abs(loss - other) < 1e-5


@glibc
def test_one_picture_alone_too_large_is_told(tmp_path: Path, tiny_base: Path) -> None:
    told = lived(take_a_step, tmp_path / "none", tiny_base)
    assert "one picture alone does not fit" in told["error"]


def test_a_step_done_again_in_halves_draws_the_same_dropout(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory runs out in the middle of the step, after the first part was learnt from."""
    settings: dict[str, Any] = {"effective_batch": 12, "dropout": 0.5}
    losses, gradients = [], []
    for rows in (8, 4):
        project = make_project(tmp_path / str(rows), tiny_base, batch_size=rows, **settings)
        trainer = trainer_of(project)

        def short(
            model: nn.Module, part: dict[str, Tensor], of: StudentTrainer = trainer
        ) -> Tensor:
            loss = StudentTrainer._loss(of, model, part)
            if len(part["ids"]) == 4 and of.fit.rows == 8:
                raise MemoryError
            return loss

        monkeypatch.setattr(trainer, "_loss", short)
        batch = next(iter(trainer.get_train_dataloader()))
        losses.append(trainer.training_step(trainer.model, batch))
        gradients.append([p.grad for p in trainer.model.parameters() if p.grad is not None])
        assert trainer.fit.rows == 4
    assert torch.equal(*losses)
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
