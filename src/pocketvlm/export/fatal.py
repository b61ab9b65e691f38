"""What llama.cpp does not refuse but dies of: it would end the process, the app's as ours.

Found by flipping bytes in SmolVLM's files under llama-cpp-python 0.3.36: the text model's loader
refuses nearly all of it, the vision tower's hardly any.
"""

from collections import Counter

import numpy as np
from gguf import GGUFValueType

from pocketvlm.export.architecture import VisionSizes
from pocketvlm.export.header import Header
from pocketvlm.export.vision import vision_tensors

WHOLE = {
    "image_size": 1,
    "patch_size": 1,
    "block_count": 1,
    "embedding_length": 1,
    "feed_forward_length": 1,
    "attention.head_count": 1,
    "projector.scale_factor": 2,
}
"""Keys of clip.vision, with the least that llama.cpp can divide by."""

KINDS = {
    "general.name": GGUFValueType.STRING,
    "general.description": GGUFValueType.STRING,
    "clip.projector_type": GGUFValueType.STRING,
    "clip.has_vision_encoder": GGUFValueType.BOOL,
    "clip.use_gelu": GGUFValueType.BOOL,
    "clip.vision.preproc_image_size": GGUFValueType.UINT32,
    "clip.vision.projection_dim": GGUFValueType.UINT32,
}
"""Of keys that may be missing."""

EPSILON = "clip.vision.attention.layer_norm_epsilon"
COLOURS = ("clip.vision.image_mean", "clip.vision.image_std")
MOST_LAYERS = 512
"""LLAMA_MAX_LAYERS (llama-hparams.h)."""

PROJECTOR = "mm.model.fc.weight"
POSITIONS = "v.position_embd.weight"


def fatal(header: Header) -> str | None:
    """What is wrong; None when llama.cpp opens the file or refuses it with a reason.

    Of vision files only SmolVLM's are known."""
    if header.big_endian:
        return None
    if header.architecture != "clip":
        return _text(header) or _twice(header.texts("tokenizer.ggml.tokens"))
    for key, kind in KINDS.items():
        if header.kinds.get(key, kind) != kind:
            return f"{key} is of the kind {header.kinds[key].name}, not {kind.name}"
    if header.text("clip.projector_type") != "idefics3":
        return None
    return _key(header) or _tensor(header)


def _text(header: Header) -> str | None:
    layers = header.whole(key := f"{header.architecture}.block_count")
    if layers is not None and not 0 < layers <= MOST_LAYERS:
        return f"{key} is {layers:,}"
    key = f"{header.architecture}.attention.layer_norm_rms_epsilon"
    return _small(header, key) if key in header.keys else None


def _small(header: Header, key: str) -> str | None:
    value = header.keys.get(key)
    single = header.kinds.get(key) == GGUFValueType.FLOAT32
    if single and isinstance(value, float) and 0 <= value <= 1:
        return None
    return f"{key} is {value}, not a small number"


def _twice(tokens: list[str]) -> str | None:
    """llama.cpp reads up to a zero byte; what is no text cannot be told apart here."""
    names = Counter(token.split("\0")[0] for token in tokens if "\ufffd" not in token)
    twice = next((name for name, times in names.items() if times > 1), None)
    return None if twice is None else f"the vocabulary has the token {twice!r} twice"


def _key(header: Header) -> str | None:
    for name, least in WHOLE.items():
        key = f"clip.vision.{name}"
        if (found := header.whole(key)) is None:
            return f"{key} is missing"
        if found < least or header.kinds[key] != GGUFValueType.UINT32:
            return f"{key} is {found} ({header.kinds[key].name})"
    if wrong := _small(header, EPSILON):
        return wrong
    for key in COLOURS:
        values = header.keys.get(key)
        if not isinstance(values, np.ndarray) or values.dtype != np.float32 or len(values) != 3:
            return f"{key} is not three numbers"
    return None


def _tensor(header: Header) -> str | None:
    """Names and shapes must be those that the keys say: it reads them without asking."""
    side, patch, layers, width, inner, heads, scale = (
        header.whole(f"clip.vision.{name}") or 0 for name in WHOLE
    )
    if width % heads:
        return f"width {width} does not divide into {heads} heads"
    if layers > len(header.tensors):
        return f"clip.vision.block_count is {layers:,}, which its tensors are too few for"
    for name, shape in ((POSITIONS, (width, (side // patch) ** 2)), (PROJECTOR, None)):
        if name not in header.tensors:
            return f"{name} is missing"
        if shape not in (None, header.tensors[name].shape):
            return f"{name} has the shape {header.tensors[name].shape}, its keys say {shape}"
    sizes = VisionSizes(side, patch, layers, width, inner, heads, 3, 0.0, scale)
    for tensor in vision_tensors(sizes, header.tensors[PROJECTOR].shape[-1], side):
        wanted = tensor.shape[::-1]
        if (stored := header.tensors.get(tensor.name)) is None:
            return f"{tensor.name} is missing"
        swapped = ".ffn_" in tensor.name and {*stored.shape} <= {width, inner}  # older converters
        if stored.shape != wanted and not swapped:
            return f"{tensor.name} has the shape {stored.shape}, its keys say {wanted}"
    return None
