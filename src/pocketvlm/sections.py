"""The sections of `pocketvlm.yaml`: every key with its default, its meaning and its check."""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MARKER = "<__media__>"
"""llama.cpp's media marker: the runtime puts the picture where it stands (mtmd.h)."""

TILE_MULTIPLE = 64
"""Patch size x scale factor of every SmolVLM: the tower's side is a multiple of it."""

ELEMENTS = {
    "water": "seas, rivers, lakes, rain, waves; also ice, snow and mist",
    "land": "rock, soil, sand, deserts, mountains",
    "fire": "flames, embers, lava",
    "wood": "trees, forests, branches, leaves and timber",
    "metal": "vehicles, tools, machines and other things of metal",
}


def plain_word(word: str) -> str:
    """A label as it is compared with what a teacher says: without case, outer dots and spaces."""
    return word.strip().strip(".").lower()


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Task(Section):
    """What the student learns: one word per picture, from a closed set."""

    question: str = Field(
        "Which natural element does this image show: water, land, fire, wood or metal?",
        description="What the phone asks about every picture.",
    )
    labels: dict[str, str] = Field(
        ELEMENTS, description="The closed set of one-word labels, each with a one-line definition."
    )

    @field_validator("question")
    @classmethod
    def _no_marker(cls, question: str) -> str:
        if MARKER in question or "{marker}" in question:
            raise ValueError("the question holds a picture marker: write it in device.prompt only")
        return question

    @field_validator("labels")
    @classmethod
    def _one_word(cls, labels: dict[str, str]) -> dict[str, str]:
        if len(labels) < 2:
            raise ValueError("give at least two labels, each with a definition")
        seen: dict[str, str] = {}
        for label in labels:
            plain = plain_word(label)
            if not plain or not re.fullmatch(r"[^\s<>]+", label):
                raise ValueError(f"the label {label!r} must be one word: join or shorten it")
            if plain == "none":
                raise ValueError(
                    "'none' is what the teacher says when no label fits: rename the label"
                )
            if seen.setdefault(plain, label) != label:
                raise ValueError(
                    f"a teacher's answer cannot tell {label!r} from {seen[plain]!r}: rename one"
                )
        return labels

    @model_validator(mode="after")
    def _asks_for_the_labels(self) -> Self:
        stock = type(self).model_fields["question"].default
        if self.question == stock and set(self.labels) != set(ELEMENTS):
            raise ValueError(
                "question still asks for the five elements: name your own labels in it"
            )
        return self


class Device(Section):
    """What the app on the phone does. Training, conversion and validation take it from here."""

    side: int = Field(
        256, description="Side of the square bitmap that the app hands over, pixels (64, 128, ...)."
    )
    vision_size: int | None = Field(
        None,
        description="Side of the vision tower; empty means `side`. They must be equal, so that\n"
        "nothing is resized behind the app's back.",
    )
    resize: Literal["bilinear", "lanczos", "area"] = Field(
        "bilinear",
        description="How the app shrinks a picture: bundle/android/DeviceContract.kt does it.",
    )
    exif: bool = Field(
        True,
        description="Whether the app turns a picture as its EXIF orientation says; BitmapFactory\n"
        "alone does not.",
    )
    prompt: str = Field(
        "{marker}\n{question}\n\nElement:",
        description="The raw prompt, byte for byte; {marker} stands for the picture.",
    )
    tiles: Literal["runtime", "single"] = Field(
        "runtime",
        description="`runtime`: whatever llama.cpp makes of a picture, as stock apps do;\n"
        "`single`: an app that calls mtmd's C functions itself evaluates the overview alone.",
    )
    max_new_tokens: int = Field(32, ge=1, le=32, description="The app stops after so many tokens.")

    @field_validator("side", "vision_size")
    @classmethod
    def _multiple(cls, side: int | None) -> int | None:
        if side is not None and (side < TILE_MULTIPLE or side % TILE_MULTIPLE):
            near = max(TILE_MULTIPLE, round(side / TILE_MULTIPLE) * TILE_MULTIPLE)
            raise ValueError(f"{side} is no multiple of {TILE_MULTIPLE}: use {near}")
        return side

    @field_validator("prompt")
    @classmethod
    def _prompt(cls, prompt: str) -> str:
        count = prompt.count("{marker}") + prompt.count(MARKER)
        if count != 1:
            raise ValueError(f"the prompt has {count} markers: write {{marker}} exactly once")
        if prompt != prompt.rstrip():
            raise ValueError(
                "the prompt ends in white space, which changes the answer's first token: remove it"
            )
        return prompt

    @model_validator(mode="after")
    def _equal_sides(self) -> Self:
        if self.vision_size not in (None, self.side):
            raise ValueError(
                f"vision_size {self.vision_size} differs from side {self.side}: the runtime would "
                "resize the app's bitmap; set both to the same value"
            )
        return self


class Base(Section):
    """The pre-trained student."""

    model: str = Field(
        "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
        description="Hub id or local folder with config.json, *.safetensors and tokenizer.json.",
    )
    revision: str = Field(
        "main", description="Branch, tag or commit; resolved to a commit at the first load."
    )


class Prepare(Section):
    """From answers to splits. The split depends on the hash of the picture alone (80/10/10)."""

    min_confidence: float = Field(
        0.75, ge=0, le=1, description="Less confident labels are left out of train only."
    )
    custom: Path | None = Field(
        None,
        description="A JSON or JSONL of labelled pictures (image_path, label) instead of\n"
        "collect and label.",
    )


