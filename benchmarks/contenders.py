"""The contenders of training.py: how each is set up, run and measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil
from PIL import Image
from transformers import AutoConfig

from clock import Measured, run
from floor import attention, matmul_rate, matrices
from pocketvlm.base import encoder, load_tokenizer
from pocketvlm.config import parse_config
from pocketvlm.demo import scenes
from pocketvlm.layout import Layout
from pocketvlm.project import CONTRACT, Project
from pocketvlm.student.precision import precision
from pocketvlm.workspace import Row, read_json, write_json, write_rows

PICTURES, BATCH = 24, 8
"""Pictures of the data set, and of an optimiser step: 8 is the default of transformers' Trainer."""

KEPT = 23e9
"""Bytes that must be free for 17 tiles where the tower learns and activations are kept: a 256M took
17e9, a 500M is some 4e9 more."""


@dataclass(frozen=True)
class Way:
    """A way to train, and how much of it is measured."""

    name: str
    steps: int = 3
    side: int = 256
    tiles: int = 1
    batch: int = BATCH
    adapters: str = ""
    """Those of a baseline (baselines.py); empty for ours."""


STOCK = Way("TRL, defaults", tiles=17, batch=1, adapters="plain")
STOCK_SAME = Way("TRL, defaults, our adapters", tiles=17, batch=1, adapters="text")
TILE = Way("TRL, one tile of 512", adapters="plain", side=512)
TILE_SAME = Way("TRL, one tile of 512, our adapters", adapters="text", side=512)
OURS = Way("ours at 256, as stock apps", tiles=2, steps=7)
LARGE = Way("ours at 512, as stock apps", tiles=2, steps=4, side=512)
EQUAL = Way("ours at 512, one tile", steps=4, side=512)
BASELINES, OWN = (STOCK, STOCK_SAME, TILE, TILE_SAME), (OURS, LARGE, EQUAL)


@dataclass(frozen=True)
class Result:
    """What one way took."""

    way: Way
    seconds: float
    """A picture, by the clock."""
    work: float
    """Seconds of all processors a picture: less disturbed by other programs."""
    tokens: int
    peak: float
    """GB."""
    floor: float = 0.0
    """Seconds a picture; ours only."""
    note: str = ""


def a_picture(steps: Sequence[float], batch: int) -> float:
    """Seconds a picture: the median of the steps after the first, which warms up."""
    return median(steps[1:]) / batch


def write_project(root: Path, base: Path, way: Way) -> Project:
    """A prepared project of drawn scenes, without val: asking about it is no part of a step."""
    device = {"side": way.side, "tiles": "single" if way.tiles == 1 else "runtime"}
    settings: Row = {"base": {"model": str(base)}, "device": device}
    settings["train"] = {"effective_batch": BATCH, "epochs": -(-way.steps * BATCH // PICTURES)}
    project = Project.of(parse_config(settings), root)
    write_json(root / "pocketvlm.yaml", settings)
    (project.workspace.dataset / "images").mkdir(parents=True)
    random, rows = np.random.default_rng(0), list[Row]()
    for at in range(PICTURES):
        label = scenes.ELEMENTS[at % len(scenes.ELEMENTS)]
        bitmap = project.contract.bitmap(scenes.draw(label, random))
        Image.fromarray(bitmap).save(project.workspace.dataset / f"images/{at}.png")
        rows.append({"id": f"{at:064x}", "image": f"images/{at}.png", "label": label})
    write_rows(project.workspace.split("train"), rows)
    write_rows(project.workspace.split("val"), [])
    project.record_contract(project.workspace.dataset)
    return project


def train(project: Project, steps: int) -> Measured:
    """`pocketvlm train` in a process of its own."""
    config = str(project.workspace.root / "pocketvlm.yaml")
    return run("clock.py", str(steps), "train", "-c", config, "--json")


def baseline(base: Path, dataset: Path, way: Way, numbers: Sequence[str]) -> Measured:
    """TRL in a process of its own."""
    options = {"tiles": way.tiles, "adapters": way.adapters, "batch": way.batch, "steps": way.steps}
    told = [f"--{name}={value}" for name, value in options.items()]
    return run("baselines.py", str(base), str(dataset), *told, *numbers)


NUMBERS = {
    "float32": ("--dtype=float32",),
    "float32, activations computed again": ("--dtype=float32", "--checkpointing"),
    "bfloat16": ("--dtype=bfloat16",),
}
"""TRL's default is the second one, in bfloat16."""


def fastest_numbers(base: Path, root: Path) -> tuple[str, ...]:
    """What the baselines are given: what takes one of them the least time here."""
    way = Way("trial", adapters="text", batch=1, steps=4)
    dataset = write_project(root / way.name, base, way).workspace.dataset
    spent = {
        name: a_picture(baseline(base, dataset, way, options).steps, 1)
        for name, options in NUMBERS.items()
    }
    print("TRL, one tile of 512, our adapters, one picture a step:")
    for name, seconds in spent.items():
        print(f"  {name:46} {seconds:7.2f} s")
    return NUMBERS[min(spent, key=lambda name: spent[name])]


def measure_baseline(base: Path, dataset: Path, way: Way, numbers: Sequence[str]) -> Result:
    """One baseline; where memory is short, its activations are computed again."""
    short = way is STOCK and psutil.virtual_memory().available < KEPT
    again = short and "--checkpointing" not in numbers
    found = baseline(base, dataset, way, [*numbers, "--checkpointing"] if again else numbers)
    note = "activations computed again: too little memory" if again else ""
    seconds, spent = (a_picture(steps, way.batch) for steps in (found.steps, found.work))
    return Result(way, seconds, spent, found.more["tokens"], found.peak / 1e9, note=note)


def measure_ours(project: Project, way: Way, found: Measured, base: Path) -> Result:
    """Ours beside its floor."""
    contract, text = project.contract, AutoConfig.from_pretrained(base).text_config.to_dict()
    encode = encoder(load_tokenizer(base))
    answer = max(len(encode(contract.answer(label))) for label in contract.labels)
    layout = Layout.read(read_json(project.workspace.adapter / CONTRACT))
    tokens = len(layout.ids) + answer - 1  # nothing follows the last one
    rank = project.config.train.rank
    work = matrices(text, tokens, answer, rank) + attention(text, tokens)
    rate = matmul_rate(text, BATCH * tokens, precision().dtype)
    seconds, spent = (a_picture(steps, way.batch) for steps in (found.steps, found.work))
    note = f"{work / 1e9:.0f} GFLOP at {rate / 1e9:.0f} GFLOP/s"
    return Result(way, seconds, spent, tokens, found.peak / 1e9, work / rate, note)
