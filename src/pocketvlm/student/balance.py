"""The order in which pictures are shown where every label counts the same."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler


class Balanced(Sampler[int]):
    """As many pictures an epoch as there are, every label equally often.

    Of a rare label each picture is shown before any comes again; of a frequent one each epoch shows
    others. The order of an epoch depends on seed and epoch alone, so that an interrupted training
    goes on in the same order: accelerate calls `set_epoch` before each one."""

    def __init__(self, labels: Sequence[str], seed: int) -> None:
        kinds = sorted(set(labels))
        self.places = [
            torch.tensor([at for at, label in enumerate(labels) if label == kind]) for kind in kinds
        ]
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next iteration is."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(map(len, self.places))

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        each, rest = divmod(len(self), len(self.places))
        lucky = torch.randperm(len(self.places), generator=generator)[:rest].tolist()
        drawn = []
        for kind, places in enumerate(self.places):
            wanted = each + (kind in lucky)
            rounds = -(-wanted // len(places))
            orders = [torch.randperm(len(places), generator=generator) for _ in range(rounds)]
            drawn.append(places[torch.cat(orders)[:wanted]])
        shown = torch.cat(drawn)
        yield from shown[torch.randperm(len(shown), generator=generator)].tolist()
