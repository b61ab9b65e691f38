"""All pictures, in order, with all cores; and what happens when something ends before its time."""

import gc
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import llama_cpp.llama_cpp as llama
import llama_cpp.mtmd_cpp as mtmd
import numpy as np
import pytest

from pocketvlm.contract import Contract
from pocketvlm.errors import PocketError
from pocketvlm.pictures import Bitmap
from pocketvlm.runtime import Asked, Runtime, ask_all, asking, gbnf, latency, loading
from tests.runtime.conftest import SIDE, Pair
from tests.runtime.test_memory import GIVE_BACK

BATCH = 16

COUNTED = ((llama, "llama_model_free"), (llama, "llama_free"), (mtmd, "mtmd_free"))
"""What ends a runtime: its model once, its context and that of its batches, its vision file."""


@pytest.fixture(params=[1, 3], ids=["one core", "three cores"])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A tiny model has a runtime a core."""
    monkeypatch.setattr(loading, "cores", lambda: request.param)
    return int(request.param)


@pytest.fixture
def freed(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often each native object was freed."""
    counts = {name: 0 for _, name in COUNTED}

    def counting(module: Any, name: str) -> None:
        free = getattr(module, name)

        def call(pointer: Any) -> None:
            counts[name] += 1
            free(pointer)

        monkeypatch.setattr(module, name, call)

    for module, name in COUNTED:
        counting(module, name)
    return counts


def all_of(runtimes: int) -> dict[str, int]:
    return {"llama_model_free": runtimes, "llama_free": 2 * runtimes, "mtmd_free": runtimes}


def noise(count: int) -> Iterator[Bitmap]:
    """The same random pictures, drawn one after the other."""
    random = np.random.default_rng(4)
    for _ in range(count):
        yield random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def alone(files: Pair, contract: Contract, count: int) -> list[Asked]:
    labels = [contract.answer(label) for label in contract.labels]
    said = []
    with Runtime(*files, threads=1) as runtime, runtime.grammar(gbnf(contract.labels)) as grammar:
        for bitmap in noise(count):
            free = runtime.answer(contract.prompt, bitmap, contract.max_new_tokens)
            scores = tuple(runtime.likelihoods(contract.prompt, bitmap, labels).tolist())
            bound = runtime.answer(contract.prompt, bitmap, contract.max_new_tokens, grammar).text
            said.append(Asked(free.text, len(free.ids), free.ended, scores, bound))
    return said


@pytest.fixture(scope="module")
def expected(pair: Pair, contract: Contract) -> list[Asked]:
    return alone(pair, contract, 3 * BATCH + 5)


@pytest.mark.parametrize("count", [0, 1, BATCH, 3 * BATCH + 5])
def test_every_picture_in_order(
    pair: Pair,
    contract: Contract,
    cores: int,
    freed: dict[str, int],
    expected: list[Asked],
    count: int,
) -> None:
    said = list(ask_all(pair, contract, noise(count), likelihoods=True, grammar=True))
    assert said == expected[:count]
    assert len({one.likelihoods for one in said}) == count, "the picture must matter"
    assert freed == all_of(cores)


def test_several_threads_a_model_change_no_answer(
    pair: Pair, contract: Contract, monkeypatch: pytest.MonkeyPatch, expected: list[Asked]
) -> None:
    monkeypatch.setattr(loading, "TINY", 0)
    monkeypatch.setattr(loading, "cores", lambda: 2)
    said = list(ask_all(pair, contract, noise(3)))
    assert [one.text for one in said] == [one.text for one in expected[:3]]


@pytest.mark.parametrize(
    ("cores", "runtimes"), [(1, [1]), (2, [2]), (4, [4]), (6, [3, 3]), (7, [3, 3]), (8, [4, 4])]
)
def test_a_large_model_shares_the_cores_out(
    pair: Pair,
    contract: Contract,
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    runtimes: Sequence[int],
) -> None:
    opened: list[int] = []

    class Noted(Runtime):
        def __init__(self, *files: Path, threads: int, **options: Any) -> None:
            opened.append(threads)
            super().__init__(*files, threads=1, **options)

    monkeypatch.setattr(loading, "TINY", 0)
    monkeypatch.setattr(loading, "cores", lambda: cores)
    monkeypatch.setattr(asking, "Runtime", Noted)
    assert list(ask_all(pair, contract, [])) == []
    assert opened == runtimes


def test_few_pictures_are_held(pair: Pair, contract: Contract, cores: int) -> None:
    drawn = 0

    def endless() -> Iterator[Bitmap]:
        nonlocal drawn
        for drawn, bitmap in enumerate(noise(10**6), 1):  # noqa: B007
            yield bitmap

    said = ask_all(pair, contract, endless())
    for _ in range(2 * BATCH):
        next(said)
    said.close()
    assert drawn <= 10 * BATCH * max(2, os.cpu_count() or 1)


def test_closed_early_it_frees_everything(
    pair: Pair, contract: Contract, cores: int, freed: dict[str, int], expected: list[Asked]
) -> None:
    said = ask_all(pair, contract, noise(10 * BATCH), likelihoods=True, grammar=True)
    assert [next(said) for _ in range(3)] == expected[:3]
    assert not any(freed.values())
    said.close()
    assert freed == all_of(cores)


def test_forgotten_it_frees_everything(
    pair: Pair, contract: Contract, cores: int, freed: dict[str, int]
) -> None:
    said = ask_all(pair, contract, noise(10 * BATCH))
    next(said)
    del said
    gc.collect()
    assert freed == all_of(cores)


