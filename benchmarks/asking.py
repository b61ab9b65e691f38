"""Many pictures asked at a time, against feeding them to llama.cpp one at a time.

    python benchmarks/asking.py [FOLDER]

A thousand drawn scenes through the demo's student, and some of them through a 500M with random
weights (Q8_0 text, F16 vision; FOLDER holds SmolVLM's config.json, its tokenizer.json there or one
folder above; without it the dimensions are built in). One at a time means mtmd's own helper, as in
its command line: tokenise, mtmd_helper_eval_chunks, a token after the other. Interleaved rounds,
medians. The floor is the operations of tower, prompt and answer at the rate of torch's float32
matrices here. Exit code 1 when a target is missed.
"""

import ctypes
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import llama_cpp.llama_cpp as llama
import llama_cpp.mtmd_cpp as mtmd
import numpy as np

from device_cost import WAYS, evaluated, matmul_rate, operations
from fullsize_base import build_base
from pocketvlm.config import parse_config
from pocketvlm.contract import Contract
from pocketvlm.demo.demo import BASE
from pocketvlm.demo.scenes import write_scenes
from pocketvlm.export import export_text, export_vision
from pocketvlm.export.architecture import Architecture
from pocketvlm.pictures import Bitmap
from pocketvlm.progress import say, track
from pocketvlm.runtime import Files, Runtime, ask_all, loading
from pocketvlm.runtime.together import Together

ROUNDS = 3
PICTURES = {"demo": 1000, "500M": 48}
PARTS = 4
"""One in so many pictures shows what the parts bring."""

TOKENS = 3
"""Of an answer: a label and its end. Random weights would go on."""

FASTER = 1.5
"""Target: so many times as many pictures a second."""

TIE = 0.05
"""Logits. Two tokens closer than this are equally likely to Q8_0's weights, which round more."""

CLOSE = 1e-4
"""Target for the labels' log-probabilities, which tell pictures apart where answers do not."""

ONCE = next(way for way in WAYS if way.name == "256, encoded once")
CONTRACT = Contract.of(parse_config({"device": {"side": ONCE.side, "max_new_tokens": TOKENS}}))


@dataclass(frozen=True)
class Plain:
    """An answer of the helper: its tokens, their texts, and by how much each was the likeliest."""

    texts: list[str]
    ended: bool
    margins: list[float]

    @property
    def text(self) -> str:
        """Without the end token."""
        return "".join(self.texts[:-1] if self.ended else self.texts)

    def margin(self, other: str) -> float:
        """The margin of the first token that another answer does not share, logits."""
        same = (other.startswith("".join(self.texts[: at + 1])) for at in range(len(self.texts)))
        return next((margin for margin, one in zip(self.margins, same, strict=True) if not one), 0)


class OneByOne:
    """llama.cpp and mtmd as their examples use them."""

    def __init__(self, files: Files, threads: int) -> None:
        self.files, self.threads = files, threads
        self.handles = loading.load(*files, threads, exact=False)
        self.size = llama.llama_vocab_n_tokens(self.handles.vocabulary)

    def ask(self, bitmap: Bitmap) -> Plain:
        """The greedy answer to one picture."""
        llama.llama_memory_clear(llama.llama_get_memory(self.handles.context), True)
        self._read(bitmap)
        texts: list[str] = []
        margins: list[float] = []
        ended = False
        while not ended and len(texts) < TOKENS:
            values = llama.llama_get_logits_ith(self.handles.context, -1)
            logits = np.ctypeslib.as_array(values, (self.size,))
            second, first = np.partition(logits, -2)[-2:]
            token = int(logits.argmax())
            margins.append(float(first - second))
            ended = llama.llama_vocab_is_eog(self.handles.vocabulary, token)
            texts.append(self._piece(token))
            if not ended and len(texts) < TOKENS:
                one = (llama.llama_token * 1)(token)
                llama.llama_decode(self.handles.context, llama.llama_batch_get_one(one, 1))
        return Plain(texts, ended, margins)

    def ask_all(self, bitmaps: Sequence[Bitmap]) -> list[Plain]:
        """One after the other."""
        return [self.ask(bitmap) for bitmap in bitmaps]

    def _read(self, bitmap: Bitmap) -> None:
        data, pixels = CONTRACT.prompt.encode(), np.ascontiguousarray(bitmap)
        text = mtmd.mtmd_input_text(data, len(data), add_special=False, parse_special=True)
        pointer = pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_ubyte))
        picture = mtmd.mtmd_bitmap_init(pixels.shape[1], pixels.shape[0], pointer)
        chunks, past = mtmd.mtmd_input_chunks_init(), llama.llama_pos(0)
        pictures = (mtmd.mtmd_bitmap_p_ctypes * 1)(picture)
        seeing, context = self.handles.vision, self.handles.context
        if mtmd.mtmd_tokenize(seeing, chunks, text, pictures, 1) or mtmd.mtmd_helper_eval_chunks(
            seeing, context, chunks, 0, 0, loading.CONTEXT, True, ctypes.byref(past)
        ):
            raise RuntimeError("mtmd could not read a picture")
        mtmd.mtmd_input_chunks_free(chunks)
        mtmd.mtmd_bitmap_free(picture)

    def _piece(self, token: int) -> str:
        buffer = ctypes.create_string_buffer(256)
        vocabulary = self.handles.vocabulary
        count = llama.llama_token_to_piece(vocabulary, token, buffer, len(buffer), 0, True)
        return buffer.raw[:count].decode("utf-8", errors="replace")


