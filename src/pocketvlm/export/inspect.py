"""What GGUF files are, in words: also files that were made elsewhere."""

from collections.abc import Iterable, Sequence
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from pocketvlm.contract import GGUF_KEY
from pocketvlm.errors import PocketError
from pocketvlm.export.doubts import NEEDED, doubts, file_type, tiles, unfit
from pocketvlm.export.header import Header, StoredTensor, Value, read_header
from pocketvlm.layout import shortened
from pocketvlm.progress import bar
from pocketvlm.workspace import Row, sha256_file

MIB = 2**20

SAID = ("general.", "pocketvlm.")
"""Beginnings of the keys by which a file says what it is."""

ENDS = ("eos", "eot", "eom", "bos", "padding", "unknown")
"""Tokens that a tokenizer names, by their keys."""

EMBEDDING = ("bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2",
             "jina-bert-v3", "eurobert", "gemma-embedding", "t5encoder")  # fmt: skip
"""Architectures of llama.cpp that only embed."""

SHORT = 8
"""Numbers of a list that are shown."""

SOON = 512 * MIB
"""Bytes that are read before a bar could be."""

IDEFICS3 = "idefics3"
"""llama.cpp's name of SmolVLM's projector, whose tiles we know."""


def inspect(files: Sequence[Path], contract: str | None = None) -> Row:
    """`files`, one row each, and `warnings` of those that do not fit together; `contract` is the
    hash of the project's. A broken file's row has `file` and `error` alone."""
    rows: list[Row] = []
    headers: dict[Path, Header] = {}
    large = sum(file.stat().st_size for file in files if file.is_file()) > SOON
    with bar("Inspecting", len(files), large) as advance:
        for file in files:
            try:
                headers[file] = read_header(file)
                rows.append(describe(file, headers[file], contract))
            except PocketError as error:
                rows.append({"file": str(file), "error": str(error)})
            advance("")
    found = [(file, header) for file, header in headers.items() if header.parts == 1]
    texts = [pair for pair in found if kind(pair[1]) == "text model"]
    visions = [pair for pair in found if kind(pair[1]) == "vision file"]
    pairs = (unfit(*text, *vision) for text, vision in product(texts, visions))
    return {"files": rows, "warnings": [sentence for pair in pairs for sentence in pair]}


def describe(file: Path, header: Header, contract: str | None) -> Row:
    """All that is known of one file."""
    hash, number = header.text(GGUF_KEY) or None, header.whole("split.no")
    ours = None if hash is None or contract is None else hash == contract
    return {
        "file": str(file),
        "kind": kind(header),
        "architecture": header.architecture,
        "version": header.version,
        "big_endian": header.big_endian,
        "part": None if header.parts == 1 else [(number or 0) + 1, header.parts],
        "bytes": file.stat().st_size,
        "sha256": sha256_file(file),
        "parameters": sum(tensor.parameters for tensor in header.tensors.values()),
        "said": {key: plain(value) for key, value in header.keys.items() if key.startswith(SAID)},
        "contract": {"hash": hash, "of_this_project": ours},
        "type": file_type(header),
        "stored": shares(header.tensors.values()),
        "tokenizer": tokenizer(header),
        "vision": vision(header),
        "sizes": sizes(header),
        "warnings": doubts(file, header, contract),
    }


def kind(header: Header) -> str:
    """What it is used for."""
    architecture, type = header.architecture, header.text("general.type")
    if architecture == "clip" or type == "mmproj":
        seeing = header.keys.get("clip.has_vision_encoder", True)
        return "vision file" if seeing else "audio file"
    if type in ("adapter", "imatrix", "vocab"):
        return {"adapter": "LoRA adapter", "imatrix": "importance matrix"}.get(type, "vocabulary")
    if architecture in EMBEDDING or header.whole(f"{architecture}.pooling_type"):
        return "embedding model"
    return "text model"


def shares(tensors: Iterable[StoredTensor]) -> Row:
    """By the type that tensors are stored as, the largest first: how many `tensors`, `parameters`
    and `bytes`, and which shares of the file's (0..1)."""
    found: Row = {}
    for tensor in tensors:
        row = found.setdefault(tensor.type.name, {"tensors": 0, "parameters": 0, "bytes": 0})
        row["tensors"] += 1
        row["parameters"] += tensor.parameters
        row["bytes"] += tensor.nbytes
    for name in ("parameters", "bytes"):
        total = sum(row[name] for row in found.values())
        for row in found.values():
            row[f"{name}_share"] = row[name] / total if total else 0.0
    return dict(sorted(found.items(), key=lambda pair: -pair[1]["bytes"]))


def tokenizer(header: Header) -> Row | None:
    """`model`, `pre`, number of `tokens` and `merges`, the tokens it `names` ([id, text]), whether
    there is a `chat_template`, and SmolVLM's special tokens that are `missing`."""
    tokens = header.texts("tokenizer.ggml.tokens")
    if not tokens:
        return None
    ids = {end: header.whole(f"tokenizer.ggml.{end}_token_id") for end in ENDS}
    return {
        "model": header.text("tokenizer.ggml.model"),
        "pre": header.text("tokenizer.ggml.pre"),
        "tokens": len(tokens),
        "merges": len(header.texts("tokenizer.ggml.merges")),
        "names": {
            end: [number, tokens[number] if 0 <= number < len(tokens) else None]
            for end, number in ids.items()
            if number is not None
        },
        "chat_template": "tokenizer.chat_template" in header.keys,
        "missing": sorted(set(NEEDED) - set(tokens)),
    }