def test_never_begun_it_opens_nothing(
    pair: Pair, contract: Contract, freed: dict[str, int]
) -> None:
    ask_all(pair, contract, noise(3)).close()
    assert not any(freed.values())


def test_what_the_pictures_raise_comes_after_those_before(
    pair: Pair, contract: Contract, cores: int, freed: dict[str, int], expected: list[Asked]
) -> None:
    def broken() -> Iterator[Bitmap]:
        yield from noise(BATCH + 3)
        raise PocketError("a picture cannot be read")

    said = []
    with pytest.raises(PocketError, match="a picture cannot be read"):
        for one in ask_all(pair, contract, broken(), likelihoods=True, grammar=True):
            said.append(one)
    assert said == expected[:BATCH]
    assert freed == all_of(cores)


def test_a_bitmap_of_another_side_is_refused(
    pair: Pair, contract: Contract, cores: int, freed: dict[str, int], expected: list[Asked]
) -> None:
    bitmaps = [*noise(BATCH + 2), np.zeros((64, 64, 3), np.uint8), *noise(10 * BATCH)]
    said = []
    with pytest.raises(PocketError, match="prepare and convert under the same"):
        for one in ask_all(pair, contract, bitmaps, likelihoods=True, grammar=True):
            said.append(one)
    assert said == expected[:BATCH]
    assert freed == all_of(cores)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("length", [0, 3, 1000, -1000])
def test_a_broken_file_is_named(
    pair: Pair, contract: Contract, tmp_path: Path, cores: int, which: int, length: int
) -> None:
    files = [*pair]
    files[which] = tmp_path / pair[which].name
    files[which].write_bytes(pair[which].read_bytes()[:length])
    with pytest.raises(PocketError, match=files[which].name):
        next(ask_all((files[0], files[1]), contract, noise(3)))


def test_a_missing_file_is_named(pair: Pair, contract: Contract, tmp_path: Path) -> None:
    for files in ((tmp_path / "no.gguf", pair[1]), (pair[0], tmp_path / "no.gguf")):
        with pytest.raises(PocketError, match=r"no\.gguf does not exist"):
            next(ask_all(files, contract, noise(3)))


def test_latency_of_each_way_in_parts(
    pair: Pair, contract: Contract, pictures: list[Bitmap], expected: list[Asked]
) -> None:
    row = latency(pair, contract, pictures[:1])
    assert list(row) == ["ms", "vision", "prompt", "answer", "likelihood", "grammar", "tokens"]
    assert row["ms"] == pytest.approx(row["vision"] + row["prompt"] + row["answer"])
    assert all(0 < row[name] < 60_000 for name in list(row)[:-1])
    assert row["vision"] + row["prompt"] < row["likelihood"] + row["ms"]
    with Runtime(*pair, threads=1) as runtime:
        ids = runtime.ids(contract.prompt, pictures[0])
        said = runtime.answer(contract.prompt, pictures[0], contract.max_new_tokens)
    assert row["tokens"] == {"prompt": len(ids), "answer": len(said.ids)}


def test_latency_is_the_median_of_the_first_pictures(
    pair: Pair, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[float] = []
    answer = Runtime.answer

    def noted(self: Runtime, *arguments: Any) -> Any:
        said = answer(self, *arguments)
        if len(arguments) == 3:
            spent.append(said.ms)
        return said

    monkeypatch.setattr(Runtime, "answer", noted)
    row = latency(pair, contract, list(noise(asking.TIMED + 9)))
    assert len(spent) == 1 + asking.TIMED, "the first one warms up"
    assert row["ms"] == median(spent[1:])


def test_latency_of_a_slow_model_is_of_one_picture(
    pair: Pair, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LONGEST", 0.0)
    row = latency(pair, contract, list(noise(5)), stock=True)
    assert row["ms"] == pytest.approx(row["vision"] + row["prompt"] + row["answer"])
    assert math.isfinite(row["likelihood"] + row["grammar"])


# One core: two threads that allocate at the same time leave gaps, some MiB that come and go.
MEASURE = """
import os, resource, subprocess, sys
from itertools import repeat
from pathlib import Path
import numpy as np
from pocketvlm.config import parse_config
from pocketvlm.contract import Contract
from pocketvlm.runtime import ask_all, loading

loading.cores = lambda: 1
files = Path(sys.argv[1]), Path(sys.argv[2])
contract = Contract.of(parse_config({"device": {"side": 128, "max_new_tokens": 3}}))
statm = Path("/proc/self/statm")
black = np.zeros((128, 128, 3), np.uint8)

def resident():
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    kib = subprocess.check_output(["ps", "-o", "rss=", "-p", str(os.getpid())])
    return int(kib) / 2**10

def broken():
    yield from [black] * 20
    raise OSError

def all_ways():
    list(ask_all(files, contract, [black] * 20, likelihoods=True, grammar=True))
    early = ask_all(files, contract, [black] * 200)
    next(early)
    early.close()
    try:
        list(ask_all(files, contract, broken()))
    except OSError:
        pass

for _ in range(3):
    all_ways()
start = resident()
for _ in range(8):
    all_ways()
print(resident() - start)
said = ask_all(files, contract, repeat(black), likelihoods=True, grammar=True)
for _ in range(320):
    next(said)
start = resident()
for _ in range(960):
    next(said)
print(resident() - start)
said.close()
"""


@pytest.mark.slow
def test_memory_is_flat_over_pictures_and_ends(pair: Pair) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, pair)],
        env=os.environ | GIVE_BACK,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    openings, pictures = map(float, done.stdout.split())
    assert openings < 2, "MiB over 24 times"
    assert pictures < 2, "MiB over 960 pictures"