@dataclass(frozen=True)
class Way:
    """One way to ask many pictures, and of how many it is timed."""

    name: str
    ask: Callable[[Sequence[Bitmap]], Sequence[object]]
    share: int = 1


def ways(files: Files, opened: ExitStack, plain: OneByOne) -> list[Way]:
    """The baseline, what each part adds to the one before, and all of them as `validate` asks."""
    runtime = opened.enter_context(Runtime(*files))
    together = opened.enter_context(Together(runtime, CONTRACT))

    def alone(bitmaps: Sequence[Bitmap]) -> list[object]:
        return [runtime.answer(CONTRACT.prompt, bitmap, TOKENS) for bitmap in bitmaps]

    def beside(bitmaps: Sequence[Bitmap]) -> list[object]:
        starts = range(0, len(bitmaps), together.size)
        return [one for at in starts for one in together.ask(bitmaps[at : at + together.size])]

    return [
        Way("one at a time, mtmd's helper", plain.ask_all),
        Way("+ encoded once (Runtime)", alone, PARTS),
        Way("+ in batches (Together)", beside, PARTS),
        Way("+ all cores (ask_all)", lambda pictures: list(ask_all(files, CONTRACT, pictures))),
    ]


def best_threads(files: Files, bitmaps: Sequence[Bitmap]) -> OneByOne:
    """The helper with the threads that serve it best: all physical cores, or for a tiny model
    perhaps one."""
    tiny = files[0].stat().st_size < loading.TINY
    counts = {loading.cores(), 1} if tiny else {loading.cores()}
    tried = [OneByOne(files, count) for count in sorted(counts)]
    seconds = [timed(Way("", one.ask_all), bitmaps) for one in tried]
    best = int(np.argmin(seconds))
    for other in tried[:best] + tried[best + 1 :]:
        other.handles.close()
    return tried[best]


def timed(way: Way, bitmaps: Sequence[Bitmap]) -> float:
    """Seconds a picture."""
    started = time.perf_counter()
    way.ask(bitmaps)
    return (time.perf_counter() - started) / len(bitmaps)


@dataclass(frozen=True)
class Measured:
    """What one student took."""

    seconds: dict[str, float]
    """A picture, each way: medians of the rounds."""
    differ: list[float]
    """Margins of the answers that the helper gives otherwise, logits."""
    answers: int
    tokens: int
    """Of the answers, the first picture's."""
    threads: int
    rate: float
    """Of torch's matrices, 1e9 operations a second: the best beside the rounds."""


