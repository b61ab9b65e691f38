"""Which llama.cpp this is, also by what it does with a picture: its package tells no commit.

A built-in skeleton (a few hundred tokens, one tile is one embedding) is asked about pictures of
known sizes. Two builds with equal behaviour lay out and resize alike, whatever they are called.
"""

import json
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import llama_cpp.llama_cpp as llama
import numpy as np
from tokenizers.pre_tokenizers import ByteLevel

from pocketvlm.contract import END, FAKE, IMAGE, OVERVIEW, Contract
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.export import export_skeleton
from pocketvlm.layout import Layout, runs
from pocketvlm.runtime.llama import Runtime
from pocketvlm.runtime.loading import CONTEXT
from pocketvlm.runtime.resize import distances, set_preprocessed_side
from pocketvlm.sections import MARKER
from pocketvlm.workspace import Row, fingerprint, sha256_json

SIDE = 64
"""Of the built-in tower: patches of 16, four by four of them an embedding."""

STOCK = 4
"""SmolVLM's own files enlarge every picture to four tiles a side (2048 / 512)."""

NOISE = np.random.default_rng(0).integers(0, 256, (2 * SIDE - 8, 2 * SIDE + 11, 3), np.uint8)
"""A picture that every filter makes something else of."""


def identity() -> Row:
    """`package` and version, `version` (llama.cpp's own), `behaviour` (hash of what it does with
    pictures), `library` (hash of its shared libraries), `system` (what it uses of this
    processor)."""
    return {
        "package": f"llama-cpp-python {version('llama-cpp-python')}",
        "version": llama.llama_version().decode(),
        "behaviour": sha256_json(behaviour())[:16],
        "library": fingerprint(Path(llama._lib._name).parent),
        "system": llama.llama_print_system_info().decode().strip(),
    }


def named(runtime: Row) -> str:
    """A build for people."""
    version, behaviour = runtime.get("version"), runtime.get("behaviour")
    return f"{runtime['package']} (llama.cpp {version}, behaviour {behaviour})"


def another_build(trained: Row, present: Row) -> str | None:
    """What it means that the student was trained under another build; None when it was not."""
    if named(trained) == named(present):
        return None
    alike = trained.get("behaviour") == present.get("behaviour")
    meaning = "they treat pictures alike" if alike else "they treat pictures differently"
    return (
        f"the student was trained under {named(trained)} and is measured under "
        f"{named(present)}: {meaning}"
    )


def words(runtime: Runtime, ids: list[int]) -> str:
    """Token ids as text, the embeddings of each tile as `[count]`."""
    return "".join(
        f"[{run['picture']}]" if "picture" in run else runtime.text(run["text"])
        for run in runs(ids, runtime.image_id)
    )


def lay_out(runtime: Runtime, prompt: str) -> Layout:
    """The layout of a prompt with a picture of the tower's side (its pixels do not matter)."""
    ids = runtime.ids(prompt, np.zeros((runtime.side, runtime.side, 3), np.uint8))
    return Layout(tuple(ids), runtime.image_id, words(runtime, ids), identity())


def check_layout(runtime: Runtime, contract: Contract, trained: Layout) -> None:
    """PocketError when the runtime asks another question than the student was taught, or does not
    stop where its answers end."""
    asked = lay_out(runtime, contract.prompt)
    if asked.ids != trained.ids:
        raise PocketError(
            f"{named(asked.runtime)} lays a picture out otherwise than {named(trained.runtime)}, "
            f"under which the student was trained: {asked.words!r} instead of {trained.words!r}; "
            "install that build, or train for this one: `pocketvlm run --from train --force`"
        )
    check_end(runtime)


def check_end(runtime: Runtime) -> int:
    """The end token's id; PocketError when the text file would not stop there."""
    ends = runtime.tokens(END)
    if len(ends) != 1 or ends[0] not in runtime.end_ids:
        raise PocketError(f"the text file does not stop at {END}: convert again")
    return ends[0]


def ask_layout(model: Path, contract: Contract) -> Layout:
    """How this build will ask a student with the tokenizer and config.json of the folder `model`,
    by a throw-away skeleton of it. ConfigError when that is more than the context holds."""
    with TemporaryDirectory() as name:
        files = export_skeleton(model, Path(name), contract.side)
        with Runtime(*files, tiles=contract.tiles) as runtime:
            layout = lay_out(runtime, contract.prompt)
    needed = len(layout.ids) + contract.max_new_tokens
    if needed > CONTEXT:
        raise ConfigError(
            f"device.side, task.question: picture, prompt and answer need {needed} tokens, the "
            f"context holds {CONTEXT}: take a smaller side or a shorter question"
        )
    return layout


@cache
def behaviour() -> Row:
    """What the build makes of pictures: the layout of one of the tower's own side and of larger
    ones, natively and with stock metadata, and the filter that resizes."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder)
        text, vision = export_skeleton(folder, folder, SIDE)
        with Runtime(text, vision, stock=True) as runtime:
            native = _layouts(runtime)
            seen = runtime.embeddings(NOISE)[-1]
            filter = next(iter(distances(runtime, NOISE, seen)))
        set_preprocessed_side(vision, SIDE * STOCK)
        with Runtime(text, vision, stock=True) as runtime:
            return {"native": native, "stock": _layouts(runtime), "filter": filter}


def _layouts(runtime: Runtime) -> dict[str, str]:
    """What pictures of a few sizes become, in words."""
    sizes = ((SIDE, SIDE), (2 * SIDE, SIDE), (SIDE * STOCK, SIDE * STOCK - 20))
    black = {f"{w}x{h}": np.zeros((h, w, 3), np.uint8) for w, h in sizes}
    return {size: words(runtime, runtime.ids(MARKER, bitmap)) for size, bitmap in black.items()}


def write_model(folder: Path, side: int = SIDE) -> None:
    """A model folder without weights: byte-level vocabulary, SmolVLM's special tokens, a tower of
    `side` with patches of 16."""
    tokens = [*sorted(ByteLevel.alphabet()), "ĊĊ"]
    grid = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    special = [FAKE, OVERVIEW, IMAGE, END, *grid]
    model = {
        "added_tokens": [
            {"id": len(tokens) + at, "content": text, "special": True}
            for at, text in enumerate(special)
        ],
        "pre_tokenizer": {
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "add_prefix_space": False},
            ]
        },
        "model": {
            "type": "BPE",
            "vocab": {token: at for at, token in enumerate(tokens)},
            "merges": ["Ċ Ċ"],
        },
    }
    config = {
        "model_type": "smolvlm",
        "scale_factor": 4,
        "text_config": {"vocab_size": len(tokens) + len(special)},
        "vision_config": {"image_size": side, "patch_size": 16},
    }
    for name, content in (("tokenizer", model), ("tokenizer_config", {}), ("config", config)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
