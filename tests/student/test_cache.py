"""Rows on the disk: those that are listed are whole, whatever was cut off or came twice."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pocketvlm.errors import PocketError
from pocketvlm.student import cache
from pocketvlm.student.cache import KEY, Keys, Rows, Shard, check_room
from tests.student.children import small_disk

ROW = 12
"""Bytes a row; no divisor of the keys' 16."""

KEYS = st.binary(min_size=0, max_size=3).map(lambda start: start.ljust(KEY, b"\0")) | st.binary(
    min_size=KEY, max_size=KEY
)
"""Few distinct ones, with zeros at the end and everywhere, and any."""


def row_of(key: bytes, size: int = ROW) -> NDArray[np.uint8]:
    """What is kept under a key: made of the key, so that a wrong row shows."""
    return np.tile(np.frombuffer(key[::-1], np.uint8), -(-size // KEY))[:size]


def rows_of(keys: list[bytes], size: int = ROW) -> NDArray[np.uint8]:
    return np.array([row_of(key, size) for key in keys], np.uint8).reshape(-1, size)


def wanted(keys: list[bytes]) -> Keys:
    return np.array(keys, f"S{KEY}")


def append(folder: Path, keys: list[bytes], name: str = "000", size: int = ROW) -> None:
    """Add rows as a process that ends well."""
    with Shard(folder, name, size) as shard:
        shard.append(keys, rows_of(keys, size))


def check(folder: Path, keys: list[bytes], there: set[bytes]) -> None:
    """Those that are there are found and right, the others are missing."""
    rows = Rows(folder, ROW, wanted(keys))
    assert rows.missing().tolist() == [at for at, key in enumerate(keys) if key not in there]
    found = [at for at, key in enumerate(keys) if key in there]
    assert np.array_equal(rows.read(found), rows_of([keys[at] for at in found]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def test_nothing_is_there_at_first(folder: Path) -> None:
    assert Rows(folder, ROW, wanted([])).missing().tolist() == []
    assert Rows(folder, ROW, wanted([b"a" * KEY])).missing().tolist() == [0]
    append(folder, [])
    check(folder, [b"a" * KEY], set())
    assert Rows(folder, ROW, wanted([b"a" * KEY])).read([]).shape == (0, ROW)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(KEYS, max_size=6), max_size=5), st.lists(KEYS, max_size=6))
def test_rows_of_several_shards_are_found_under_their_keys(
    shards: list[list[bytes]], others: list[bytes]
) -> None:
    """Keys that come twice, in one shard or in two, and in what is asked, do no harm."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for number, keys in enumerate(shards):
            append(folder, keys, f"{number:03}")
        there = {key for keys in shards for key in keys}
        check(folder, [*others, *there, *others], there)


Cut = tuple[float, float]
"""How much of the files of rows and of keys a kill leaves."""

CUTS = st.tuples(st.floats(0, 1), st.floats(0, 1))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.lists(KEYS, max_size=6), CUTS), min_size=1, max_size=5))
def test_cut_anywhere_whole_listed_rows_count_and_the_next_are_appended_right(
    runs: list[tuple[list[bytes], Cut]],
) -> None:
    """Rows and keys may each end at any byte, as after a loss of power."""
    with TemporaryDirectory() as name:
        folder, listed = Path(name), list[bytes]()
        for keys, cut in runs:
            append(folder, keys)
            listed += keys
            check(folder, keys, set(listed))
            counts = []
            for share, ending, size in zip(cut, ("rows", "keys"), (ROW, KEY), strict=True):
                file = folder / f"000.{ending}"
                left = int(file.stat().st_size * share)
                os.truncate(file, left)
                counts.append(left // size)
            listed = listed[: min(counts)]
            check(folder, [*keys, *listed], set(listed))


@pytest.mark.parametrize("ending", ["rows", "keys"])
def test_a_lost_file_loses_its_rows_and_no_others(folder: Path, ending: str) -> None:
    first, second = [b"a" * KEY, b"b" * KEY], [b"c" * KEY]
    append(folder, first, "000")
    append(folder, second, "001")
    (folder / f"000.{ending}").unlink()
    check(folder, [*first, *second], set(second))
    append(folder, first, "000")
    check(folder, [*first, *second], {*first, *second})


def test_rows_are_listed_only_after_they_reached_the_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill in between leaves rows without keys, never keys without rows."""
    keys, synced = [b"a" * KEY, b"b" * KEY], list[tuple[int, int]]()
    sync = os.fsync

    def noted(file: int) -> None:
        sync(file)
        sizes = [(folder / f"000.{ending}").stat().st_size for ending in ("rows", "keys")]
        synced.append((sizes[0] // ROW, sizes[1] // KEY))

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(cache, "FLUSH", -1.0)
    with Shard(folder, "000", ROW) as shard:
        for key in keys:
            shard.append([key], rows_of([key]))
    assert synced[:4] == [(1, 0), (1, 1), (2, 1), (2, 2)]


def test_what_raises_in_between_keeps_what_was_appended(folder: Path) -> None:
    keys = [b"a" * KEY, b"b" * KEY]
    with pytest.raises(KeyboardInterrupt), Shard(folder, "000", ROW) as shard:
        shard.append(keys, rows_of(keys))
        raise KeyboardInterrupt
    check(folder, keys, set(keys))


def resident() -> tuple[int, int]:
    """Bytes of this process in memory: all, and those that no file backs."""
    anonymous = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert anonymous
    return psutil.Process().memory_info().rss, int(anonymous[1]) << 10


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="resident size as Linux has it")
def test_reading_two_hundred_megabytes_takes_none(folder: Path) -> None:
    size, batch = 200_000, 20
    keys = [number.to_bytes(KEY, "little") for number in range(1000)]
    for start in range(0, len(keys), 250):
        append(folder, keys[start : start + 250], f"{start:03}", size)
    rows = Rows(folder, size, wanted(keys))
    assert not len(rows.missing())
    order = np.random.default_rng(0).permutation(len(keys)).reshape(-1, batch)
    rows.read(order[0].tolist())
    before, most = resident(), (0, 0)
    for places in order:
        read = rows.read(places.tolist())
        assert np.array_equal(read[0], row_of(keys[places[0]], size))
        most = max(most[0], resident()[0]), max(most[1], resident()[1])
    assert most[0] - before[0] < 20 << 20
    assert most[1] - before[1] < 10 << 20


def test_too_little_room_is_told_before(folder: Path) -> None:
    check_room(folder, 1)
    with pytest.raises(PocketError, match=r"1000000\.0 GB of features .* are free: make room"):
        check_room(folder, 10**15)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    with small_disk(tmp_path / "disk", 1) as disk:
        yield disk


def test_a_full_disk_keeps_what_is_listed_and_goes_on_with_room(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "FLUSH", -1.0)
    size, keys = 40_000, [number.to_bytes(KEY, "big") for number in range(40)]
    other = small / "other"
    other.write_bytes(bytes(400_000))
    with pytest.raises(OSError, match="No space left"), Shard(small, "000", size) as shard:
        for key in keys:
            shard.append([key], rows_of([key], size))
    rows = Rows(small, size, wanted(keys))
    there = len(keys) - len(rows.missing())
    assert 5 < there < len(keys)
    assert rows.missing().tolist() == list(range(there, len(keys)))
    assert np.array_equal(rows.read(range(there)), rows_of(keys[:there], size))
    other.unlink()
    append(small, keys[there : there + 4], size=size)
    rows = Rows(small, size, wanted(keys))
    assert rows.missing().tolist() == list(range(there + 4, len(keys)))
    assert np.array_equal(rows.read(range(there + 4)), rows_of(keys[: there + 4], size))
