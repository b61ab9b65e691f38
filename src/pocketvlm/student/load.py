"""Loading the student: the base from a hub or a folder, then as base, adapter or merged model."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    SmolVLMForConditionalGeneration,
)
from transformers.utils import logging

from pocketvlm.base import RECORD, find_base, load_tokenizer
from pocketvlm.errors import PocketError
from pocketvlm.layout import Layout
from pocketvlm.project import CONTRACT, Project
from pocketvlm.runtime import ask_layout
from pocketvlm.student.precision import device
from pocketvlm.student.student import Student
from pocketvlm.workspace import read_json, read_record

logging.set_verbosity_error()  # errors reach people through PocketError, progress through our bars
logging.disable_progress_bar()
for _library in ("transformers", "accelerate"):
    warnings.filterwarnings("ignore", category=FutureWarning, module=_library)

ARCHITECTURES = ("idefics3", "smolvlm")

FULL = ("No space left", "inline_container", "iostream error")
"""What safetensors' and torch's writers say of a full disk."""


def load_model(folder: Path, dtype: torch.dtype) -> SmolVLMForConditionalGeneration:
    """The weights on the best device; PocketError for another architecture or a broken folder."""
    try:
        kind = AutoConfig.from_pretrained(folder, trust_remote_code=False).model_type
        if kind not in ARCHITECTURES:
            raise PocketError(
                f"{folder} is a {kind} model: base.model must be SmolVLM (idefics3 or smolvlm)"
            )
        model: SmolVLMForConditionalGeneration = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, trust_remote_code=False
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise PocketError(f"{folder} does not load as a SmolVLM: {error}") from None
    return model.to(device()).eval()


def load_base(project: Project, dtype: torch.dtype = torch.float32) -> Student:
    """The base as it was downloaded."""
    folder = find_base(project).folder
    model, tokenizer = load_model(folder, dtype), load_tokenizer(folder)
    layout = layout_of(project, project.workspace.adapter, folder)
    return Student(model, tokenizer, project.contract, layout)


def layout_of(project: Project, made: Path, model: Path) -> Layout:
    """The layout that the folder `made` was made under; where none is recorded for this contract,
    this build of the runtime is asked how it treats `model`."""
    return recorded(project, made) or ask_layout(model, project.contract)


def recorded(project: Project, made: Path) -> Layout | None:
    """The layout in a folder's contract.json, if it is of the present contract."""
    record = read_record(made / CONTRACT) if (made / CONTRACT).is_file() else {}
    if record.get("hash") != project.contract.hash or "layout" not in record:
        return None
    return Layout.read(record)


def load_adapter(project: Project) -> Student:
    """The base with the adapter beside it, not merged, in float32."""
    check_adapter(project)
    student = load_base(project)
    adapter = project.workspace.adapter
    model = attach(student.model, adapter).base_model.model.eval()
    return Student(model, student.tokenizer, project.contract, student.layout)


def attach(model: SmolVLMForConditionalGeneration, adapter: Path) -> PeftModel:
    """The adapter beside the model; PocketError when its files are damaged."""
    try:
        return PeftModel.from_pretrained(model, str(adapter))
    except (OSError, ValueError, SafetensorError) as error:
        raise PocketError(f"{adapter} does not load ({error}): train again") from None


@contextmanager
def told_if_full(folder: Path) -> Iterator[None]:
    """PocketError when torch or safetensors cannot write; theirs are no OSErrors."""
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        if not any(sign in str(error) for sign in FULL):
            raise
        raise PocketError(f"{folder} cannot be written, the disk is full: make room") from None


def check_adapter(project: Project) -> None:
    """PocketError when there is no adapter, or it was trained on another base or contract."""
    adapter = project.workspace.adapter
    if not (adapter / "adapter_config.json").is_file():
        raise PocketError(f"{adapter} holds no adapter: run `pocketvlm train` first")
    made = read_json(adapter / RECORD)
    if made != find_base(project).record | {"contract": project.contract.hash}:
        what = "device contract" if made["contract"] != project.contract.hash else "base"
        raise PocketError(
            f"{adapter} was trained on another {what}, or by an older pocketvlm: run `pocketvlm "
            "train` again, or put the configuration back"
        )


def load_merged(project: Project) -> Student:
    """The merged model, in float32."""
    folder = project.workspace.merged
    if not (folder / "config.json").is_file():
        raise PocketError(f"{folder} holds no model: run `pocketvlm merge` first")
    model, tokenizer = load_model(folder, torch.float32), load_tokenizer(folder)
    return Student(model, tokenizer, project.contract, layout_of(project, folder, folder))
