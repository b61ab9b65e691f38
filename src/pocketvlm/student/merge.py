"""The adapter folded into the base, in float32: a bfloat16 merge loses as much as it adds."""

import shutil
from typing import cast

from transformers import GenerationConfig, SmolVLMForConditionalGeneration

from pocketvlm.base import find_base
from pocketvlm.errors import PocketError
from pocketvlm.model_card import model_card
from pocketvlm.pictures import Bitmap
from pocketvlm.progress import bar, say
from pocketvlm.project import Project
from pocketvlm.student.data import Split
from pocketvlm.student.load import attach, check_adapter, load_base, told_if_full
from pocketvlm.student.student import Student
from pocketvlm.workspace import Row, atomic_folder, write_text

TOKENIZER_COPIES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
SAMPLE = 8
"""Pictures on which merge error and adapter effect are measured."""


def merge(project: Project) -> Row:
    """Write merged/ in float32 with tokenizer and the end token; report the merge error beside
    the adapter's own effect (largest differences of first-token logits)."""
    adapter = project.workspace.adapter
    check_adapter(project)
    with bar("Merging", 4) as advance:
        advance("base")
        base = load_base(project)
        sample = _sample(project)
        before = base.logits(sample)
        advance("adapter")
        peft = attach(base.model, adapter).eval()
        adapted = replace_model(base, peft.base_model.model).logits(sample)
        advance("merged model")
        model = cast(SmolVLMForConditionalGeneration, peft.merge_and_unload())
        merged = replace_model(base, model)
        figures = {
            "adapter_effect": float((adapted - before).abs().max()),
            "merge_error": float((merged.logits(sample) - adapted).abs().max()),
        }
        advance("writing")
        save(project, merged)
    say(
        "Merge error {merge_error:.1e} beside the adapter's effect {adapter_effect:.1e}".format(
            **figures
        )
    )
    return figures


def replace_model(student: Student, model: SmolVLMForConditionalGeneration) -> Student:
    """The same tokenizer, contract and layout round other weights."""
    return Student(model, student.tokenizer, student.contract, student.layout)


def save(project: Project, student: Student) -> None:
    """Write a hub folder whose generation ends at the answer's end token, with the contract. The
    tokenizer's files are the base's, byte for byte."""
    model = student.model
    model.generation_config = GenerationConfig(
        bos_token_id=model.generation_config.bos_token_id,
        eos_token_id=student.end,
        pad_token_id=model.generation_config.pad_token_id,
    )
    base = find_base(project).folder
    with atomic_folder(project.workspace.merged) as folder:
        with told_if_full(folder):
            model.save_pretrained(folder)
        for name in TOKENIZER_COPIES:
            if (base / name).is_file():
                shutil.copyfile(base / name, folder / name)
        project.record_contract(folder, student.layout)
        write_text(folder / "README.md", model_card(project, "merged", folder))


def _sample(project: Project) -> list[Bitmap]:
    for name in ("val", "train"):
        split = Split(project, name)
        if len(split):
            return [split[at][0] for at in range(min(SAMPLE, len(split)))]
    raise PocketError("the dataset is empty: run `pocketvlm prepare` first")
