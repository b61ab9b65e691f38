"""What this llama.cpp build really does with a picture and a prompt, and what that costs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
from numpy.typing import NDArray

from pocketvlm.base import TOKENIZER_FILES, find_base
from pocketvlm.config import Config
from pocketvlm.contract import Contract
from pocketvlm.errors import ConfigError
from pocketvlm.export import export_skeleton, resize_vision
from pocketvlm.layout import runs, shortened
from pocketvlm.pictures import Bitmap, bilinear, open_picture
from pocketvlm.progress import bar
from pocketvlm.project import Project
from pocketvlm.runtime.identity import STOCK, identity, words, write_model
from pocketvlm.runtime.llama import Runtime
from pocketvlm.runtime.resize import distances, preprocessed_side, set_preprocessed_side
from pocketvlm.workspace import Row

SIDES = (512, 384, 256)
"""What the same picture would cost with the tower at these sides."""

STOCK_SIDE = 512

REPEATS = 4
"""Answers at each side, the first of which warms up; the file as it is may take a minute each."""

MIB = 2**20

UNKNOWN = "enlarged and shrunk again, by a filter that this cannot tell"


@dataclass(frozen=True)
class Subject:
    """What is probed: two files, the prompt, and a picture to be prepared for any side."""

    text: Path
    vision: Path
    contract: Contract
    pixels: Bitmap
    """The picture as decoded, (height, width, 3)."""

    def bitmap(self, side: int) -> Bitmap:
        """The picture as an app of that side hands it over."""
        return replace(self.contract, side=side).bitmap(self.pixels)


def ask_build(
    project: Project | None, model: Path | None, mmproj: Path | None, image: Path | None
) -> Row:
    """Probe the files that are given, else the project's, else a skeleton of its base; outside of a
    project a skeleton with stock metadata.

    ConfigError when only one file is given."""
    if (model is None) != (mmproj is None):
        raise ConfigError("give --model and --mmproj together: one is no use without the other")
    contract = project.contract if project else Contract.of(Config())
    pixels = open_picture(image, contract.exif) if image else photograph()
    if model and mmproj:
        return probe(Subject(model, mmproj, contract, pixels))
    if project:
        export, space = project.config.export, project.workspace
        files = space.text_gguf(export.types[0]), space.vision_gguf(export.mmproj[0])
        if all(file.is_file() for file in files):
            return probe(Subject(*files, contract, pixels))
    with TemporaryDirectory() as name:
        folder = Path(name)
        if project:
            base = find_base(project, TOKENIZER_FILES)
            files = export_skeleton(base.folder, folder, contract.side)
            of = f"{base.record['model']} at {contract.side} px"
        else:
            files, of = stock_skeleton(folder), "stock metadata"
        return probe(Subject(*files, contract, pixels)) | {"skeleton": of}


def stock_skeleton(folder: Path) -> tuple[Path, Path]:
    """Files with the metadata of SmolVLM's own (tower 512, pictures enlarged to 2048) and next to
    no weights: for asking a build what it does where no model is at hand."""
    write_model(folder, STOCK_SIDE)
    files = export_skeleton(folder, folder, STOCK_SIDE)
    set_preprocessed_side(files[1], STOCK * STOCK_SIDE)
    return files


def photograph() -> Bitmap:
    """What is shown where no picture is given: smooth colours with some noise, 640x480."""
    random = np.random.default_rng(0)
    smooth = random.integers(0, 256, (6, 8, 3), np.uint8)
    noise: Bitmap = random.integers(0, 128, (480, 640, 3), np.uint8)
    return bilinear(smooth, 640, 480) // 2 + noise


def probe(subject: Subject) -> Row:
    """`runtime`, `files`, `as_is` (this file with the contract's bitmap) and `at` (the tower at
    512, 384 and 256, bitmap and tower alike): each with tiles, tokens, layout and milliseconds as a
    stock app has them; `resize` (what happens to the pixels on the way); `memory`.

    PocketError when the files do not load."""
    with TemporaryDirectory() as name, bar("Probing", 2 + len(SIDES)) as advance:
        folder = Path(name)
        bitmap = subject.bitmap(subject.contract.side)
        with Runtime(subject.text, subject.vision, stock=True) as runtime:
            as_is = cost(runtime, subject.contract.prompt, bitmap)
            memory = psutil.Process().memory_info().rss / MIB
            seen = runtime.embeddings(bitmap)[-1]
            side = runtime.side
        advance("as it is")
        at = {}
        for other in SIDES:
            files = subject.text, folder / f"{other}.gguf"
            resize_vision(subject.vision, files[1], other)
            with Runtime(*files, stock=True) as runtime:
                at[other] = cost(runtime, subject.contract.prompt, subject.bitmap(other), REPEATS)
            advance(f"at {other}")
        native = folder / "native.gguf"
        resize_vision(subject.vision, native, side)
        with Runtime(subject.text, native) as reference:
            resize = resized(reference, bitmap, seen)
        advance("filters")
    return {
        "runtime": identity(),
        "files": {path.name: path.stat().st_size for path in (subject.text, subject.vision)},
        "tower_side": side,
        "preprocessed_side": preprocessed_side(subject.vision),
        "bitmap": list(bitmap.shape[1::-1]),
        "resize": resize,
        "as_is": as_is,
        "at": at,
        "memory": {"resident_mib": round(memory, 1)},
    }


def cost(runtime: Runtime, prompt: str, bitmap: Bitmap, repeats: int = 1) -> Row:
    """Tiles, tokens and milliseconds (of the fastest answer) of one picture, up to the first token:
    other work on the machine only ever slows an answer."""
    ids = runtime.ids(prompt, bitmap)
    tiles = [run["picture"] for run in runs(ids, runtime.image_id) if "picture" in run]
    answers = [runtime.answer(prompt, bitmap, 1) for _ in range(repeats)]
    fastest = min(answers, key=lambda answer: answer.ms)
    return {
        "tiles": len(tiles),
        "tile_tokens": tiles[0],
        "image_tokens": sum(tiles),
        "tokens": len(ids),
        "layout": runs(ids, runtime.image_id),
        "words": words(runtime, ids),
        "vision_ms": round(fastest.vision_ms, 1),
        "text_ms": round(fastest.ms - fastest.vision_ms, 1),
    }


def resized(reference: Runtime, bitmap: Bitmap, seen: NDArray[np.float32]) -> Row:
    """Whether the tower saw the bitmap's own pixels, and which filter explains what it saw."""
    side = reference.side
    if bitmap.shape[:2] == (side, side):
        same = float(np.abs(reference.embeddings(bitmap)[-1] - seen).max()) == 0
        return {"by": None if same else UNKNOWN, "distances": {}}
    found = distances(reference, bitmap, seen)
    return {"by": next(iter(found)), "distances": {k: round(v, 4) for k, v in found.items()}}


