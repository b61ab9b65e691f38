"""What of a GGUF file would hurt on a device: a sentence each, with its mend."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType, TokenType

from pocketvlm.contract import END, FAKE, GGUF_KEY, GRID_TILE, IMAGE, OVERVIEW
from pocketvlm.export.fatal import fatal
from pocketvlm.export.header import Header, StoredTensor

NEEDED = (FAKE, GRID_TILE, OVERVIEW, IMAGE, END)
"""Tokens without which llama.cpp cannot lay a picture out or end an answer."""

AGAIN = "convert again with `pocketvlm convert`"
PICTURE = 1024
"""A picture's side, as an example."""

POSITIONS = ("position_embd.weight", "patch_embd.weight")
"""Ends of the names of matrices that llama.cpp wants in F32 whatever the file's type is."""

NAMES = sorted((type.name for type in GGMLQuantizationType), key=len, reverse=True)
IN_A_NAME = re.compile(rf"(?:^|[-_.])((?:{'|'.join(NAMES)})(?:_[SML])?)(?=[-_.]|$)", re.IGNORECASE)


def doubts(file: Path, header: Header, contract: str | None) -> list[str]:
    """Warnings about one file; `contract` is the hash of the project's, when there is one."""
    found = [*_container(header), *_names(file, header), *_floats(header)]
    if deadly := fatal(header):
        found.insert(0, f"{deadly}: llama.cpp ends the app's process; {AGAIN}")
    if header.architecture == "clip":
        found += _tower(header)
    elif smolvlm(header):
        found += [*_splitting(header), *_ends(header), *_special(header)]
    made_under = header.text(GGUF_KEY)
    if contract and made_under and made_under != contract:
        found.append(
            "it was made for another contract (prompt, labels, bitmap) than this project's: "
            "its answers mean something else here; run `pocketvlm run`, or put the configuration "
            "back"
        )
    return found


def unfit(text: Path, of_text: Header, vision: Path, of_vision: Header) -> list[str]:
    """Why a text model and a vision file do not work together; empty when they do."""
    found = []
    both = f"{text.name} and {vision.name}"
    width = of_text.whole(f"{of_text.architecture}.embedding_length")
    projected = of_vision.whole("clip.vision.projection_dim")
    if width and projected and width != projected:
        found.append(
            f"{both} do not fit: embeddings of {width} and of {projected}; convert both from one "
            "model"
        )
    hashes = of_text.text(GGUF_KEY), of_vision.text(GGUF_KEY)
    if all(hashes) and len(set(hashes)) > 1:
        found.append(
            f"{both} were made for different contracts (prompt, labels, bitmap): convert both again"
        )
    return found


def smolvlm(header: Header) -> bool:
    """Whether this is, or was meant to be, SmolVLM's text model."""
    tokens = set(header.texts("tokenizer.ggml.tokens"))
    known = header.text("tokenizer.ggml.pre") == "smollm" or not tokens.isdisjoint(NEEDED)
    return header.architecture == "llama" and (known or GGUF_KEY in header.keys)


def matrices(header: Header) -> list[StoredTensor]:
    """The tensors that a quantisation is about."""
    tensors = header.tensors.values()
    return [one for one in tensors if len(one.shape) > 1 and not one.name.endswith(POSITIONS)]


def _container(header: Header) -> Iterator[str]:
    if header.version == 1:
        yield "GGUF version 1: llama.cpp does not read it any more; convert the model again"
    if header.big_endian:
        yield (
            "big-endian: phones are little-endian and do not load it; convert again without "
            "--bigendian"
        )
    if header.parts > 1:
        yield (
            f"one of {header.parts} parts, and what is said here is of this part alone: an app "
            "wants one file; join them with llama-gguf-split --merge"
        )


def file_type(header: Header) -> str | None:
    """The name of what most tensors are said to be stored as, e.g. `Q4_K_M`."""
    number = header.whole("general.file_type")
    if number is None:
        return None
    if number not in list(LlamaFileType):
        return f"type {number}"
    name: str = LlamaFileType(number).name
    return name.removeprefix("MOSTLY_").removeprefix("ALL_")


