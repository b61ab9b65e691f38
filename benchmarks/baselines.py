"""How others fine-tune SmolVLM: TRL's SFTTrainer over transformers' own processor, LoRA by PEFT.

    python benchmarks/baselines.py BASE DATASET [options]

trains on DATASET/train.jsonl and ends by printing what was measured as one line of JSON. All that
is not an option here is as TRL, transformers and SmolVLM's files have it by default: the chat
template, 2048 pixels for the longer edge, the loss over the whole conversation, the pictures
decoded and enlarged anew each time. Three things are not: `max_length` is unset, because 17 tiles
are more than its 1,024 tokens; nothing is saved or reported; activations are kept, not computed
again, unless --checkpointing asks for TRL's default, which takes longer.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from datasets import Dataset, Image, List
from peft import LoraConfig
from transformers import (
    AutoModelForImageTextToText,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)
from trl import SFTConfig, SFTTrainer

from clock import Clock
from pocketvlm.config import parse_config
from pocketvlm.student.train import TEXT_MODEL
from pocketvlm.workspace import read_rows

CHAT = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}"
    "{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""SmolVLM's chat_template.json."""

ADAPTERS: dict[str, list[str] | str] = {
    "plain": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "text": TEXT_MODEL,
}
"""The plain names are what people write. They also hit q, k and v of the vision tower, so that the
whole tower is gone through backwards. `text` is what ours adapts."""


def processor(base: Path, tiles: int) -> Idefics3Processor:
    """SmolVLM's preprocessor_config.json, with Pillow; a square picture becomes 17 tiles or 1."""
    pictures = Idefics3ImageProcessorPil(
        do_image_splitting=tiles > 1,
        size={"longest_edge": 2048 if tiles > 1 else 512},
        max_image_size={"longest_edge": 512},
        resample=1,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    return Idefics3Processor(pictures, tokenizer, image_seq_len=64, chat_template=CHAT)


def conversations(dataset: Path) -> Dataset:
    """Each picture, the question about it and the answer."""
    question = parse_config({}).task.question
    rows = [
        {
            "images": [str(dataset / row["image"])],
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": row["label"]},
            ],
        }
        for row in read_rows(dataset / "train.jsonl")
    ]
    return Dataset.from_list(rows).cast_column("images", List(Image()))


def trainer(options: argparse.Namespace, clock: Clock, output: str) -> SFTTrainer:
    """TRL's trainer for one recipe."""
    reduced = options.dtype == "bfloat16"
    model = AutoModelForImageTextToText.from_pretrained(options.base, dtype=options.dtype)
    arguments = SFTConfig(
        output_dir=output,
        use_cpu=True,
        bf16=reduced,
        activation_checkpointing=options.checkpointing,
        per_device_train_batch_size=options.batch,
        max_steps=options.steps,
        max_length=None,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    adapters = LoraConfig(
        r=16,
        lora_alpha=32,
        lora_dropout=0.05,
        target_modules=ADAPTERS[options.adapters],
        task_type="CAUSAL_LM",
    )
    return SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=conversations(options.dataset),
        processing_class=processor(options.base, options.tiles),
        peft_config=adapters,
        callbacks=[clock],
    )


def main() -> None:
    """Train for some steps and tell what they took."""
    parser = argparse.ArgumentParser(description="SFTTrainer on SmolVLM, under the clock.")
    parser.add_argument("base", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--tiles", type=int, choices=(1, 17), default=17)
    parser.add_argument("--adapters", choices=tuple(ADAPTERS), default="plain")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    clock = Clock(options.steps)
    with tempfile.TemporaryDirectory() as output:
        made = trainer(options, clock, output)
        one = made.data_collator([made.train_dataset[0]])
        made.train()
    clock.tell(
        tokens=one["input_ids"].shape[1],
        tiles=one["pixel_values"].shape[1],
        adapters=made.model.get_nb_trainable_parameters()[0],
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