def sentences(figures: Row) -> str:
    """The probe for people."""
    runtime, as_is = figures["runtime"], figures["as_is"]
    width, height = figures["bitmap"]
    of = figures.get("skeleton")
    lines = [
        *([f"no files yet: a skeleton of {of}, whose times say nothing"] if of else []),
        f"{runtime['package']}, llama.cpp {runtime['version']}, behaviour {runtime['behaviour']}",
        f"tower {figures['tower_side']} px, preproc_image_size {figures['preprocessed_side']}; "
        f"the app hands over {width}x{height}",
        f"{as_is['tiles']} tiles, {as_is['image_tokens']:,} image tokens, {as_is['tokens']:,} "
        "tokens in all",
        _pixels(figures["resize"]),
        f"resident memory {figures['memory']['resident_mib']:.0f} MiB",
        "",
        f"milliseconds: the fastest of {REPEATS} answers, as it is of one; every tile encoded",
        *_costs({"as it is": as_is} | {f"at {side}": row for side, row in figures["at"].items()}),
        "",
        "layout: " + shortened(repr(as_is["words"])),
        "ids: " + shortened(" ".join(_ids(run) for run in as_is["layout"])),
    ]
    return "\n".join(lines)


def _pixels(resize: Row) -> str:
    if resize["by"] is None:
        return "pixels are not resized on the way: the tower sees the bitmap's own"
    if resize["by"] == UNKNOWN:
        return f"pixels are resized on the way: {UNKNOWN}"
    nearest, *others = resize["distances"].items()
    return (
        f"pixels are resized on the way, nearest to {nearest[0]} (embeddings {nearest[1]:.3f} of "
        f"their deviation apart; next: {others[0][0]}, {others[0][1]:.3f})"
    )


def _costs(rows: dict[str, Row]) -> Sequence[str]:
    cheapest = min(row["vision_ms"] + row["text_ms"] for row in rows.values())
    head = (
        f"{'':10} {'tiles':>5} {'image tokens':>12} {'vision ms':>10} {'text ms':>9} {'ratio':>6}"
    )
    return [head] + [
        f"{name:10} {row['tiles']:5} {row['image_tokens']:12,} {row['vision_ms']:10.1f} "
        f"{row['text_ms']:9.1f} {(row['vision_ms'] + row['text_ms']) / cheapest:6.1f}"
        for name, row in rows.items()
    ]


def _ids(run: Row) -> str:
    return f"[{run['picture']}]" if "picture" in run else " ".join(map(str, run["text"]))
