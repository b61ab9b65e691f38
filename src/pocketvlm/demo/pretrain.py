"""Pre-trains the embedded default's base once, on attributes of pictures, never on the task.

    python -m pocketvlm.demo.pretrain --out FOLDER [--start FOLDER] [--steps N] [--rate R]

The student answers questions on drawn pictures (colour, texture, angle, ...) through the
contract's prompt; while it learns, linear heads on the image tokens name what each 64 px cell
holds. The heads are thrown away. Written: weights in float16, tokenizer, `pretrain.jsonl`.
"""

import copy
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
import typer
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedTokenizerFast, SmolVLMForConditionalGeneration

from pocketvlm.config import Config, parse_config
from pocketvlm.contract import Contract
from pocketvlm.demo import attributes
from pocketvlm.progress import bar, say
from pocketvlm.runtime import ask_layout
from pocketvlm.sections import MARKER
from pocketvlm.student.inputs import embed, image_features, pixel_values
from pocketvlm.student.tiny import tiny_model, tiny_tokenizer
from pocketvlm.workspace import read_rows

SIDE = 256
QUESTIONS_A_STEP = 1
ENERGY_WEIGHT = 4.0
WHITENING_PICTURES = 150


class Pictures(IterableDataset[dict[str, Any]]):
    """An endless stream of attribute pictures; each worker draws from its own seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            picture = attributes.draw(rng, SIDE)
            answers = [
                words.index(picture.answers[name]) if name in picture.answers else -100
                for name, words in attributes.QUESTIONS.items()
            ]
            cells = [picture.cells[name] for name in attributes.CELLS]
            yield {"rgb": picture.rgb, "answers": np.array(answers), "cells": np.stack(cells)}


def collate(pictures: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Stack pictures; pixels (n, 3, side, side) float32, answers (n, questions), cells (n, kinds,
    4, 4)."""
    return {
        "pixels": pixel_values([picture["rgb"] for picture in pictures]),
        "answers": torch.from_numpy(np.stack([picture["answers"] for picture in pictures])),
        "cells": torch.from_numpy(np.stack([picture["cells"] for picture in pictures])).long(),
    }


def vocabulary() -> list[str]:
    """Every word that deserves a token of its own: the questions', the answers', the task's."""
    task = Config().task
    text = " ".join([task.question, *task.labels, *task.labels.values(), "Which Element"])
    words = [word.strip(",.?:;") for word in text.split()]
    for name, options in attributes.QUESTIONS.items():
        words += [name, name.capitalize(), *options]
    return words


def picture_ids(
    model: SmolVLMForConditionalGeneration, tokenizer: PreTrainedTokenizerFast
) -> list[int]:
    """What the runtime makes of the marker alone: the picture with the tokens round it."""
    with TemporaryDirectory() as name:
        model.config.save_pretrained(name)
        tokenizer.save_pretrained(name)
        contract = Contract.of(parse_config({"device": {"prompt": "{marker}"}}))
        return list(ask_layout(Path(name), contract).ids)


