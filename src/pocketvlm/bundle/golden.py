"""Golden pictures: what the device must make of a few pictures, level by level.

They are asked when the bundle is made, replayed by `bundle --check`, and again on the device by the
test that goes with them.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocketvlm.contract import Contract
from pocketvlm.errors import PocketError
from pocketvlm.layout import Layout
from pocketvlm.pictures import Bitmap, open_picture
from pocketvlm.project import ORIGINALS, Project
from pocketvlm.runtime import Runtime
from pocketvlm.workspace import Row, read_record, read_rows, write_json

GOLDEN = "golden"
INDEX = "golden.json"

LONGEST = 640
"""Photographs are kept no larger, pixels: the folder travels with the app's tests."""

KEYS = {"name", "file", "bitmap", "first_tokens", "answer"}
"""What a row of golden.json must hold to be replayed."""

TIE = 0.25
"""First tokens that lie nearer, logits, may change places between processors: Q8_0 alone moves
logits by 0.08. GoldenPicturesTest.kt has the same."""

RANKED = 5
"""First tokens whose order is kept."""


@dataclass(frozen=True)
class App:
    """What an app does with a picture file: the contract's way, unless a test spoils it."""

    prepare: Callable[[Path], Bitmap]
    prompt: str
    files: tuple[Path, Path]
    tiles: str = "runtime"


def write_golden(project: Project, runtime: Runtime, folder: Path) -> int:
    """Write golden/ of a bundle: pictures, expected bitmaps and golden.json; the number of
    pictures."""
    contract, golden = project.contract, folder / GOLDEN
    golden.mkdir()
    rows = []
    for name, label, picture in pictures(project):
        picture.save(golden / f"{name}.png")
        bitmap = contract.open(golden / f"{name}.png")
        Image.fromarray(bitmap).save(golden / f"{name}.bitmap.png")
        row: Row = {"name": name, "file": f"{name}.png", "bitmap": f"{name}.bitmap.png"}
        row |= {"bitmap_sha256": hashlib.sha256(bitmap.tobytes()).hexdigest()}
        row |= {"width": picture.width, "height": picture.height, "label": label}
        rows.append(row | asked(contract, runtime, contract.prompt, bitmap))
    write_json(golden / INDEX, {"contract": contract.hash, "pictures": rows})
    return len(rows)


def asked(contract: Contract, runtime: Runtime, prompt: str, bitmap: Bitmap) -> Row:
    """What the runtime makes of a bitmap: number of tokens, best first tokens, answer."""
    logits = runtime.logits(prompt, bitmap)
    best = np.argsort(-logits, kind="stable")[:RANKED]
    answer = runtime.answer(prompt, bitmap, contract.max_new_tokens)
    return {
        "tokens": len(runtime.ids(prompt, bitmap)),
        "first_tokens": [
            {"id": int(at), "text": runtime.text([int(at)]), "logit": round(float(logits[at]), 4)}
            for at in best
        ],
        "answer": answer.text,
        "answer_ids": answer.ids,
    }


def pictures(project: Project) -> Iterator[tuple[str, str | None, Image.Image]]:
    """Name, true label if any, and picture: one of each label (one that the student answers right,
    where there is one), and drawn ones for what photographs do not show."""
    names = project.workspace.dataset / ORIGINALS
    originals: dict[str, str] = read_record(names) if names.is_file() else {}
    chosen: dict[str, Row] = {}
    for row in read_rows(project.workspace.report / "predictions.jsonl"):
        if row["truth"] not in chosen or (row["right"] and not chosen[row["truth"]]["right"]):
            chosen[row["truth"]] = row
    for at, (label, row) in enumerate(sorted(chosen.items()), 1):
        picture = Image.fromarray(_photograph(project, row["image"], originals))
        picture.thumbnail((LONGEST, LONGEST))
        yield f"label-{at}", label, picture
    yield from ((name, None, picture) for name, picture in drawn().items())


def _photograph(project: Project, image: str, originals: dict[str, str]) -> Bitmap:
    """The original where it is still there, else its bitmap."""
    if image in originals:
        try:
            return open_picture(project.workspace.root / originals[image], project.contract.exif)
        except PocketError:
            pass  # moved since: the bitmap is a picture too
    return open_picture(project.workspace.dataset / image)