def vision(header: Header) -> Row | None:
    """Sides, and for SmolVLM's projector the tiles and image tokens of a square picture.

    llama.cpp enlarges the longer side to `preproc_image_size`, cuts tiles of `image_size` out of it
    and adds the picture as a whole (measured in llama-cpp-python 0.3.36; some builds make one tile
    where this one makes two). Without that key it cuts the picture as it is: `tiles` is None."""
    if header.architecture != "clip":
        return None
    names = {
        "image_size": "image_size",
        "preproc_image_size": "preproc_image_size",
        "patch_size": "patch_size",
        "scale_factor": "projector.scale_factor",
    }
    row: Row = {name: header.whole(f"clip.vision.{key}") for name, key in names.items()}
    side, enlarged, patch, scale = row.values()
    row |= {"projector": header.text("clip.projector_type")}
    row |= {"tile_tokens": None, "tiles": None, "image_tokens": None}
    if row["projector"] != IDEFICS3 or not (side and patch and scale):
        return row
    row["tile_tokens"] = (side // patch // scale) ** 2
    if enlarged:
        row["tiles"] = tiles(side, enlarged)
        row["image_tokens"] = row["tiles"] * row["tile_tokens"]
    return row


def sizes(header: Header) -> Row:
    """The architecture's own keys."""
    prefix = f"{header.architecture}."
    return {
        key.removeprefix(prefix): plain(value)
        for key, value in header.keys.items()
        if key.startswith(prefix)
    }


def plain(value: Value) -> Any:
    """A value as JSON holds it; a long list is only counted."""
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if not isinstance(value, list | np.ndarray):
        return value
    if len(value) > SHORT:
        return f"{len(value):,} values"
    return [plain(one) for one in (value if isinstance(value, list) else value.tolist())]


def table(figures: Row) -> str:
    """The files for people, one under the other."""
    lines: list[str] = []
    for row in figures["files"]:
        if "error" not in row:
            lines += [*_one(row), ""]
    lines += [f"mind: {warning}" for warning in figures["warnings"]]
    return "\n".join(map(_printable, lines)).rstrip()


def _printable(line: str) -> str:
    """A file may hold anything, a terminal's commands too."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def _one(row: Row) -> list[str]:
    version = f"GGUF {row['version']}" + (", big-endian" if row["big_endian"] else "")
    part = "part {} of {}, ".format(*row["part"]) if row["part"] else ""
    lines = [
        f"{row['file']}: {part}{row['kind']} ({row['architecture']}), {row['parameters']:,} "
        f"parameters, {row['bytes'] / MIB:,.1f} MiB",
        *(f"  mind: {warning}" for warning in row["warnings"]),
    ]
    facts = {"sha256": row["sha256"], "format": version}
    said = {key.removeprefix("general."): value for key, value in row["said"].items()}
    if "file_type" in said:
        said["file_type"] = f"{said['file_type']} ({row['type']})"
    if said.get(GGUF_KEY):
        said[GGUF_KEY] = _contract(row["contract"])
    sections = {
        "says of itself": _aligned(said),
        "stored": _stored(row["stored"]),
        "vision": _aligned(_vision(row["vision"])),
        "tokenizer": _aligned(_tokenizer(row["tokenizer"], row["contract"]["hash"] is not None)),
        "sizes": _aligned(row["sizes"]),
        "file": _aligned(facts),
    }
    for title, inside in sections.items():
        lines += [f"  {title}", *inside] if inside else []
    return lines


def _stored(stored: Row) -> list[str]:
    head = f"    {'type':8} {'tensors':>7} {'parameters':>13} {'share':>6} {'MiB':>9} {'share':>6}"
    return [head] + [
        f"    {name:8} {row['tensors']:7,} {row['parameters']:13,} {row['parameters_share']:6.1%} "
        f"{row['bytes'] / MIB:9,.1f} {row['bytes_share']:6.1%}"
        for name, row in stored.items()
    ]


def _aligned(values: Row) -> list[str]:
    width = max(map(len, values), default=0)
    return [f"    {name:{width}}  {shortened(_words(value))}" for name, value in values.items()]


def _words(value: Any) -> str:
    """On one line, whatever a file says."""
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split())


def _contract(contract: Row) -> str:
    of = {None: "", True: " (this project's)", False: " (another project's)"}
    return f"{contract['hash']}{of[contract['of_this_project']]}"


def _vision(vision: Row | None) -> Row:
    if vision is None:
        return {}
    rows: Row = {
        "tower": f"{vision['image_size']} px, patches of {vision['patch_size']}, "
        f"scale {vision['scale_factor']}",
        "preproc_image_size": vision["preproc_image_size"] or "missing",
    }
    if vision["tile_tokens"] is not None:
        many = vision["tiles"]
        rows["a square picture"] = (
            f"{many} tiles of {vision['tile_tokens']} tokens: {vision['image_tokens']:,} image "
            "tokens (`pocketvlm probe` asks this build)"
            if many
            else f"tiles of {vision['tile_tokens']} tokens, as many as llama.cpp likes"
        )
    return rows


def _tokenizer(tokenizer: Row | None, ours: bool) -> Row:
    if tokenizer is None:
        return {}
    rows: Row = {
        "model": f"{tokenizer['model']}, pre-tokenizer {tokenizer['pre'] or 'missing'}",
        "tokens": f"{tokenizer['tokens']:,}, {tokenizer['merges']:,} merges",
    }
    rows |= {end: f"{number} {token}" for end, (number, token) in tokenizer["names"].items()}
    if tokenizer["chat_template"]:
        unused = "; this student was taught the contract's raw prompt, which uses none"
        rows["chat template"] = f"there{unused if ours else ''}"
    return rows