@dataclass
class Trainer:
    """The model with its throw-away heads, and what has been measured of them."""

    tokenizer: PreTrainedTokenizerFast
    model: SmolVLMForConditionalGeneration
    rng: np.random.Generator
    energies: "Energies"
    heads: nn.ModuleDict = field(init=False)

    def __post_init__(self) -> None:
        self.picture = picture_ids(self.model, self.tokenizer)
        hidden = self.model.config.text_config.hidden_size
        sizes = {name: len(kinds) for name, kinds in attributes.CELLS.items()}
        sizes["energy"] = self.energies.filters.out_channels
        self.words = [word for word in set(vocabulary()) if len(self.encode(f" {word}")) == 1]
        self.words.sort()
        self.heads = nn.ModuleDict({name: nn.Linear(hidden, size) for name, size in sizes.items()})

    def energy_loss(self, features: Tensor, pixels: Tensor) -> Tensor:
        """Mean squared error of the filter energies that the image tokens tell of their cells."""
        with torch.no_grad():
            target = self.energies(pixels)
        return functional.mse_loss(self.heads["energy"](features).float(), target)

    def prompt(self, question: str, name: str) -> list[int]:
        """Token ids of a question in the contract's layout, ending in `Name:`."""
        prompt = f"{{marker}}\n{{question}}\n\n{name.capitalize()}:"
        contract = Contract.of(
            parse_config({"task": {"question": question}, "device": {"prompt": prompt}})
        )
        return self.picture + self.encode(contract.prompt.removeprefix(MARKER))

    def encode(self, text: str) -> list[int]:
        """Token ids; special tokens parsed, none added."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def attribute_prompt(self, name: str) -> list[int]:
        """The prompt of an attribute; half of the time it lists the answers, shuffled."""
        question = f"Which {name} does this image show?"
        if self.rng.random() < 0.5:
            options = list(self.rng.permutation(attributes.QUESTIONS[name]))
            question = question[:-1] + f": {', '.join(options[:-1])} or {options[-1]}?"
        return self.prompt(question, name)

    def ask(self, features: Tensor, name: str, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and share of right first tokens for one attribute question on every picture."""
        asked = answers >= 0
        words = attributes.QUESTIONS[name]
        chosen = [words[int(answer)] for answer in answers[asked]]
        prompt = self.attribute_prompt(name)
        return self.say(features[asked], [prompt] * len(chosen), chosen)

    def repeat(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The same for repeating a word of the prompt, so that every word of the vocabulary can
        be an answer: else the words no attribute uses are all but forbidden to a later adapter."""
        words = [str(word) for word in self.rng.choice(self.words, len(features))]
        prompts = [self.prompt(f"Which word is this: {word}?", "word") for word in words]
        return self.say(features.detach(), prompts, words)

    def say(
        self, features: Tensor, prompts: list[list[int]], words: list[str]
    ) -> tuple[Tensor, Tensor]:
        """Loss on answers and end tokens after prompts of equal length, share of right answers."""
        first = torch.tensor([self.encode(f" {word}")[0] for word in words])
        end = torch.full_like(first, int(self.tokenizer.eos_token_id))
        ids = torch.cat([torch.tensor(prompts), first[:, None]], dim=1)
        hidden = self.model.model.text_model(
            inputs_embeds=embed(self.model, ids, features)
        ).last_hidden_state[:, -2:]
        logits = self.model.lm_head(hidden).float()
        target = torch.stack([first, end], dim=1)
        loss = functional.cross_entropy(logits.flatten(0, 1), target.flatten())
        return loss, (logits[:, 0].argmax(-1) == first).float().mean()

    def step(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Loss of one batch, and the shares of right answers and cells."""
        figures: dict[str, float] = {}
        with torch.autocast("cpu", torch.bfloat16):
            features = image_features(self.model, batch["pixels"])
            energy = self.energy_loss(features, batch["pixels"])
            figures["energy error"] = energy.item()
            loss = ENERGY_WEIGHT * energy
            for at, name in enumerate(attributes.CELLS):
                logits = self.heads[name](features).float().flatten(0, 1)
                target = batch["cells"][:, at].flatten()
                loss = loss + functional.cross_entropy(logits, target)
                figures[f"cell {name}"] = (logits.argmax(-1) == target).float().mean().item()
            part, right = self.repeat(features)
            loss, figures["repeat"] = loss + part, right.item()
            names = list(attributes.QUESTIONS)
            for at in self.rng.permutation(len(names))[:QUESTIONS_A_STEP]:
                answers = batch["answers"][:, at]
                if (answers >= 0).any():
                    part, right = self.ask(features, names[at], answers)
                    loss = loss + part
                    figures[names[at]] = right.item()
        return loss, figures


def optimiser(trainer: Trainer, steps: int, rate: float) -> tuple[torch.optim.Optimizer, Any]:
    """AdamW with warm-up and cosine decay."""
    parameters = [*trainer.model.parameters(), *trainer.heads.parameters()]
    adam = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        adam, rate, total_steps=steps, pct_start=0.04, final_div_factor=1000
    )
    return adam, schedule