def measure(files: Files, bitmaps: Sequence[Bitmap]) -> Measured:
    """All ways in turn, some rounds."""
    spent: dict[str, list[float]] = {}
    rates = []
    plain = best_threads(files, bitmaps[:8])
    with ExitStack() as opened:
        opened.callback(plain.handles.close)
        every = ways(files, opened, plain)
        for way in every:
            way.ask(bitmaps[:1])
        for _ in track(range(ROUNDS), "Rounds", ROUNDS):
            rates.append(matmul_rate())
            for way in every:
                seconds = timed(way, bitmaps[: len(bitmaps) // way.share])
                spent.setdefault(way.name, []).append(seconds)
        said = plain.ask_all(bitmaps)
    asked = [one.text for one in ask_all(files, CONTRACT, bitmaps)]
    differ = [one.margin(text) for one, text in zip(said, asked, strict=True) if one.text != text]
    return Measured(
        {name: median(values) for name, values in spent.items()},
        differ,
        len({one.text for one in said}),
        len(said[0].texts),
        plain.threads,
        max(rates),
    )


def apart(files: Files, bitmaps: Sequence[Bitmap]) -> tuple[float, float]:
    """By how much `ask_all`'s log-probabilities of the labels differ at most from a runtime's that
    keeps nothing and is asked one at a time; and how far a label's vary between the pictures."""
    labels = [CONTRACT.answer(label) for label in CONTRACT.labels]
    with Runtime(*files, stock=True) as runtime:
        alone = np.stack([runtime.likelihoods(CONTRACT.prompt, one, labels) for one in bitmaps])
    asked = ask_all(files, CONTRACT, bitmaps, likelihoods=True)
    beside = np.array([one.likelihoods for one in asked], np.float64)
    return float(np.abs(beside - alone).max()), float(np.ptp(alone, axis=0).max())


def report(name: str, base: Path, files: Files, bitmaps: Sequence[Bitmap]) -> int:
    """Measure one student and print a line a way; how many targets it misses."""
    found = measure(files, bitmaps)
    tiles, prompt = evaluated(ONCE, files)
    text = Architecture.read(base).text
    answer = found.tokens - 1
    work = operations(base, ONCE, tiles, prompt + answer)
    work += 2e-9 * answer * text.vocabulary * text.width
    rate = found.rate
    plain, *_, last = found.seconds.values()
    print(
        f"\n{name}: {len(bitmaps)} pictures, {found.answers} different answers of up to {TOKENS} "
        f"tokens; {loading.cores()} cores, the helper with {found.threads} threads\n"
        f"floor: {work:.2f} GFLOP a picture at {rate:.0f} GFLOP/s: {1000 * work / rate:.1f} ms\n"
        f"{'way':30} {'ms':>8} {'pictures/s':>11} {'floors':>7} {'ratio':>6}"
    )
    for way, seconds in found.seconds.items():
        print(
            f"{way:30} {1000 * seconds:8.1f} {1 / seconds:11.2f} {seconds * rate / work:7.1f} "
            f"{plain / seconds:6.2f}"
        )
    fast, real = plain / last >= FASTER, [margin for margin in found.differ if margin > TIE]
    ties = len(found.differ) - len(real)
    equal = 1 - len(found.differ) / len(bitmaps)
    print(f"ask_all, times as fast: {plain / last:.2f} >= {FASTER}: {verdict(fast)}")
    print(
        f"equal answers: {equal:.1%}, {ties} other ones within {TIE} logits of a tie, "
        f"{len(real)} further apart{f' ({max(real):.3f})' if real else ''}: {verdict(not real)}"
    )
    worst, spread = apart(files, bitmaps[: len(bitmaps) // PARTS])
    close = worst <= CLOSE < spread
    print(
        f"log-probabilities of the labels: {worst:.1e} apart <= {CLOSE} ({spread:.2g} between "
        f"pictures): {verdict(close)}"
    )
    return (not fast) + bool(real) + (not close)


def verdict(met: bool) -> str:
    """Beside a target."""
    return "met" if met else "MISSED"


def draw(folder: Path, count: int) -> list[Bitmap]:
    """Scenes as the app would hand them over."""
    write_scenes(folder / "scenes", folder / "truth.jsonl", count, seed=0)
    return [CONTRACT.open(path) for path in sorted((folder / "scenes").iterdir())]


def main() -> int:
    """Both students; the exit code."""
    source = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bitmaps = draw(folder, max(PICTURES.values()))
        for student, count in PICTURES.items():
            base = BASE if student == "demo" else folder / student
            if base != BASE:
                build_base(source, base)
            files = folder / f"{student}.gguf", folder / f"{student}-vision.gguf"
            export_text(base, files[0], "Q8_0")
            export_vision(base, files[1], "F16", ONCE.side)
            say(f"{student}: asking {count} pictures, {ROUNDS} rounds of each way")
            missed += report(student, base, files, bitmaps[:count])
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
