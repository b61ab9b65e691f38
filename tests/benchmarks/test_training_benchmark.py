"""What training.py counts, judges and prints; the floor against torch's own count."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import get_peft_model
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from contenders import (
    BASELINES,
    EQUAL,
    OURS,
    OWN,
    STOCK,
    STOCK_SAME,
    TILE,
    TILE_SAME,
    Result,
    a_picture,
)
from flat_memory import many
from floor import attention, matrices
from pocketvlm.sections import Train
from pocketvlm.student.tiny import tiny_model, tiny_tokenizer
from pocketvlm.student.train import lora
from training import figures, table

TOKENS, ANSWER = 37, 2


def results(**seconds: float) -> list[Result]:
    """A result of every way: 1 s a picture, or what is given by the way's name."""
    return [
        Result(way, seconds.get(way.name, 1.0), 2.0, 100, 3.0, floor=0.0 if way.adapters else 0.5)
        for way in (*BASELINES, *OWN)
    ]


def test_the_floor_is_what_torch_counts() -> None:
    tokenizer = tiny_tokenizer(["water"])
    made = tiny_model(tokenizer, "test")
    made.set_attn_implementation("eager")  # torch does not count the others on the processor
    model = get_peft_model(made, lora(Train(dropout=0.0)))
    seen = torch.rand(1, TOKENS, made.config.text_config.hidden_size)
    with FlopCounterMode(display=False) as counted:
        logits = model(inputs_embeds=seen, logits_to_keep=ANSWER, use_cache=False).logits
        logits.sum().backward()
    text = made.config.text_config.to_dict()
    pairs = 2 * TOKENS / (TOKENS + 1)  # the eager one scores what lies ahead of a token too
    whole = matrices(text, TOKENS, ANSWER, rank=16) + pairs * attention(text, TOKENS)
    assert counted.get_total_flops() == pytest.approx(whole, rel=1e-9)


def test_the_first_step_warms_up() -> None:
    assert a_picture([100.0, 8.0, 16.0, 9.0], 8) == 9.0 / 8


@pytest.mark.parametrize(
    ("defaults", "tile", "start", "met"),
    [
        (40.0, 2.5, 20.0, [True, True, True]),
        (39.9, 2.5, 20.0, [False, True, True]),
        (40.0, 2.4, 20.0, [True, False, True]),
        (40.0, 2.5, 20.1, [True, True, False]),
    ],
)
def test_targets_are_judged_with_equal_adapters(
    defaults: float, tile: float, start: float, met: list[bool]
) -> None:
    easier = {STOCK.name: 999.0, TILE.name: 999.0}
    found = results(**easier, **{STOCK_SAME.name: defaults, TILE_SAME.name: tile})
    assert [figure.met for figure in figures(found, start)] == met


def test_the_table_shows_ratios_and_floors() -> None:
    found = results(**{STOCK.name: 30.0, OURS.name: 0.75, EQUAL.name: 1.5})
    found[0] = replace(found[0], note="activations computed again")
    lines = table("500M", found).splitlines()
    [stock] = [line for line in lines if line.startswith(f"  {STOCK.name}  ")]
    assert "30.00" in stock and " 40.0 " in stock and " 20.0 " in stock
    assert stock.endswith("activations computed again")
    [ours] = [line for line in lines if line.startswith(f"  {OURS.name}")]
    assert ours.split()[-1] == "1.5"


def test_every_picture_of_the_memory_run_is_another_one(tmp_path: Path) -> None:
    project = many(tmp_path, 70)
    images = (project.workspace.dataset / "images").iterdir()
    assert len({Image.open(path).tobytes() for path in images}) == 70
