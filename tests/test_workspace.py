"""Files of a project: written whole or not at all, ledgers that survive a kill, fingerprints."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketvlm.errors import PocketError
from pocketvlm.workspace import (
    append_row,
    atomic_file,
    atomic_folder,
    fingerprint,
    read_json,
    read_rows,
    sha256_file,
    sha256_json,
    write_json,
    write_rows,
    write_text,
)

HALF = "half an emoji: \ud83d"


class Broken(Exception):
    """What a stage raises in the middle of writing."""


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_file_leaves_the_old_one_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(Broken), atomic_file(path) as partial:
        partial.write_text("half of the n")
        raise Broken
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with atomic_file(path) as partial:
        partial.write_text("text")
        assert not path.exists()
    assert path.read_text() == "text"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_failed_folder_leaves_the_old_one_and_no_rest(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    write_text(folder / "old.txt", "old")
    with pytest.raises(Broken), atomic_folder(folder) as partial:
        (partial / "new.txt").write_text("new")
        raise Broken
    assert names(folder) == ["old.txt"]
    assert names(tmp_path) == ["report"]


def test_a_finished_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    write_text(folder / "old.txt", "old")
    with atomic_folder(folder) as partial:
        (partial / "new.txt").write_text("new")
        assert names(folder) == ["old.txt"]
    assert names(folder) == ["new.txt"]
    assert names(tmp_path) == ["report"]


KILLED = """
import os, signal, sys
from pathlib import Path
from pocketvlm.workspace import atomic_folder
with atomic_folder(Path(sys.argv[1])) as partial:
    (partial / "new.txt").write_text("new")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_while_writing_leaves_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    write_text(folder / "old.txt", "old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert done.returncode == -9
    assert names(folder) == ["old.txt"]
    with atomic_folder(folder) as partial:
        (partial / "newer.txt").write_text("newer")
    assert names(folder) == ["newer.txt"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    """The old folder stands aside and the new one is not in place yet."""
    write_text(tmp_path / ".report.pocketvlm-old" / "old.txt", "old")
    with pytest.raises(Broken), atomic_folder(tmp_path / "report"):
        raise Broken
    assert names(tmp_path / "report") == ["old.txt"]
    assert names(tmp_path) == ["report"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.dictionaries(st.text(), JSON), max_size=5))
def test_rows_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    write_rows(path, rows[:2])
    for row in rows[2:]:
        append_row(path, row)
    assert list(read_rows(path)) == rows


def test_half_an_emoji_can_be_written_everywhere(tmp_path: Path) -> None:
    """A teacher's JSON may hold a lone surrogate, and so may a file name."""
    append_row(tmp_path / "a.jsonl", {"reason": HALF})
    write_json(tmp_path / "a.json", {"reason": HALF})
    write_text(tmp_path / "a.html", HALF)
    assert list(read_rows(tmp_path / "a.jsonl")) == [{"reason": HALF}]
    assert read_json(tmp_path / "a.json") == {"reason": HALF}
    assert (tmp_path / "a.html").read_text() == "half an emoji: \\ud83d"
    assert len(sha256_json(HALF)) == 64


def test_a_torn_last_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_row(path, {"a": 1})
    with path.open("ab") as file:
        file.write('{"b": "é'.encode()[:-1])  # killed in the middle of a letter
    append_row(path, {"c": 3})
    lines = path.read_bytes().split(b"\n")
    assert lines[0] == b'{"a": 1}'
    assert lines[2] == b'{"c": 3}'
    with pytest.raises(PocketError, match=r"a\.jsonl, line 2: not JSON"):
        list(read_rows(path))


@pytest.mark.parametrize("line", [b"{", b'{"a": "\xe9"}', b"\xff\xfe\xff"])
def test_a_broken_line_is_named_whatever_its_bytes(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + line + b"\n")
    rows = read_rows(path)
    assert next(rows) == {"a": 1}
    with pytest.raises(PocketError, match=r"a\.jsonl, line 3: not JSON"):
        next(rows)


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("[1]\n")
    with pytest.raises(PocketError, match="line 1: expected a JSON object"):
        list(read_rows(path))


def test_a_files_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n', encoding="utf-8-sig")
    assert list(read_rows(path)) == [{"a": 1}]


def test_a_missing_file_is_told_at_the_call(tmp_path: Path) -> None:
    with pytest.raises(PocketError, match="run `pocketvlm prepare` first"):
        read_rows(tmp_path / "dataset" / "a.jsonl")
    with pytest.raises(PocketError, match="run `pocketvlm prepare` first"):
        read_json(tmp_path / "dataset" / "a.json")
    with pytest.raises(PocketError, match="check the path"):
        read_rows(tmp_path / "a.jsonl")


def test_broken_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"a": \xff')
    with pytest.raises(PocketError, match=r"a\.json is not JSON"):
        read_json(tmp_path / "a.json")


def test_a_fingerprint_sees_names_places_and_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert fingerprint(folder) is None
    write_text(folder / "b" / "x.txt", "one")
    write_text(folder / "a.txt", "two")
    first = fingerprint(folder)
    assert first == fingerprint(folder)
    os.utime(folder / "a.txt", (0, 0))
    assert fingerprint(folder) == first  # when it was written does not matter
    (folder / "a.txt").rename(folder / "b" / "a.txt")
    moved = fingerprint(folder)
    write_text(folder / "b" / "a.txt", "three")
    assert len({first, moved, fingerprint(folder)}) == 3


def test_a_files_fingerprint_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    assert fingerprint(tmp_path / "a") == sha256_file(tmp_path / "a") == known


def test_the_order_of_keys_does_not_change_a_hash() -> None:
    assert sha256_json({"a": 1, "b": [1, 2]}) == sha256_json({"b": [1, 2], "a": 1})
    assert sha256_json([1, 2]) != sha256_json([2, 1])


def test_a_linked_folder_stays_a_link(tmp_path: Path) -> None:
    """Large folders are moved to a larger disk and linked."""
    (tmp_path / "disk" / "merged").mkdir(parents=True)
    link = tmp_path / "merged"
    link.symlink_to(tmp_path / "disk" / "merged")
    for text in ("first", "second"):
        with atomic_folder(link) as folder:
            (folder / "file").write_text(text)
        assert link.is_symlink()
        assert (tmp_path / "disk" / "merged" / "file").read_text() == text


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".merged.pocketvlm-abc").mkdir()
    (tmp_path / ".merged.pocketvlm-abc" / "half").write_bytes(b"half")
    with atomic_folder(tmp_path / "merged"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_what_lies_beside_a_folder_is_left_alone(tmp_path: Path) -> None:
    """Only the leftovers of its own kind go."""
    others = [".set.backup", ".set.old", ".set.v2.pocketvlm-abcdefgh", ".setting", "set.v2"]
    for name in others:
        write_text(tmp_path / name / "file", name)
    write_text(tmp_path / ".set.pocketvlm-abcdefgh" / "file", "left by a kill")
    with atomic_folder(tmp_path / "set") as partial:
        write_text(partial / "file", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"set", *others}


def test_a_folder_with_signs_of_patterns_is_itself(tmp_path: Path) -> None:
    write_text(tmp_path / ".hidden.thing" / "file", "precious")
    with atomic_folder(tmp_path / "*") as partial:
        write_text(partial / "file", "new")
    assert (tmp_path / ".hidden.thing" / "file").is_file()


@pytest.mark.parametrize("read", [read_json, lambda path: list(read_rows(path))])
def test_json_nested_too_deep_is_an_error_that_names_the_file(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 200_000)
    with pytest.raises(PocketError, match=r"deep\.json.*not JSON"):
        read(path)