def pretrain(
    out: Path,
    steps: int,
    batch: int,
    seed: int,
    start: Path | None = None,
    rate: float = 2e-3,
    report: int = 100,
) -> None:
    """Train and write the base; every `report` steps one line of means goes to the log."""
    trainer = new_trainer(seed, start)
    adam, schedule = optimiser(trainer, steps, rate)
    stream = DataLoader(Pictures(seed), batch, collate_fn=collate, num_workers=2, prefetch_factor=4)
    log = list(read_rows(start / "pretrain.jsonl")) if start else []
    log.append({"seed": seed, "steps": steps, "batch": batch, "rate": rate})
    seen, started = [], time.monotonic()
    with bar("Pre-training", steps) as advance:
        for number, pictures in zip(range(1, steps + 1), stream, strict=False):
            loss, figures = trainer.step(pictures)
            adam.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
            adam.step()
            schedule.step()
            seen.append({"loss": loss.item(), **figures})
            advance(f"loss {loss.item():.2f}")
            if number % report == 0:
                log.append(
                    {"step": number, "seconds": round(time.monotonic() - started, 1)} | means(seen)
                )
                seen = []
                say(json.dumps(log[-1]))
                save(trainer, out, log)
    save(trainer, out, log)


class Energies:
    """How strongly each filter of the patch embedding answers in each 64 px cell: its logarithm,
    standardised. A target with little noise, from which the tower learns to see texture within
    minutes; from class labels alone it first learns nothing but colour."""

    def __init__(self, filters: nn.Conv2d, pixels: Tensor) -> None:
        self.filters = copy.deepcopy(filters).requires_grad_(False)
        self.mean, self.deviation = torch.zeros(()), torch.ones(())
        sample = self(pixels).flatten(0, 1)
        self.mean, self.deviation = sample.mean(0), sample.std(0)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, side, side) to energies (n, cells, filters)."""
        answers = self.filters(pixels.float()).abs()
        cells = functional.avg_pool2d(answers, 4).flatten(2).transpose(1, 2)
        return (torch.log(cells + 0.03) - self.mean) / self.deviation


@torch.no_grad()
def prepare_tower(model: SmolVLMForConditionalGeneration, pixels: Tensor) -> Energies:
    """Xavier weights (0.02 is meant for wide layers and leaves narrow ones all but linear), and
    the patch embedding as the whitening of real patches (PCA, largest components): from random
    filters a patch's mean colour drowns its texture."""
    for module in [*model.model.vision_model.modules(), *model.model.text_model.modules()]:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    convolution = model.model.vision_model.embeddings.patch_embedding
    size, count = convolution.kernel_size[0], convolution.out_channels
    patches = functional.unfold(pixels, size, stride=size).transpose(1, 2).flatten(0, 1).double()
    mean = patches.mean(0)
    variances, directions = torch.linalg.eigh(torch.cov((patches - mean).T))
    whitening = directions[:, -count:] / variances[-count:].sqrt()
    convolution.weight.copy_(whitening.T.reshape(convolution.weight.shape) / 2)
    convolution.bias.copy_(-(mean @ whitening) / 2)
    return Energies(convolution, pixels)


def new_trainer(seed: int, start: Path | None) -> Trainer:
    """Tokenizer, model and heads of one seed; weights of an earlier run when `start` is given."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    tokenizer = tiny_tokenizer(vocabulary(), 1024)
    model = tiny_model(tokenizer, "demo", SIDE, seed).train()
    sample = pixel_values([attributes.draw(rng, SIDE).rgb for _ in range(WHITENING_PICTURES)])
    trainer = Trainer(tokenizer, model, rng, prepare_tower(model, sample))
    if start:
        model.load_state_dict(load_file(start / "model.safetensors"))
    return trainer


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of every figure over the rows that have it."""
    names = sorted({name for row in rows for name in row})
    return {
        name: round(float(np.mean([row[name] for row in rows if name in row])), 4) for name in names
    }


def save(trainer: Trainer, out: Path, log: list[dict[str, Any]]) -> None:
    """Write the base as a hub folder in float16, with its log."""
    weights = {name: value.half() for name, value in trainer.model.state_dict().items()}
    trainer.model.save_pretrained(out, state_dict=weights)
    trainer.tokenizer.save_pretrained(out)
    (out / "pretrain.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))


def main(
    out: Annotated[Path, typer.Option(help="Folder for the base.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 4000,
    batch: Annotated[int, typer.Option(help="Pictures a step.")] = 24,
    seed: Annotated[int, typer.Option(help="Seed of weights and pictures.")] = 0,
    threads: Annotated[int, typer.Option(help="Processor threads.")] = 2,
    start: Annotated[Path | None, typer.Option(help="Go on from this earlier base.")] = None,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 2e-3,
) -> None:
    """Pre-train the embedded default's base student."""
    torch.set_num_threads(threads)
    pretrain(out, steps, batch, seed, start, rate)


if __name__ == "__main__":
    typer.run(main)
