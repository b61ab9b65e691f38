"""The files in llama.cpp against transformers on the folder they were made of."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoModelForImageTextToText

from pocketvlm.contract import END
from pocketvlm.export import export_text, export_vision
from pocketvlm.runtime import Runtime
from pocketvlm.student.inputs import image_features, pixel_values

SIDES = (64, 256, 384, 512)


@pytest.fixture(scope="module")
def gguf(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    export_text(pristine, folder / "model.gguf", "F32")
    for side in SIDES:
        export_vision(pristine, folder / f"mmproj-{side}.gguf", "F32", side)
    return folder


@pytest.mark.parametrize("side", SIDES)
def test_the_tower_sees_what_it_sees_in_torch(pristine: Path, gguf: Path, side: int) -> None:
    bitmap = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    student = AutoModelForImageTextToText.from_pretrained(pristine, dtype=torch.float32)
    with torch.inference_mode():
        theirs = image_features(student, pixel_values([bitmap]))[0].numpy()
    with Runtime(gguf / "model.gguf", gguf / f"mmproj-{side}.gguf", exact=True) as runtime:
        tiles = runtime.embeddings(bitmap)
    assert tiles.shape == (2, (side // 64) ** 2, 64)
    for tile in tiles:
        assert np.abs(tile - theirs).max() < 3e-3 * theirs.std()


def test_the_text_model_thinks_what_it_thinks_in_torch(pristine: Path, gguf: Path) -> None:
    student = AutoModelForImageTextToText.from_pretrained(pristine, dtype=torch.float32)
    embeddings = torch.randn(1, 40, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        theirs = student(inputs_embeds=embeddings).logits[0, -1].numpy()
    with Runtime(gguf / "model.gguf", gguf / "mmproj-64.gguf", exact=True) as runtime:
        ours = runtime.text_logits(embeddings[0].numpy())
    assert np.abs(ours - theirs).max() < 1e-3 * theirs.std()


@pytest.fixture(scope="module")
def runtime(gguf: Path) -> Runtime:
    return Runtime(gguf / "model.gguf", gguf / "mmproj-64.gguf")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
@example("a\n\n3  dogs, 33 cats\n\nElement: water<end_of_utterance>")
def test_tokens_are_those_of_the_tokenizer(runtime: Runtime, pristine: Path, text: str) -> None:
    tokenizer = Tokenizer.from_file(str(pristine / "tokenizer.json"))
    assert runtime.tokens(text) == tokenizer.encode(text, add_special_tokens=False).ids


def test_generation_ends_on_the_end_of_the_utterance(runtime: Runtime, pristine: Path) -> None:
    end = Tokenizer.from_file(str(pristine / "tokenizer.json")).token_to_id(END)
    assert runtime.tokens(END) == [end]
    assert end in runtime.end_ids
