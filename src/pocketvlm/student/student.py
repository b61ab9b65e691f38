"""A student that can be asked: answers and likelihoods in torch, as the phone would ask."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from transformers import SmolVLMForConditionalGeneration

from pocketvlm.base import encoder
from pocketvlm.contract import END, STOPS, Contract
from pocketvlm.errors import PocketError
from pocketvlm.layout import Layout
from pocketvlm.pictures import Bitmap
from pocketvlm.student.inputs import embed, image_features, pixel_values, tile_tokens
from pocketvlm.student.rounding import rounded_as_runtime

BATCH = 16
"""Pictures a forward pass when asking."""


class Choice(NamedTuple):
    """One token of a greedy answer, and how near another one was."""

    token: int
    second: int
    margin: float
    """Logits between the two."""


class Student:
    """Model, tokenizer, contract and the runtime's token layout; `prompt` is its ids.

    PocketError when the layout is of a model whose tiles become other numbers of embeddings."""

    def __init__(
        self,
        model: SmolVLMForConditionalGeneration,
        tokenizer: Tokenizer,
        contract: Contract,
        layout: Layout,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.contract = contract
        self.encode = encoder(tokenizer)
        contract.check_answers(self.encode)
        self.layout = layout
        self.prompt = list(layout.ids)
        wanted = int(model.config.image_token_id), {tile_tokens(model, contract.side)}
        if (layout.image_id, set(layout.tiles)) != wanted:
            raise PocketError(
                f"the layout {layout.words!r} was asked for another model: run `pocketvlm train`"
            )
        self.end = self.encode(END)[0]
        known = [tokenizer.token_to_id(token) for token in STOPS]
        self.stops = [token for token in known if token is not None]

    def answer_ids(self, label: str) -> list[int]:
        """Token ids of a label's answer with its end token."""
        return self.encode(self.contract.answer(label))

    @torch.inference_mode()
    def answers(self, bitmaps: Sequence[Bitmap]) -> list[str]:
        """Greedy answers without the end token."""
        return [text for features in self._features(bitmaps) for text in self.answer(features)]

    @torch.inference_mode()
    def answer(self, features: Tensor) -> list[str]:
        """The same for one batch of image features (n, tile tokens, hidden)."""
        return [self._text(ids) for ids in self._generate(features).sequences.tolist()]

    @torch.inference_mode()
    def choices(self, bitmaps: Sequence[Bitmap]) -> list[list[Choice]]:
        """Every token of each greedy answer, its end token included, with what came second."""
        found: list[list[Choice]] = []
        for features in self._features(bitmaps):
            made = self._generate(features, output_logits=True)
            best = torch.stack(made.logits, dim=1).float().topk(2)  # (n, length, 2)
            margins = (best.values[..., 0] - best.values[..., 1]).tolist()
            for ids, second, margin in zip(
                made.sequences.tolist(), best.indices[..., 1].tolist(), margins, strict=True
            ):
                length = len(self._until_stop(ids)) + 1
                rows = zip(ids[:length], second[:length], margin[:length], strict=True)
                found.append([Choice(*row) for row in rows])
        return found

    def text(self, ids: Sequence[int]) -> str:
        """Token ids up to the first that ends an answer, as text."""
        return self._text(list(ids))

    def _generate(self, features: Tensor, output_logits: bool = False) -> Any:
        """Greedy answers to image features (n, tile tokens, hidden): `sequences`, `logits`."""
        prompts = self._prompts(features)
        return self.model.generate(
            inputs_embeds=prompts,
            attention_mask=torch.ones(prompts.shape[:2], device=prompts.device),
            max_new_tokens=self.contract.max_new_tokens,
            do_sample=False,
            eos_token_id=self.stops,
            pad_token_id=self.end,
            output_logits=output_logits,
            return_dict_in_generate=True,
        )

    @torch.inference_mode()
    def likelihoods(self, bitmaps: Sequence[Bitmap]) -> NDArray[np.float64]:
        """Log-probability of every label's whole answer, shape (n, labels)."""
        rows = [
            torch.stack(
                [self._likelihood(features, label) for label in self.contract.labels], dim=1
            )
            for features in self._features(bitmaps)
        ]
        return np.asarray(torch.cat(rows).cpu().double().numpy())

    @torch.inference_mode()
    def look(
        self, bitmaps: Sequence[Bitmap]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Image features (n, tile tokens, hidden), embeddings of the whole prompt (n, length,
        hidden) and first-token logits (n, vocabulary), float32: what each step hands the next."""
        features = torch.cat(list(self._features(bitmaps)))
        prompts = self._prompts(features)
        logits = self.model(inputs_embeds=prompts, logits_to_keep=1).logits[:, -1]
        first, read, seen = (value.float().cpu().numpy() for value in (logits, prompts, features))
        return seen, read, first

    @torch.inference_mode()
    def rounded(self, bitmaps: Sequence[Bitmap]) -> NDArray[np.float32]:
        """Image features (n, tile tokens, hidden) of a tower that rounds as llama.cpp's does."""
        with rounded_as_runtime(self.model):
            return torch.cat(list(self._features(bitmaps))).float().cpu().numpy()

    @torch.inference_mode()
    def logits(self, bitmaps: Sequence[Bitmap]) -> Tensor:
        """First-token logits (n, vocabulary), float32."""
        rows = [
            self.model(inputs_embeds=self._prompts(features), logits_to_keep=1).logits[:, -1]
            for features in self._features(bitmaps)
        ]
        return torch.cat(rows).float()

    def _features(self, bitmaps: Sequence[Bitmap]) -> Iterator[Tensor]:
        for start in range(0, len(bitmaps), BATCH):
            pixels = pixel_values(bitmaps[start : start + BATCH]).to(self.model.device)
            yield image_features(self.model, pixels)

    def _prompts(self, features: Tensor, answer: Sequence[int] = ()) -> Tensor:
        ids = torch.tensor([*self.prompt, *answer], device=features.device)
        return embed(self.model, ids.expand(len(features), -1), features)

    def _likelihood(self, features: Tensor, label: str) -> Tensor:
        ids = self.answer_ids(label)
        embeddings = self._prompts(features, ids[:-1])
        logits = self.model(inputs_embeds=embeddings, logits_to_keep=len(ids)).logits.float()
        target = torch.tensor(ids, device=logits.device).expand(len(features), -1)
        return functional.log_softmax(logits, -1).gather(2, target[..., None])[..., 0].sum(1)

    def _text(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(self._until_stop(ids), skip_special_tokens=False))

    def _until_stop(self, ids: list[int]) -> list[int]:
        ended = [at for at, token in enumerate(ids) if token in self.stops]
        return ids[: ended[0]] if ended else ids
