"""Which pictures each step shows, and which way round: a matter of seed and epoch alone."""

from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor
from torch.utils.data import Sampler

from pocketvlm.sections import Train

Item = tuple[int, int]
"""A picture's place in its split, and its view: 0 as it is, 1 mirrored."""


class Order(Sampler[list[Item]]):
    """One batch an optimiser step, `effective_batch` pictures over all processes.

    An epoch's order, mirrored views included, depends on seed and epoch, not on how many processes
    share a batch, how many pictures fit at once, or how often the training was interrupted."""

    def __init__(
        self, labels: Sequence[str], config: Train, rank: int = 0, processes: int = 1
    ) -> None:
        self.config, self.rank, self.processes = config, rank, processes
        self.count, self.epoch = len(labels), 0
        kinds = sorted(set(labels)) if config.balanced else []
        self.places = [
            torch.tensor([at for at, label in enumerate(labels) if label == kind]) for kind in kinds
        ]

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next iteration is."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.count // self.config.effective_batch)

    def __iter__(self) -> Iterator[list[Item]]:
        """This process's share of every batch; of the last one it can be empty."""
        generator = Generator().manual_seed(self.config.seed * 1_000_003 + self.epoch)
        if self.places:
            order = balanced(self.places, generator)
        else:
            order = torch.randperm(self.count, generator=generator)
        turned = torch.rand(self.count, generator=generator) < 0.5
        views = turned.long() if self.config.mirror else torch.zeros_like(order)
        size = self.config.effective_batch
        for start in range(0, self.count, size):
            mine = slice(start + self.rank, start + size, self.processes)
            yield list(zip(order[mine].tolist(), views[mine].tolist(), strict=True))


def balanced(places: Sequence[Tensor], generator: Generator) -> Tensor:
    """As many pictures as there are, every label equally often; `places` are those of each label.

    Of a rare label each picture is shown before any comes again; of a frequent one each epoch
    shows others."""
    each, rest = divmod(sum(map(len, places)), len(places))
    lucky = torch.randperm(len(places), generator=generator)[:rest].tolist()
    drawn = []
    for kind, own in enumerate(places):
        wanted = each + (kind in lucky)
        rounds = -(-wanted // len(own))
        orders = [torch.randperm(len(own), generator=generator) for _ in range(rounds)]
        drawn.append(own[torch.cat(orders)[:wanted]])
    shown = torch.cat(drawn)
    return shown[torch.randperm(len(shown), generator=generator)]


class Turns(Sampler[list[Item]]):
    """The pictures of a split in their own order, this process's share, a few at a time."""

    def __init__(self, count: int, size: int, rank: int = 0, processes: int = 1) -> None:
        self.places = range(rank, count, processes)
        self.size = size

    def __len__(self) -> int:
        return -(-len(self.places) // self.size)

    def __iter__(self) -> Iterator[list[Item]]:
        for start in range(0, len(self.places), self.size):
            yield [(at, 0) for at in self.places[start : start + self.size]]