def tiles(side: int, enlarged: int) -> int:
    """Into how many tiles of `side` llama.cpp cuts a square picture that it enlarges so, with the
    whole picture as one more."""
    return max(1, -(-enlarged // side)) ** 2 + 1


def _names(file: Path, header: Header) -> Iterator[str]:
    names = {}
    if found := IN_A_NAME.search(file.stem):
        names[found[1].upper()] = "the file's name"
    if said := file_type(header):
        names[said] = "general.file_type"
    for said, where in names.items():
        wanted = next((name for name in NAMES if said == name or said.startswith(f"{name}_")), None)
        if wanted and (stored := _misled(header, wanted)):
            yield (
                f"{where} says {said}, but the weights are {stored}: judge it by what it is and by "
                "its size"
            )


def _misled(header: Header, wanted: str) -> str | None:
    """What the matrices are stored as when it is under half of their parameters that are `wanted`;
    None when it is more."""
    block, _ = GGML_QUANT_SIZES[GGMLQuantizationType[wanted]]
    stored = Counter[str]()
    for one in matrices(header):
        stored[one.type.name] += one.parameters
    if stored[wanted] * 2 >= stored.total():
        return None
    (most, parameters), *_ = stored.most_common(1)
    words = (
        f"{parameters / stored.total():.0%} {most}, {stored[wanted] / stored.total():.0%} {wanted}"
    )
    if any(one.shape[0] % block for one in matrices(header)):
        words += f" (rows that do not divide into its blocks of {block} fall back)"
    return words


def _floats(header: Header) -> Iterator[str]:
    total = sum(one.parameters for one in matrices(header))
    floats = sum(one.parameters for one in matrices(header) if one.type.name == "F32")
    if floats * 2 > total:
        yield (
            "F32 is twice as large as needed: F16 gives the same answers, Q8_0 nearly always; set "
            "export.types and export.mmproj"
        )


def _tower(header: Header) -> Iterator[str]:
    """Of SmolVLM's vision file; other projectors cut pictures otherwise."""
    keys = ("image_size", "patch_size", "projector.scale_factor", "preproc_image_size")
    side, patch, scale, enlarged = (header.whole(f"clip.vision.{key}") for key in keys)
    if header.text("clip.projector_type") != "idefics3":
        return
    if not (side and patch and scale):
        return  # said already: fatal
    if side % (patch * scale):
        near = max(1, round(side / (patch * scale))) * patch * scale
        yield (
            f"the tower's side {side} is no multiple of {patch * scale} (patch x scale): the "
            f"projector loses what is over; set device.side to {near} and {AGAIN}"
        )
    tokens = (side // patch // scale) ** 2
    if not enlarged:
        count = tiles(side, PICTURE)
        yield (
            "preproc_image_size is missing: into how many tiles a picture is cut depends on "
            f"llama.cpp's build and on the picture (one of {PICTURE:,} px: up to {count} tiles, "
            f"{count * tokens:,} image tokens); {AGAIN}, which writes {side}"
        )
    elif enlarged > side:
        count = tiles(side, enlarged)
        yield (
            f"every picture is enlarged to {enlarged:,} px: {count} tiles, {count * tokens:,} "
            f"image tokens for pixels that are not there; {AGAIN}, which writes {side}"
        )


def _splitting(header: Header) -> Iterator[str]:
    pre = header.text("tokenizer.ggml.pre")
    if pre != "smollm":
        yield (
            f"tokenizer.ggml.pre is {pre or 'missing'}, not smollm: numbers are not split into "
            f"digits, so a prompt with numbers is read as other tokens than it was trained on; "
            f"{AGAIN}"
        )


def _ends(header: Header) -> Iterator[str]:
    tokens = header.texts("tokenizer.ggml.tokens")
    for name in ("eos", "eot"):
        number = header.whole(f"tokenizer.ggml.{name}_token_id")
        if number is None and name == "eot":
            continue  # llama.cpp then takes one that it knows, and ends on eos all the same
        token = tokens[number] if number is not None and 0 <= number < len(tokens) else None
        if token != END:
            said = "missing" if number is None else f"{number} ({token or 'no token'})"
            yield (
                f"{name}_token_id is {said}, not that of {END}: a build that does not know the "
                f"token by its text answers on up to the limit; {AGAIN}"
            )


def _special(header: Header) -> Iterator[str]:
    tokens = header.texts("tokenizer.ggml.tokens")
    missing = [token for token in NEEDED if token not in tokens]
    if missing:
        yield (
            f"the vocabulary has no {', '.join(missing)}: llama.cpp cannot lay out a picture or "
            "end an answer; convert from a model with SmolVLM's tokenizer"
        )
    types = header.keys.get("tokenizer.ggml.token_type")
    if not isinstance(types, np.ndarray) or len(types) != len(tokens):
        return
    plain = [
        token
        for token in NEEDED
        if token not in missing and types[tokens.index(token)] == TokenType.NORMAL
    ]
    if plain:
        yield f"{', '.join(plain)} would be read as plain text (token_type 1): {AGAIN}"
