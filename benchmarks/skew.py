"""Broken on purpose: what finds each mistake, and what it costs in accuracy on the demo.

    python benchmarks/skew.py [FOLDER]

FOLDER is a finished demo's workspace (`pocketvlm demo --folder FOLDER`); without it one is made,
about five minutes on 2 cores. First the audit on 1,000 pictures, then an app that makes one mistake
at a time: the golden pictures (or, for files older than the adapter, the audit) must name the right
level. Prints a Markdown table; exit code 1 when a level is not named or a target is missed.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pocketvlm.bundle.golden import App, read_golden, replay
from pocketvlm.contract import Contract
from pocketvlm.demo.demo import PICTURES, run_demo
from pocketvlm.errors import GateMissed
from pocketvlm.layout import Layout
from pocketvlm.pictures import Bitmap
from pocketvlm.progress import say, track
from pocketvlm.project import ORIGINALS, Project
from pocketvlm.runtime import Runtime
from pocketvlm.runtime.predict import open_bundle
from pocketvlm.runtime.resize import set_preprocessed_side
from pocketvlm.validate.audit import audit, table
from pocketvlm.workspace import Row, read_json, read_rows

AUDITED = 1000
SHIPPED_AGREEMENT = 0.995


@dataclass(frozen=True)
class Mistake:
    """One thing that an app, a file or a run gets wrong, and the level that must be named."""

    name: str
    level: str
    app: App


def mistakes(contract: Contract, app: App, folder: Path) -> list[Mistake]:
    """Everything but the stale adapter, which needs a training."""
    stock = folder / "mmproj-stock.gguf"
    shutil.copyfile(app.files[1], stock)
    set_preprocessed_side(stock, 2048)
    prompt = contract.prompt

    def after(change: Callable[[Bitmap], Bitmap]) -> App:
        return replace(app, prepare=lambda path: np.ascontiguousarray(change(contract.open(path))))

    return [
        Mistake("nothing", "", app),
        Mistake(
            "Lanczos instead of bilinear",
            "bitmap",
            replace(app, prepare=replace(contract, resize="lanczos").open),
        ),
        Mistake("red and blue swapped", "bitmap", after(lambda bitmap: bitmap[:, :, ::-1])),
        Mistake("one pixel of offset", "bitmap", after(lambda bitmap: np.roll(bitmap, 1, axis=1))),
        Mistake("transformers' layout (one tile)", "token ids", replace(app, tiles="single")),
        Mistake(
            "chat template",
            "token ids",
            replace(app, prompt=f"<|im_start|>User:{prompt}<end_of_utterance>\nAssistant:"),
        ),
        Mistake("preproc_image_size 2048", "token ids", replace(app, files=(app.files[0], stock))),
        Mistake("trailing space", "token ids", replace(app, prompt=prompt + " ")),
        Mistake("CRLF", "token ids", replace(app, prompt=prompt.replace("\n", "\r\n"))),
    ]


def accuracy(contract: Contract, app: App, pictures: Sequence[tuple[Path, str]]) -> float:
    """Share of right answers of an app."""
    right = 0
    with Runtime(*app.files, tiles=app.tiles) as runtime:
        for path, truth in track(pictures, "Asking", len(pictures)):
            answer = runtime.answer(app.prompt, app.prepare(path), contract.max_new_tokens)
            right += contract.label_of(answer.text) == truth
    return right / len(pictures)


def tested(project: Project) -> list[tuple[Path, str]]:
    """Original and truth of every test picture."""
    originals = read_json(project.workspace.dataset / ORIGINALS)
    rows = read_rows(project.workspace.report / "predictions.jsonl")
    root = project.workspace.root
    return [(root / originals[row["image"]], row["truth"]) for row in rows]


def stale(project: Project, folder: Path) -> tuple[str, tuple[Path, Path]]:
    """Files of an adapter of one epoch beside the adapter of the whole training: the level that the
    audit names, and the files."""
    from pocketvlm.export import convert
    from pocketvlm.student import merge, train

    config = project.config
    short = config.model_copy(update={"train": config.train.model_copy(update={"epochs": 1})})
    for name in ("dataset", "adapter"):
        shutil.copytree(project.workspace.root / name, folder / name)
    copy = Project.of(short, folder)
    train(copy)
    merge(copy)
    convert(copy)
    shutil.rmtree(folder / "adapter")
    shutil.copytree(project.workspace.adapter, folder / "adapter")
    broken = audit(copy, 20)["first_break"]
    kinds = config.export.types[0], config.export.mmproj[0]
    files = copy.workspace.text_gguf(kinds[0]), copy.workspace.vision_gguf(kinds[1])
    return broken["level"] if broken else "", files


def audited(project: Project) -> bool:
    """Print the audit on 1,000 pictures; whether it meets its targets."""
    figures = audit(project, AUDITED)
    print(table(figures))
    answers = {r["type"]: r["agreement"] for r in figures["levels"] if r["level"] == "answers"}
    shipped = min(share for kind, share in answers.items() if kind != "F32")
    met = figures["first_break"] is None and answers["F32"] == 1 and shipped >= SHIPPED_AGREEMENT
    print(
        f"answers equal: F32 {answers['F32']:.2%} (target 100%), as shipped {shipped:.2%} (target "
        f"{SHIPPED_AGREEMENT:.1%}): {'met' if met else 'MISSED'}\n"
    )
    return met


def line(name: str, level: str, found: str, share: float) -> bool:
    """Print one row of the table; whether the right level was named."""
    print(f"| {name} | {found or 'nothing'} | {share:.3f} |", flush=True)
    return found == level


def main(root: Path) -> int:
    """The exit code."""
    project = Project.load(root / "pocketvlm.yaml")
    bundle = project.workspace.bundle
    contract, files = open_bundle(bundle)
    layout = Layout.read(read_json(bundle / "contract.json"))
    app = App(contract.open, contract.prompt, files, contract.tiles)
    golden = read_golden(bundle, contract)
    met = audited(project)
    pictures = tested(project)
    say(f"{len(pictures)} test pictures, Q8_0 in llama.cpp")
    print("| mistake | first level named | accuracy |\n|---|---|---:|")
    with tempfile.TemporaryDirectory() as name:
        for mistake in mistakes(contract, app, Path(name)):
            found: list[Row] = replay(bundle, golden, mistake.app, contract, layout)
            share = accuracy(contract, mistake.app, pictures)
            met &= line(mistake.name, mistake.level, found[0]["level"] if found else "", share)
        level, old = stale(project, Path(name))
        # The demo adapts the connector, so a stale adapter shows in the image embeddings already.
        share = accuracy(contract, replace(app, files=old), pictures)
        met &= line("files older than the adapter", "image embeddings", level, share)
    return 0 if met else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1]).resolve()))
    with tempfile.TemporaryDirectory() as made:
        try:
            run_demo(Path(made) / "demo", 0, PICTURES)
        except GateMissed as missed:
            say(str(missed))
        sys.exit(main(Path(made) / "demo"))