def drawn() -> dict[str, Image.Image]:
    """Pictures that find a mistake each: swapped channels, a missing alpha, an offset, a filter."""
    noise = np.random.default_rng(0)
    thirds = np.zeros((200, 300, 3), np.uint8)
    for channel in range(3):  # one pure red, one green, one blue
        thirds[:, 100 * channel : 100 * (channel + 1), channel] = 255
    across = np.linspace(0, 255, 500).astype(np.uint8)
    portrait = np.stack([np.tile(across[:, None], (1, 37)), noise_of(noise, 500, 37)], axis=2)
    colours = np.concatenate([portrait, portrait[:, ::-1, :1]], axis=2)
    seen = np.concatenate([noise_of(noise, 60, 90, 3), noise_of(noise, 60, 90, 1)], axis=2)
    return {
        "grey": Image.fromarray(np.tile(across[:331], (211, 1))),
        "thirds": Image.fromarray(thirds),
        "portrait": Image.fromarray(np.ascontiguousarray(colours)),
        "small": Image.fromarray(noise_of(noise, 20, 31, 3)),
        "line": Image.fromarray(noise_of(noise, 1, 300, 3)),
        "transparent": Image.fromarray(seen, "RGBA"),
    }


def noise_of(random: np.random.Generator, *shape: int) -> Bitmap:
    """Random bytes."""
    return random.integers(0, 256, shape, dtype=np.uint8)


def read_golden(bundle: Path, contract: Contract) -> list[Row]:
    """The rows of golden.json; PocketError when it is damaged or of another contract."""
    path = bundle / GOLDEN / INDEX
    record = read_record(path)
    rows = record.get("pictures")
    whole = isinstance(rows, list) and all(
        isinstance(row, dict) and row.keys() >= KEYS for row in rows
    )
    if record.get("contract") != contract.hash or not whole:
        raise PocketError(f"{path} is damaged, or of another contract: make the bundle again")
    return list(rows or ())


def replay(
    bundle: Path, golden: Sequence[Row], app: App, contract: Contract, layout: Layout
) -> list[Row]:
    """Ask an app about the golden pictures: `picture`, `level` (bitmap, token ids, first token,
    answer), `note` of each that parts, at the first level where it does."""
    with Runtime(*app.files, tiles=app.tiles) as runtime:
        found = [
            {"picture": row["name"], **problem}
            for row in golden
            if (problem := parts(bundle, row, app, runtime, contract, layout))
        ]
    return sorted(found, key=lambda row: LEVELS.index(row["level"]))


LEVELS = ("bitmap", "token ids", "first token", "answer")


def parts(
    bundle: Path, row: Row, app: App, runtime: Runtime, contract: Contract, layout: Layout
) -> Row | None:
    """Where one golden picture parts from what was expected; None where it does not."""
    made = app.prepare(bundle / GOLDEN / row["file"])
    expected = open_picture(bundle / GOLDEN / row["bitmap"])
    if made.shape != expected.shape or (made != expected).any():
        return {"level": "bitmap", "note": pixels_note(made, expected)}
    ids = runtime.ids(app.prompt, made)
    if tuple(ids) != layout.ids:
        note = f"{len(ids)} tokens, {len(layout.ids)} expected"
        if other := next(((a, b) for a, b in zip(ids, layout.ids, strict=False) if a != b), None):
            words = [runtime.text([token]) for token in other]
            note += f", the first other one {words[0]!r} instead of {words[1]!r}"
        return {"level": "token ids", "note": note}
    if exchanged := misordered(row["first_tokens"], runtime.logits(app.prompt, made)):
        note = "{!r} lies before {!r}, expected behind it".format(*exchanged)
        return {"level": "first token", "note": note}
    said = runtime.answer(app.prompt, made, contract.max_new_tokens).text
    if said != row["answer"]:
        return {"level": "answer", "note": f"{said!r} instead of {row['answer']!r}"}
    return None


def misordered(expected: Sequence[Row], logits: NDArray[np.float32]) -> tuple[str, str] | None:
    """Two of the best first tokens (texts) that have changed places, though they lay clearly apart.
    Any other token that overtakes the best one shows in the answer."""
    for at, better in enumerate(expected):
        for worse in expected[at + 1 :]:
            clear = better["logit"] - worse["logit"] > TIE
            if clear and logits[worse["id"]] >= logits[better["id"]]:
                return worse["text"], better["text"]
    return None


def pixels_note(made: Bitmap, expected: Bitmap) -> str:
    """How far a bitmap is from the expected one, and what explains it."""
    if made.shape != expected.shape:
        return f"{made.shape[1]}x{made.shape[0]}, expected {expected.shape[1]}x{expected.shape[0]}"
    apart = np.abs(made.astype(int) - expected)
    swapped = (made[:, :, ::-1] == expected).all()
    return f"worst {apart.max()} of 255, mean {apart.mean():.2f}" + (
        ": red and blue are swapped" if swapped else ""
    )
