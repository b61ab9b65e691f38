"""How many pictures go through the model at once: asked of it, and halved where it was too much."""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor, nn

from pocketvlm.errors import PocketError
from pocketvlm.progress import say
from pocketvlm.sections import Train
from pocketvlm.student.precision import free_memory
from pocketvlm.student.ranks import Ranks
from pocketvlm.workspace import read_record, write_json

SHARE = 0.6
"""Of the free memory that activations may take; the rest is for what they are computed with."""

SIGNS = ("CUDA error: out of memory", "_ALLOC_FAILED", "std::bad_alloc")
"""How CUDA's own calls, cuBLAS and cuDNN, and C++ say it, besides what accelerate knows."""


class Fit:
    """Pictures a forward pass. What has fitted is kept in a file beside the checkpoints, so that a
    training that goes on draws the same dropout, unless the memory has become less."""

    def __init__(
        self, config: Train, ranks: Ranks, weights: Iterable[nn.Parameter], folder: Path
    ) -> None:
        self.most = -(-config.effective_batch // ranks.processes)
        self.ranks, self.weights = ranks, list(weights)
        self.file = folder / f"batch-size-{ranks.rank}.json"
        self.rows: int | None = None
        """None as long as nothing is known."""
        self.needed, self.kept = 0, 0
        """Bytes a picture, 0 where none was measured; pictures that the file tells of."""
        if config.batch_size != "auto":
            self.rows = min(config.batch_size, self.most)
        elif self.file.is_file():
            known = read_record(self.file)
            self.needed = int(known["bytes_each"])
            self.rows = min(int(known["pictures"]), self._room())

    @property
    def size(self) -> int:
        """Pictures a forward pass, once it is known."""
        return self.rows or 1

    def measure(self, forward: Callable[[], Tensor]) -> None:
        """Fill what is free, by the bytes that one picture's forward pass keeps."""
        self.needed = kept_bytes(forward, self.weights)
        self.rows = self._room()
        say(
            f"{self.rows} of {self.most} pictures of a step go through the model at once "
            f"({self.needed / 2**20:.2g} MiB each, {self._free() / 2**30:.1f} GiB for them)"
        )

    def _free(self) -> float:
        return SHARE * free_memory() / (1 if torch.cuda.is_available() else self.ranks.processes)

    def _room(self) -> int:
        """Pictures that are free memory's share."""
        return max(1, min(self.most, int(self._free() / max(1, self.needed))))

    def halve(self) -> None:
        """After running out of memory; PocketError when one picture alone is too much."""
        if self.size == 1:
            raise PocketError(
                "one picture alone does not fit into this device's memory: close what else uses "
                "it, take a smaller base.model or device.side, or `--set train.vision=frozen`"
            )
        self.rows = self.size // 2
        say(f"Out of memory: {self.rows} pictures at once from here on; the step is done again.")

    def keep(self) -> None:
        """After a step that fitted: what ended the process before must not be tried again."""
        if self.rows != self.kept:
            self.kept = self.size
            write_json(self.file, {"pictures": self.kept, "bytes_each": self.needed})


def out_of_memory(error: Exception) -> bool:
    """Whether that is why a step failed."""
    if isinstance(error, MemoryError) or should_reduce_batch_size(error):
        return True
    said = str(error) if isinstance(error, RuntimeError) else ""
    # oneDNN gives no reason here; where it does not know a layer it names the layer.
    return said == "could not create a primitive" or any(sign in said for sign in SIGNS)


def kept_bytes(forward: Callable[[], Tensor], weights: Iterable[nn.Parameter]) -> int:
    """Bytes that a forward pass keeps for its backward pass: each storage once, no weights."""
    known = {weight.untyped_storage().data_ptr() for weight in weights}
    sizes: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return value.detach()  # the value itself would hold the graph that holds it, for ever

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        forward()
    return sum(sizes.values())
