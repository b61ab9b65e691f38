"""A vision file for another side, from a vision file: no model folder is needed."""

from math import isqrt
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter, ReaderField

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.export.vision import position_rows
from pocketvlm.workspace import atomic_file

POSITIONS = "v.position_embd.weight"
SIDES = ("clip.vision.image_size", "clip.vision.preproc_image_size")
OWN = ("GGUF.", "general.architecture")
"""Fields that the writer makes itself."""


def resize_vision(source: Path, out: Path, side: int) -> None:
    """Copy a SmolVLM mmproj file with its tower at `side`: position embeddings gathered, pictures
    of that side taken as they are.

    ConfigError when the side does not divide into patches; PocketError when `source` is no vision
    file of a SmolVLM."""
    reader = GGUFReader(source)
    fields = reader.fields
    if "clip.vision.patch_size" not in fields or "clip.vision.projector.scale_factor" not in fields:
        raise PocketError(f"{source} is no vision file of a SmolVLM")
    patch = int(fields["clip.vision.patch_size"].contents())
    step = patch * int(fields["clip.vision.projector.scale_factor"].contents())
    if side < step or side % step:
        raise ConfigError(f"{side} is no multiple of {step}, this file's patch size x scale factor")
    writer = GGUFWriter(None, "clip")
    for field in fields.values():
        if not field.name.startswith(OWN):
            _copy(writer, field, side)
    if SIDES[1] not in fields:  # older files have none
        writer.add_vision_preproc_image_size(side)
    for tensor in reader.tensors:
        data = np.asarray(tensor.data)
        if tensor.name == POSITIONS:
            data = data[position_rows(side // patch, isqrt(len(data)))]
        writer.add_tensor(tensor.name, data, raw_dtype=tensor.tensor_type)
    with atomic_file(out) as partial:
        writer.write_header_to_file(partial)
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _copy(writer: GGUFWriter, field: ReaderField, side: int) -> None:
    kind = field.types[0]
    inner = field.types[-1] if kind == GGUFValueType.ARRAY else None
    value = side if field.name in SIDES else field.contents()
    writer.add_key_value(field.name, value, kind, inner)