class Train(Section):
    """LoRA on the text model, and on more of the student where that does not suffice."""

    vision: Literal["frozen", "connector", "lora"] = Field(
        "frozen",
        description="`connector`: adapt the connector too; `lora`: the vision tower as well,\n"
        "which then looks at every picture in every epoch.",
    )
    cache: bool = Field(
        True,
        description="Let a tower that does not learn look once, and keep on the disk what it says.",
    )
    rank: int = Field(16, ge=1, description="LoRA rank.")
    alpha: int = Field(32, ge=1, description="LoRA scale is alpha / rank.")
    dropout: float = Field(0.05, ge=0, lt=1, description="LoRA dropout.")
    mirror: bool = Field(
        False, description="Show half of the pictures mirrored; not where left and right matter."
    )
    balanced: bool = Field(
        False,
        description="Show every label equally often, however many pictures of it there are.",
    )
    effective_batch: int = Field(
        16, ge=1, description="Pictures an optimiser step, over all forward passes and GPUs."
    )
    batch_size: int | Literal["auto"] = Field(
        "auto",
        description="Pictures a forward pass: `auto` is as many as fit. Too many are halved, and\n"
        "the step is taken all the same.",
    )
    epochs: int = Field(3, ge=1, description="Passes over the training split.")
    learning_rate: float = Field(2e-4, gt=0, description="Peak learning rate (AdamW, cosine).")
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of the steps with rising rate.")
    patience: int = Field(2, ge=1, description="Stop after so many epochs without a better val.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of adapter, dropout and order.")

    @field_validator("batch_size", mode="before")
    @classmethod
    def _auto_or_count(cls, size: object) -> object:
        if size != "auto" and (type(size) is not int or size < 1):
            raise ValueError(f"write auto or a number from 1 on, not {size!r}")
        return size


MACHINE = {"batch_size", "cache"}
"""Keys of `train` that depend on the machine and change nothing in what comes out."""


class Track(Section):
    """Where a training can be watched."""

    tensorboard: bool = Field(False, description="Write logs/tensorboard/.")
    wandb: Literal["off", "online", "offline"] = Field(
        "off",
        description="Weights & Biases: `offline` writes logs/wandb/ for `wandb sync`; `online`\n"
        "goes on offline where the server does not answer. The key is WANDB_API_KEY.",
    )
    project: str = Field("pocketvlm", description="The project's name there.")

    @field_validator("wandb", mode="before")
    @classmethod
    def _not_false(cls, wandb: object) -> object:
        """YAML reads a plain `off` as false."""
        return "off" if wandb is False else wandb

    @field_validator("project")
    @classmethod
    def _a_name(cls, project: str) -> str:
        if not re.fullmatch(r"[^/\\#?%:\s]{1,128}", project):
            raise ValueError("write a name without spaces and without / \\ # ? % :")
        return project


class Export(Section):
    """The files for the phone."""

    types: tuple[Literal["F32", "F16", "Q8_0", "Q5_0", "Q4_0", "Q4_K_M"], ...] = Field(
        ("Q8_0", "F16", "Q4_0"),
        min_length=1,
        description="Types of the text model's file; the first is the one that ships.",
    )
    mmproj: tuple[Literal["F32", "F16", "Q8_0"], ...] = Field(
        ("F16", "Q8_0"),
        min_length=1,
        description="Types of the vision file. The first ships, unless Q8_0 is among the others\n"
        "and answers the same (99.5% of 300 pictures or more).",
    )

    @field_validator("types", "mmproj")
    @classmethod
    def _once(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(types)) < len(types):
            raise ValueError("a type is named twice: name each once")
        return types


class Validate(Section):
    """The verdict."""

    truth: Literal["teacher", "reviewed", "known"] = Field(
        "teacher", description="What accuracy is measured against."
    )
    truth_file: Path | None = Field(
        None, description="With `truth: known`: JSONL of {sha256, label}; relative to this file."
    )
    sure: float = Field(
        0.95,
        gt=0,
        lt=1,
        description="The app may say `unsure` instead of a label: how often the others are to be\n"
        "right. The threshold is chosen on val.",
    )

    @model_validator(mode="after")
    def _truth_file(self) -> Self:
        if (self.truth == "known") != (self.truth_file is not None):
            raise ValueError("truth: known needs truth_file, and only truth: known takes one")
        return self


class Gates(Section):
    """What the shipped files must reach; where one misses, the exit code is 3."""

    accuracy: float = Field(
        0.85, ge=0, le=1, description="Least accuracy, by the lower bound of its 95% interval."
    )
    worst_recall: float | None = Field(
        None, ge=0, le=1, description="Least recall of the label that is found worst."
    )
    one_word: float | None = Field(
        None, ge=0, le=1, description="Least share of answers of one word that end by themselves."
    )
    agreement: float | None = Field(
        None, ge=0, le=1, description="Least share of answers as the merged model's in torch."
    )
    mib: float | None = Field(None, gt=0, description="Most MiB of both files together.")
    ms: float | None = Field(
        None, gt=0, description="Most milliseconds a picture, on the machine that validates."
    )


class Audit(Section):
    """Torch against llama.cpp, level by level: what may differ, and by how much."""

    pictures: int = Field(
        20,
        ge=1,
        description="Pictures of the sample inside `validate`; `audit --pictures` asks more.",
    )
    tower: float = Field(
        3e-3,
        gt=0,
        description="Image embeddings, F32: largest difference over their standard deviation.\n"
        "llama.cpp computes partly in F16 there.",
    )
    text: float = Field(
        1e-4, gt=0, description="First-token logits on equal embeddings, F32: largest difference."
    )
    answers: float = Field(0.995, gt=0, le=1, description="Least share of equal answers, any type.")
    near_tie: float = Field(
        0.1,
        ge=0,
        description="A differing answer is a near-tie, listed but not counted, when it parts at a\n"
        "token that torch holds second best by less than this (logits).",
    )
