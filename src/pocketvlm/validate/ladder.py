"""The same pictures asked on every step from the base in torch to the files in llama.cpp.

One model is in memory at a time; pictures are read in batches."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pocketvlm.layout import Layout
from pocketvlm.pictures import Bitmap
from pocketvlm.progress import bar
from pocketvlm.project import Project
from pocketvlm.validate.examples import Example

if TYPE_CHECKING:
    from pocketvlm.student import Student

BATCH = 16
MIB = 2**20

BASE, LIKELIHOOD = "torch base, greedy", "torch base, likelihood"
ADAPTER, MERGED = "torch adapter", "torch merged"


@dataclass(frozen=True)
class Step:
    """What one model said about every picture."""

    name: str
    texts: list[str]
    ms: float
    """Milliseconds a picture: the median in llama.cpp, the mean over batches in torch."""
    mib: float
    """Its files on disk."""
    ended: list[bool] = field(default_factory=list)
    """llama.cpp only: whether each answer stopped by itself."""


def climb(project: Project, examples: Sequence[Example]) -> list[Step]:
    """All steps in order: base greedy, base by likelihood, adapter, merged, each GGUF type."""
    steps = _base(project, examples)
    gc.collect()  # the model before: peft's wrapper holds itself in a cycle
    steps.append(_adapter(project, examples))
    gc.collect()
    merged, trained = _merged(project, examples)
    steps.append(merged)
    for kind in project.config.export.types:
        gc.collect()
        steps.append(_converted(project, examples, kind, trained))
    return steps


def gguf_step(kind: str) -> str:
    """Name of the step of one GGUF type."""
    return f"llama.cpp {kind}"


def _base(project: Project, examples: Sequence[Example]) -> list[Step]:
    from pocketvlm.base import find_base
    from pocketvlm.student import load_base

    mib = _mib(find_base(project).folder, "*.safetensors")
    student = load_base(project)
    labels = project.contract.labels

    def likeliest(bitmaps: list[Bitmap]) -> list[str]:
        return [labels[at] for at in student.likelihoods(bitmaps).argmax(1)]

    greedy = _ask_torch(BASE, student, student.answers, examples, mib)
    likely = _ask_torch(LIKELIHOOD, student, likeliest, examples, mib)
    return [greedy, likely]


def _adapter(project: Project, examples: Sequence[Example]) -> Step:
    from pocketvlm.student import load_adapter

    student = load_adapter(project)
    mib = _mib(project.workspace.adapter, "*.safetensors")
    return _ask_torch(ADAPTER, student, student.answers, examples, mib)


def _merged(project: Project, examples: Sequence[Example]) -> tuple[Step, Layout]:
    """The merged model's step, and the layout that it was trained on."""
    from pocketvlm.student import load_merged

    student = load_merged(project)
    mib = _mib(project.workspace.merged, "*.safetensors")
    return _ask_torch(MERGED, student, student.answers, examples, mib), student.layout


def _ask_torch(
    name: str,
    student: "Student",
    ask: Callable[[list[Bitmap]], list[str]],
    examples: Sequence[Example],
    mib: float,
) -> Step:
    texts: list[str] = []
    seconds = 0.0
    with bar(_describe(name), len(examples)) as advance:
        for bitmaps in _batches(examples, student.contract.side):
            started = time.perf_counter()
            texts += ask(bitmaps)
            seconds += time.perf_counter() - started
            for _ in bitmaps:
                advance("")
    return Step(name, texts, seconds * 1000 / len(examples), mib)


def _converted(project: Project, examples: Sequence[Example], kind: str, trained: Layout) -> Step:
    from pocketvlm.runtime import Runtime, check_layout

    contract, space = project.contract, project.workspace
    text, vision = space.text_gguf(kind), space.vision_gguf(kind)
    answers = []
    with (
        Runtime(text, vision, tiles=contract.tiles) as runtime,
        bar(_describe(gguf_step(kind)), len(examples)) as step,
    ):
        runtime.check_contract(contract)
        check_layout(runtime, contract, trained)
        for bitmaps in _batches(examples, contract.side):
            for bitmap in bitmaps:
                answers.append(runtime.answer(contract.prompt, bitmap, contract.max_new_tokens))
                step("")
    return Step(
        name=gguf_step(kind),
        texts=[answer.text for answer in answers],
        ms=median(answer.ms for answer in answers),
        mib=(text.stat().st_size + vision.stat().st_size) / MIB,
        ended=[answer.ended for answer in answers],
    )


def _batches(examples: Sequence[Example], side: int) -> Iterator[list[Bitmap]]:
    from pocketvlm.student.data import read_bitmap

    for start in range(0, len(examples), BATCH):
        part = examples[start : start + BATCH]
        yield [read_bitmap(example.path, side) for example in part]


def _describe(name: str) -> str:
    return f"Asking {name}"


def _mib(folder: Path, pattern: str) -> float:
    return sum(path.stat().st_size for path in folder.glob(pattern)) / MIB
