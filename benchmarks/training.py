"""What training costs at full size: ours against TRL's trainer, twice, and against the floor.

    python benchmarks/training.py [FOLDER...]
    python benchmarks/training.py --memory [COUNT]

Each FOLDER holds a SmolVLM's config.json (its tokenizer.json there or one folder above); without
one the dimensions of SmolVLM-256M and 500M are built in. Random weights, drawn scenes of 256x256
pixels, the same for all; on the processor, each contender in a process of its own. The seconds of a
picture are the median of some optimiser steps after a first one. An epoch is the same pictures for
all: its ratio is that of the seconds a picture, once ours has looked at each of them.

The baselines (baselines.py) are TRL with the processor's defaults, which make 17 tiles of each
picture, and TRL with one tile of 512. Each runs with LoRA as people write it, by plain names, which
adapt the vision tower too, and with the adapters where ours are, which is less work: both are
shown, the targets are judged on the latter. They are given the numbers that are the fastest here,
and keep their activations where the memory is enough.
With 17 tiles a step is of one picture, so that it ends: the optimiser's part of it is below 1%.

Ours is `pocketvlm train`. Its floor is what a step must calculate (floor.py) at the rate of
matrices of these shapes in the same run.

`--memory` trains a tiny student on 1,000 and on COUNT (100,000) pictures and compares the memory
that the two held (flat_memory.py). Exit code 1 when a target is missed.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from contenders import (
    BASELINES,
    EQUAL,
    OURS,
    OWN,
    PICTURES,
    STOCK_SAME,
    TILE_SAME,
    Result,
    fastest_numbers,
    measure_baseline,
    measure_ours,
    train,
    write_project,
)
from flat_memory import MANY, flat
from fullsize_base import TEXT, build_base
from pocketvlm.progress import say, track


@dataclass(frozen=True)
class Figure:
    """One measured figure beside its target."""

    name: str
    value: float
    target: float
    at_least: bool = True
    unit: str = "times"

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.value >= self.target if self.at_least else self.value <= self.target

    def __str__(self) -> str:
        sign, word = ">=" if self.at_least else "<=", "met" if self.met else "MISSED"
        return (
            f"  {self.name:46} {self.value:7.1f} {self.unit:5} target {sign} {self.target}: {word}"
        )


def compare(size: str, base: Path, root: Path, numbers: Sequence[str]) -> list[Figure]:
    """Measure one size and print its table; what has a target."""
    projects = {way: write_project(root / f"{way.side}-{way.tiles}", base, way) for way in OWN}
    dataset = projects[OURS].workspace.dataset
    results = [
        measure_baseline(base, dataset, way, numbers)
        for way in track(BASELINES, f"TRL, {size}", len(BASELINES))
    ]
    looked = train(projects[OURS], 1)
    start = 0.0
    for way in track(OWN, f"Ours, {size}", len(OWN)):
        found = train(projects[way], way.steps)
        results.append(measure_ours(projects[way], way, found, base))
        start = found.start if way == OURS else start
    print(table(size, results))
    print(f"  looking at a picture at 256, once: {(looked.start - start) / PICTURES:.2f} s")
    return figures(results, start)


def table(size: str, results: Sequence[Result]) -> str:
    """Seconds, memory and ratios of every way."""
    seconds = {result.way: result.seconds for result in results}
    lines = [
        f"\n{size}, random weights, {torch.get_num_threads()} threads; the ratios are of an epoch "
        "after the first",
        f"  {'':34} {'tiles':>5} {'tokens':>6} {'batch':>5} {'s/picture':>9} {'cores s':>7} "
        f"{'GB':>5} {'ours 256':>8} {'ours 512':>8} {'floors':>6}",
    ]
    for result in results:
        way = result.way
        floors = f"{result.seconds / result.floor:.1f}" if result.floor else ""
        lines.append(
            f"  {way.name:34} {way.tiles:5} {result.tokens:6} {way.batch:5} {result.seconds:9.2f} "
            f"{result.work:7.2f} {result.peak:5.1f} {result.seconds / seconds[OURS]:8.1f} "
            f"{result.seconds / seconds[EQUAL]:8.1f} {floors:>6} {result.note}"
        )
    return "\n".join(lines)


def figures(results: Sequence[Result], start: float) -> list[Figure]:
    """What has a target. Sides differ between ours at 256 and TRL's tile of 512: at equal side the
    ratio is in the table, without a target."""
    seconds = {result.way: result.seconds for result in results}
    ours = seconds[OURS]
    return [
        Figure("as fast as TRL's defaults, at 256", seconds[STOCK_SAME] / ours, 40),
        Figure("as fast as TRL's tile of 512, at 256", seconds[TILE_SAME] / ours, 2.5),
        Figure("a new process, to the first step", start, 20, at_least=False, unit="s"),
    ]


def speed(folders: Sequence[Path]) -> bool:
    """Whether all targets are met."""
    sources: dict[str, Path | None] = {folder.name: folder for folder in folders}
    sizes, met = sources or dict.fromkeys(sorted(TEXT)), True
    numbers: Sequence[str] = ()
    with tempfile.TemporaryDirectory() as name:
        for size, source in sizes.items():
            root = Path(name) / size
            build_base(source, root / "base", size)
            numbers = numbers or fastest_numbers(root / "base", root)
            for figure in compare(size, root / "base", root, numbers):
                print(figure)
                met = met and figure.met
    return met


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description="Speed and memory of training.")
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--memory", nargs="?", type=int, const=MANY, metavar="COUNT")
    options = parser.parse_args()
    met = flat(options.memory) if options.memory else speed(options.folders)
    if not met:
        say("a target was missed")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
