"""All pictures asked: many at a time with all cores busy; and a few as an app asks, one by one."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from statistics import median
from time import perf_counter

from pocketvlm.contract import Contract
from pocketvlm.parallel import in_order
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import loading
from pocketvlm.runtime.grammar import gbnf
from pocketvlm.runtime.llama import Runtime
from pocketvlm.runtime.together import Asked, Together
from pocketvlm.workspace import Row

Files = tuple[Path, Path]
"""A text model's file and its vision file."""

THREADS = 4
"""Cores that work on one batch, at most: more of them wait for each other."""

TIMED = 12
"""Pictures that are timed one at a time, at most; what the first one loads is not."""

LONGEST = 30.0
"""Seconds after which no more are: a stock file's 17 tiles take most of a minute each."""


def ask_all(
    files: Files,
    contract: Contract,
    bitmaps: Iterable[Bitmap],
    *,
    likelihoods: bool = False,
    grammar: bool = False,
    stock: bool = False,
) -> Generator[Asked, None, None]:
    """What the files say of each bitmap, in order; few are held at a time.

    Bitmaps are uint8 (side, side, 3) of the tower's side; with `stock`, of any one size: mtmd
    resizes and tiles them as in an app without our C++ file. Closed early, it frees everything all
    the same. PocketError as `Runtime` raises it."""
    cores = loading.cores()
    tiny = files[0].is_file() and files[0].stat().st_size < loading.TINY
    several = cores if tiny else -(-cores // THREADS)
    free: SimpleQueue[Together] = SimpleQueue()

    def ask(batch: list[Bitmap]) -> list[Asked]:
        together = free.get()
        try:
            return together.ask(batch, likelihoods=likelihoods, grammar=grammar)
        finally:
            free.put(together)

    with ExitStack() as opened:
        for _ in range(several):
            runtime = Runtime(*files, tiles=contract.tiles, stock=stock, threads=cores // several)
            together = Together(opened.enter_context(runtime), contract)
            free.put(opened.enter_context(together))
        asked = opened.enter_context(closing(in_order(ask, _batches(bitmaps, together.size))))
        for _, batch in asked:
            yield from batch


def latency(
    files: Files, contract: Contract, bitmaps: Sequence[Bitmap], *, stock: bool = False
) -> Row:
    """Medians of milliseconds a picture, one at a time as an app asks, over the first pictures:
    `ms` for the greedy answer, of them `vision`, `prompt` and `answer`; `likelihood` and `grammar`
    for the whole of the other two ways; `tokens` of the `prompt` and of the `answer`."""
    labels = [contract.answer(label) for label in contract.labels]
    prompt, most = contract.prompt, contract.max_new_tokens
    free, scored, bound = [], [], []
    with (
        Runtime(*files, tiles=contract.tiles, stock=stock) as runtime,
        runtime.grammar(gbnf(contract.labels)) as grammar,
    ):
        tokens = len(runtime.ids(prompt, bitmaps[0]))
        runtime.answer(prompt, bitmaps[0], most)
        begun = perf_counter()
        for bitmap in bitmaps[:TIMED]:
            free.append(runtime.answer(prompt, bitmap, most))
            started = perf_counter()
            runtime.likelihoods(prompt, bitmap, labels)
            scored.append(1000 * (perf_counter() - started))
            bound.append(runtime.answer(prompt, bitmap, most, grammar).ms)
            if perf_counter() - begun > LONGEST:
                break
    return {
        "ms": median(one.ms for one in free),
        "vision": median(one.vision_ms for one in free),
        "prompt": median(one.prompt_ms for one in free),
        "answer": median(one.answer_ms for one in free),
        "likelihood": median(scored),
        "grammar": median(bound),
        "tokens": {"prompt": tokens, "answer": median(len(one.ids) for one in free)},
    }


def _batches(bitmaps: Iterable[Bitmap], size: int) -> Iterator[list[Bitmap]]:
    source = iter(bitmaps)
    while batch := list(islice(source, size)):
        yield batch
