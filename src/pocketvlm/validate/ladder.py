"""The same pictures asked on every step from the base in torch to the files in llama.cpp.

One model is in memory at a time; pictures are read a few at a time."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pocketvlm.layout import Layout
from pocketvlm.pictures import Bitmap
from pocketvlm.progress import bar
from pocketvlm.project import Project
from pocketvlm.validate.examples import Example
from pocketvlm.validate.reference import made_for_now
from pocketvlm.workspace import Row

if TYPE_CHECKING:
    from pocketvlm.runtime import Asked, Files
    from pocketvlm.student import Student

BATCH = 16
TIMED = 12
MIB = 2**20

BASE, LIKELIHOOD = "torch base, greedy", "torch base, likelihood"
ADAPTER, MERGED = "torch adapter", "torch merged"

PLAIN = "F16"
"""The type that every other one is compared with: its step stands before theirs."""


FINE = ("F32", "F16", "Q8_0")


@dataclass(frozen=True)
class Step:
    """What one model said about every picture."""

    name: str
    before: str | None
    """The step that this one is compared with, the one before it on the way."""
    texts: list[str]
    ms: float
    """Milliseconds a picture: in llama.cpp as an app asks, in torch the mean over batches."""
    mib: float
    """Its files on disk."""
    pair: "Pair | None" = None
    """llama.cpp only, as are the next two."""
    said: list["Asked"] = field(default_factory=list)
    latency: Row = field(default_factory=dict)
    exported: bool = False
    """Whether its files could ship."""


@dataclass(frozen=True)
class Pair:
    """Two files that are asked together."""

    type: str
    mmproj: str
    files: "Files"
    usual: bool
    """Whether the vision file is the one that the text model's types are judged with."""

    @property
    def kinds(self) -> str:
        """Its types, the vision file's where it is another than the usual one."""
        return self.type + ("" if self.usual else f" + mmproj {self.mmproj}")

    @property
    def name(self) -> str:
        """Of its step."""
        return gguf_step(self.kinds)

    @property
    def fine(self) -> bool:
        """Whether its files are so near to the merged model that answers should be equal."""
        return self.type in FINE and self.usual

    @property
    def mib(self) -> float:
        """Both files together."""
        return sum(file.stat().st_size for file in self.files) / MIB


def climb(project: Project, examples: Sequence[Example]) -> list[Step]:
    """All steps in order: base greedy, base by likelihood, adapter, merged, F16, each other text
    type, each other vision type."""
    steps = _base(project, examples)
    gc.collect()  # the model before: peft's wrapper holds itself in a cycle
    steps.append(_adapter(project, examples))
    gc.collect()
    merged, trained = _merged(project, examples)
    steps.append(merged)
    gc.collect()
    export = project.config.export
    with ExitStack() as stack:
        pairs = exported(project)
        if PLAIN not in export.types:
            files = stack.enter_context(made_for_now(project, PLAIN))[0], pairs[0].files[1]
            pairs.insert(0, Pair(PLAIN, export.mmproj[0], files, True))
        for pair in sorted(pairs, key=lambda pair: pair.type != PLAIN or not pair.usual):
            steps.append(_converted(project, examples, pair, trained))
    return steps


def exported(project: Project) -> list[Pair]:
    """The pairs of files that could ship: every text type with the first vision type, and the
    first text type with every other vision type."""
    export, space = project.config.export, project.workspace
    first, usual = export.types[0], export.mmproj[0]
    kinds = [(type, usual) for type in export.types]
    kinds += [(first, kind) for kind in export.mmproj[1:]]
    return [
        Pair(type, kind, (space.text_gguf(type), space.vision_gguf(kind)), kind == usual)
        for type, kind in kinds
    ]


def gguf_step(kind: str) -> str:
    """Name of the step of one text type."""
    return f"llama.cpp {kind}"


def _base(project: Project, examples: Sequence[Example]) -> list[Step]:
    from pocketvlm.base import find_base
    from pocketvlm.student import load_base

    mib = _mib(find_base(project).folder, "*.safetensors")
    student = load_base(project)
    labels = project.contract.labels

    def likeliest(bitmaps: list[Bitmap]) -> list[str]:
        return [labels[at] for at in student.likelihoods(bitmaps).argmax(1)]

    greedy = _ask_torch(BASE, None, student, student.answers, examples, mib)
    likely = _ask_torch(LIKELIHOOD, None, student, likeliest, examples, mib)
    return [greedy, likely]


def _adapter(project: Project, examples: Sequence[Example]) -> Step:
    from pocketvlm.student import load_adapter

    student = load_adapter(project)
    mib = _mib(project.workspace.adapter, "*.safetensors")
    return _ask_torch(ADAPTER, LIKELIHOOD, student, student.answers, examples, mib)


def _merged(project: Project, examples: Sequence[Example]) -> tuple[Step, Layout]:
    """The merged model's step, and the layout that it was trained on."""
    from pocketvlm.student import load_merged

    student = load_merged(project)
    mib = _mib(project.workspace.merged, "*.safetensors")
    return _ask_torch(MERGED, ADAPTER, student, student.answers, examples, mib), student.layout


def _ask_torch(
    name: str,
    before: str | None,
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
    return Step(name, before, texts, seconds * 1000 / len(examples), mib)


def _converted(project: Project, examples: Sequence[Example], pair: Pair, trained: Layout) -> Step:
    """Three ways where the text type is the one that ships, greedy alone elsewhere."""
    from pocketvlm.runtime import Runtime, check_layout, latency

    contract = project.contract
    with Runtime(*pair.files, tiles=contract.tiles) as runtime:
        runtime.check_contract(contract)
        check_layout(runtime, contract, trained)
    before = MERGED if pair.type == PLAIN else gguf_step(PLAIN)
    every = pair.type == project.config.export.types[0]
    said = ask_pair(project, pair, examples, likelihoods=every, grammar=every)
    first = [bitmap for part in _batches(examples[:TIMED], contract.side) for bitmap in part]
    timed = latency(pair.files, contract, first)
    return Step(
        name=pair.name,
        before=before if pair.usual else gguf_step(pair.type),
        texts=[one.text for one in said],
        ms=timed["ms"],
        mib=pair.mib,
        pair=pair,
        said=said,
        latency=timed,
        exported=pair.files[0].parent == project.workspace.gguf,
    )


def ask_pair(
    project: Project,
    pair: Pair,
    examples: Sequence[Example],
    *,
    likelihoods: bool = False,
    grammar: bool = False,
    what: str = "",
) -> list["Asked"]:
    """What a pair of files says of all pictures; `what` names them beside the progress."""
    from pocketvlm.runtime import ask_all

    bitmaps = (one for part in _batches(examples, project.contract.side) for one in part)
    said = []
    with bar(f"{_describe(pair.name)} {what}".rstrip(), len(examples)) as advance:
        for one in ask_all(
            pair.files, project.contract, bitmaps, likelihoods=likelihoods, grammar=grammar
        ):
            said.append(one)
            advance("")
    return said


def _batches(examples: Sequence[Example], side: int) -> Iterator[list[Bitmap]]:
    from pocketvlm.student.data import read_bitmap

    for start in range(0, len(examples), BATCH):
        part = examples[start : start + BATCH]
        yield [read_bitmap(example.path, side) for example in part]


def _describe(name: str) -> str:
    return f"Asking {name}"


def _mib(folder: Path, pattern: str) -> float:
    return sum(path.stat().st_size for path in folder.glob(pattern)) / MIB
