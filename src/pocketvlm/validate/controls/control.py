"""One control: something that would look otherwise if the accuracy were luck, a leak or a mistake.

And what all controls look at: the examples with the answers that were judged."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from pocketvlm.contract import Contract
from pocketvlm.intervals import wilson
from pocketvlm.validate.examples import Example
from pocketvlm.workspace import Row

SEED = 0
"""Of every sample, order and noise of the controls: the same files give the same figures."""

ORDERS, RARE = 10_000, 0.999
"""Random orders that chance is measured by, and the share of them that the limit holds."""

EACH = 500
"""Orders at a time, so that memory stays small where there are many labels."""


@dataclass(frozen=True)
class Control:
    """What was tried and what came out."""

    name: str
    words: str
    """What was done and seen, for someone who does not train models."""
    value: float | None
    """What is compared with the limit; None where it is not known."""
    limit: float | None
    passed: bool | None
    """None: shown, not judged."""
    sentence: str
    """What it means when it fails, with the cause to look for."""

    def row(self) -> Row:
        """As metrics.json holds it."""
        return asdict(self)


@dataclass(frozen=True)
class Judged:
    """Labels that pictures got, against what is true of them."""

    truth: Sequence[str]
    answers: Sequence[str | None]

    @classmethod
    def of(cls, contract: Contract, examples: Sequence[Example], texts: Sequence[str]) -> "Judged":
        """The greedy answers to the examples."""
        return cls([one.truth for one in examples], [contract.label_of(text) for text in texts])

    def part(self, places: Sequence[int]) -> "Judged":
        """Some of the pictures."""
        return Judged([self.truth[at] for at in places], [self.answers[at] for at in places])

    @property
    def n(self) -> int:
        """Pictures."""
        return len(self.truth)

    @property
    def right(self) -> list[bool]:
        """Whether each answer equals the truth."""
        return [true == said for true, said in zip(self.truth, self.answers, strict=True)]

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0..1; of at least one."""
        return sum(self.right) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the accuracy (Wilson)."""
        return wilson(sum(self.right), self.n)

    @property
    def commonest(self) -> str:
        """The label that is true most often."""
        return Counter(self.truth).most_common(1)[0][0]

    @property
    def majority(self) -> float:
        """Accuracy of always answering the commonest label."""
        return self.truth.count(self.commonest) / self.n

    @property
    def above_majority(self) -> bool | None:
        """Whether the accuracy is surely above the majority's; None where so few pictures, or so
        lopsided ones, could not even show it of a student that is always right."""
        if wilson(self.n, self.n)[0] <= self.majority:
            return None
        return self.interval[0] > self.majority

    @cached_property
    def chance(self) -> tuple[float, float]:
        """Accuracy where answers have nothing to do with pictures, and what 999 of 1,000 random
        orders of these answers stay below.

        A permutation test: it needs no assumption on how labels are distributed, and also sees a
        student that finds a few pictures of a rare label, whose accuracy is below the majority's.
        Orders are drawn as tables of given margins (scipy.stats.random_table, Patefield 1981)."""
        from scipy.stats import random_table

        true, said = Counter(self.truth), Counter(self._said)
        # The commonest first: scipy 1.17 errs where the first rows are empty, and on a single cell.
        words = [*(word for word, _ in true.most_common()), *sorted({"", *said} - {*true})]
        margins = [true[word] for word in words], [said[word] for word in words]
        rng = np.random.default_rng(SEED)
        tables = random_table(*margins)
        hits = [
            np.trace(tables.rvs(EACH, random_state=rng), axis1=1, axis2=2)
            for _ in range(ORDERS // EACH)
        ]
        shares = np.concatenate(hits) / self.n
        return float(shares.mean()), float(np.quantile(shares, RARE, method="higher"))

    @property
    def related(self) -> bool | None:
        """Whether the answers are surely right more often than chance; None where so few pictures
        could not show it of a student that is always right."""
        if self.accuracy > self.chance[1]:
            return True
        return False if Judged(self.truth, self.truth).chance[1] < 1 else None

    @property
    def _said(self) -> list[str]:
        return ["" if one is None else one for one in self.answers]

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.accuracy:.1%} [{low:.1%}, {high:.1%}]"
