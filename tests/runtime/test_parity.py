"""llama.cpp against torch on the same model: layout, tower, text model, answers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pocketvlm.contract import Contract
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import Runtime
from pocketvlm.student.inputs import embed, image_features, pixel_values
from pocketvlm.student.student import Student

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def embedded(student: Student, pictures: list[Bitmap]) -> tuple[Floats, Floats]:
    """A prompt with its picture as embeddings (n, hidden), and torch's logits after it."""
    with torch.inference_mode():
        features = image_features(student.model, pixel_values(pictures[:1]))
        embeddings = embed(student.model, torch.tensor([student.prompt]), features)
        logits = student.model(inputs_embeds=embeddings).logits[0, -1]
    return embeddings[0].numpy(), logits.numpy()


def test_the_layout_is_the_contract_s(
    exact: Runtime, student: Student, contract: Contract, pictures: list[Bitmap]
) -> None:
    assert exact.ids(contract.prompt, pictures[0]) == student.prompt


def test_the_tower_gives_the_same_embeddings(
    exact: Runtime, student: Student, pictures: list[Bitmap]
) -> None:
    with torch.inference_mode():
        theirs = image_features(student.model, pixel_values(pictures)).numpy()
    for picture, features in zip(pictures, theirs, strict=True):
        tiles = exact.embeddings(picture)
        assert tiles.shape == (2, 4, 64)
        assert np.array_equal(tiles[0], tiles[1])
        assert np.abs(tiles[0] - features).max() < 3e-3 * features.std()


def test_the_text_model_on_equal_embeddings(
    exact: Runtime, embedded: tuple[Floats, Floats]
) -> None:
    embeddings, theirs = embedded
    assert np.abs(exact.text_logits(embeddings) - theirs).max() < 1e-4


def test_exact_is_nearer_to_torch_than_the_phone_s_cache(
    exact: Runtime, exact_pair: tuple[Path, Path], embedded: tuple[Floats, Floats]
) -> None:
    embeddings, theirs = embedded
    with Runtime(*exact_pair, threads=1) as usual:
        distance = np.abs(usual.text_logits(embeddings) - theirs).max()
    assert np.abs(exact.text_logits(embeddings) - theirs).max() < distance / 10


def test_the_first_logits(
    exact: Runtime, student: Student, contract: Contract, pictures: list[Bitmap]
) -> None:
    theirs = student.logits(pictures).numpy()
    ours = np.stack([exact.logits(contract.prompt, picture) for picture in pictures])
    assert np.abs(ours - theirs).max() < 3e-3
    assert np.abs(theirs[0] - theirs[1]).max() > 0.1, "the picture must matter"


def test_the_likelihoods(
    exact: Runtime, student: Student, contract: Contract, pictures: list[Bitmap]
) -> None:
    answers = [contract.answer(label) for label in contract.labels]
    ours = [exact.likelihoods(contract.prompt, picture, answers) for picture in pictures]
    assert np.abs(np.stack(ours) - student.likelihoods(pictures)).max() < 3e-3


def test_the_greedy_answers(
    exact: Runtime, student: Student, contract: Contract, pictures: list[Bitmap]
) -> None:
    length = contract.max_new_tokens
    ours = [exact.answer(contract.prompt, picture, length).text for picture in pictures]
    assert ours == student.answers(pictures)
    assert len(set(ours)) > 1, "the picture must matter"


def test_the_phone_s_type_stays_near(
    runtime: Runtime, student: Student, contract: Contract, pictures: list[Bitmap]
) -> None:
    theirs = student.logits(pictures).numpy()
    ours = np.stack([runtime.logits(contract.prompt, picture) for picture in pictures])
    assert np.abs(ours - theirs).max() < 0.2 * theirs.std()
