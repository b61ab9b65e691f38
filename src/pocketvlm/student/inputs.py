"""What the student sees: the contract's bitmap, and the token layout of the runtime."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import SmolVLMForConditionalGeneration

from pocketvlm.pictures import Bitmap


def pixel_values(bitmaps: Sequence[Bitmap]) -> Tensor:
    """Bitmaps (n, side, side, 3) to float32 (n, 3, side, side) in -1..1: mean and standard
    deviation are 0.5 (SmolVLM's preprocessor_config.json), applied as mtmd applies them."""
    return scaled(torch.from_numpy(np.stack(bitmaps)))


def scaled(bitmaps: Tensor) -> Tensor:
    """The same of a uint8 tensor (n, side, side, 3), on the device it lies on."""
    return bitmaps.permute(0, 3, 1, 2).contiguous().float().div_(255).sub_(0.5).div_(0.5)


def image_features(model: SmolVLMForConditionalGeneration, pixels: Tensor) -> Tensor:
    """Tower and connector: (n, 3, side, side) to (n, tile tokens, hidden)."""
    features: Tensor = model.model.connector(tower_states(model, pixels))
    return features


def tower_states(model: SmolVLMForConditionalGeneration, pixels: Tensor) -> Tensor:
    """The vision tower alone: (n, 3, side, side) to (n, patches, vision hidden)."""
    patch = model.config.vision_config.patch_size
    rows, columns = pixels.shape[2] // patch, pixels.shape[3] // patch
    mask = torch.ones(len(pixels), rows, columns, dtype=torch.bool, device=pixels.device)
    tower = model.model.vision_model
    states: Tensor = tower(
        pixel_values=pixels.to(tower.dtype), patch_attention_mask=mask
    ).last_hidden_state
    return states


def embed(model: SmolVLMForConditionalGeneration, ids: Tensor, features: Tensor) -> Tensor:
    """Token ids (n, length) to embeddings (n, length, hidden); every tile slot of a row takes the
    row's features (n, tile tokens, hidden), once for the grid tile and once for the overview.

    transformers 5.23 ignores `image_hidden_states=`; a masked scatter into the embeddings is exact.
    """
    embeddings: Tensor = model.get_input_embeddings()(ids)
    slots = ids == model.config.image_token_id
    tiles = int(slots[0].sum()) // features.shape[1]
    wanted = features.repeat(1, tiles, 1).to(embeddings.dtype)
    return embeddings.masked_scatter(slots.unsqueeze(-1), wanted)


def tile_tokens(model: SmolVLMForConditionalGeneration, side: int) -> int:
    """Image tokens of one tile: (side / patch size / scale factor) squared."""
    return int((side // model.config.vision_config.patch_size // model.config.scale_factor) ** 2)
