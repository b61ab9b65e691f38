"""The head of a GGUF file: whatever is in it, a header or a PocketError, quickly and in little
memory."""

import resource
import struct
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketvlm.errors import PocketError
from pocketvlm.export import export_text, export_vision
from pocketvlm.export.header import read_header
from tests.export.remade import remade, spoiled, text, version_1

Pair = tuple[Path, Path]
quietly = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=2000, max_examples=100
)


@pytest.fixture(scope="session")
def pair(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A text and a vision file that no test changes."""
    folder = tmp_path_factory.mktemp("header")
    files = folder / "model.gguf", folder / "mmproj.gguf"
    export_text(pristine, files[0], "Q8_0")
    export_vision(pristine, files[1], "Q8_0", 128)
    return files


def end_of_head(file: Path) -> int:
    """Where the tensors' data begins."""
    return int(gguf.GGUFReader(file).data_offset)


@pytest.mark.parametrize("which", [0, 1])
def test_it_reads_what_ggufs_own_reader_reads(pair: Pair, which: int) -> None:
    ours, theirs = read_header(pair[which]), gguf.GGUFReader(pair[which])
    fields = {k: v for k, v in theirs.fields.items() if not k.startswith("GGUF.")}
    assert list(ours.keys) == list(fields)
    for key, field in fields.items():
        value = ours.keys[key]
        plain = value.tolist() if isinstance(value, np.ndarray) else value
        assert plain == field.contents(), key
        assert ours.kinds[key] == field.types[0]
    assert [
        (one.name, one.shape, one.type, one.parameters, one.nbytes) for one in ours.tensors.values()
    ] == [
        (one.name, tuple(one.shape.tolist()), one.tensor_type, one.n_elements, one.n_bytes)
        for one in theirs.tensors
    ]


@pytest.mark.parametrize("which", [0, 1])
@quietly
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_an_error(
    pair: Pair, tmp_path: Path, which: int, share: float
) -> None:
    data = pair[which].read_bytes()
    last = gguf.GGUFReader(pair[which]).tensors[-1]
    end = last.data_offset + last.n_bytes
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(data[: int(end * share)])
    with pytest.raises(PocketError, match=r"cut\.gguf is (damaged \(|no GGUF file)"):
        read_header(cut)


@pytest.mark.parametrize("which", [0, 1])
@quietly
@given(share=st.floats(0, 1, exclude_max=True), value=st.binary(min_size=1, max_size=8))
def test_other_bytes_anywhere_are_read_or_an_error(
    pair: Pair, tmp_path: Path, which: int, share: float, value: bytes
) -> None:
    at = int(end_of_head(pair[which]) * share)
    bad = spoiled(pair[which], tmp_path / "bad.gguf", at, value)
    try:
        read_header(bad)
    except PocketError as error:
        assert "\n" not in str(error)
        assert str(error).startswith(f"{bad} is ")


LIMITED = """
import pathlib, resource, sys
from pocketvlm.errors import PocketError
from pocketvlm.export.header import read_header
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
good, bad, end = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
data = good.read_bytes()[:end]
refused = 0
for at in range(4, end - 8, 7):
    for length in (2**63 - 1, 2**31 - 1, 2**20):
        bad.write_bytes(data[:at] + length.to_bytes(8, "little") + data[at + 8 :])
        try:
            read_header(bad)
        except PocketError:
            refused += 1
print(refused)
"""


def test_a_length_of_many_gigabytes_takes_no_memory(pair: Pair, tmp_path: Path) -> None:
    """In a process that may use 1 GiB; gguf's own reader would fill it."""
    end = end_of_head(pair[1])
    command = [sys.executable, "-c", LIMITED, pair[1], tmp_path / "bad.gguf", end]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert int(done.stdout) > end // 7


@pytest.mark.parametrize(
    ("kind", "bytes_each", "message"),
    [("STRING", 8, "has 536,870,912 texts"), ("UINT8", 1, "it has no tensor")],
)
def test_an_array_of_all_the_file_takes_no_memory(
    tmp_path: Path, kind: str, bytes_each: int, message: str
) -> None:
    """A sparse file of 4 GiB, whose damaged key claims to be a list of that size."""
    size = 4 * 2**30
    head = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + text("general.tags")
    head += struct.pack("<IIQ", 9, gguf.GGUFValueType[kind], size // bytes_each)
    with (tmp_path / "large.gguf").open("wb") as file:
        file.write(head)
        file.truncate(len(head) + size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PocketError, match=message):
        read_header(tmp_path / "large.gguf")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18


def test_big_endian_is_read(pair: Pair, tmp_path: Path) -> None:
    swapped = read_header(remade(pair[1], tmp_path / "big.gguf", big_endian=True))
    header = read_header(pair[1])
    assert swapped.big_endian
    assert not header.big_endian
    assert swapped.whole("clip.vision.image_size") == 128
    assert swapped.tensors == header.tensors
    colours = swapped.keys["clip.vision.image_mean"]
    assert isinstance(colours, np.ndarray)
    assert colours.tolist() == [0.5, 0.5, 0.5]


def test_the_first_two_versions_are_read(pair: Pair, tmp_path: Path) -> None:
    first = read_header(version_1(tmp_path / "first.gguf"))
    assert (first.version, first.architecture, first.tensors["x"].shape) == (1, "llama", (2, 3))
    second = read_header(spoiled(pair[0], tmp_path / "second.gguf", 4, b"\2"))
    assert (second.version, second.keys.keys()) == (2, read_header(pair[0]).keys.keys())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no GGUF file"),
        (b"GGU", "is no GGUF file"),
        (b"<html>not found</html>", "is no GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is no GGUF file"),
        (b"GGUF", r"damaged \(cut short in its first bytes\)"),
        (struct.pack("<4sI", b"GGUF", 9), "version 9 of GGUF, 1 to 3 are known"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 0), "it has no tensor"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 1, 0), "cut short in tensor 1 of 1"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**63), "cut short in key 1 of 9,223"),
    ],
)
def test_a_file_without_a_head_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    with pytest.raises(PocketError, match=message):
        read_header(tmp_path / "bad.gguf")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (text("a") + struct.pack("<II", 77, 0), "the key a is of the unknown kind 77"),
        (text("a") + struct.pack("<IIQ", 9, 9, 1), "the key a is a list of lists"),
        (text("a") + struct.pack("<IIQ", 9, 4, 2**60), "cut short in the key a"),
        (text("a") + struct.pack("<IIQ", 9, 8, 2**60), "texts"),
        (text("a") + struct.pack("<IQ", 8, 1) + b"\xff", "the key a is no UTF-8"),
        (struct.pack("<Q", 1) + b"\xff", "key 1 of 1 is no UTF-8"),
    ],
)
def test_a_broken_key_is_named(tmp_path: Path, key: bytes, message: str) -> None:
    (tmp_path / "bad.gguf").write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + key + bytes(99))
    with pytest.raises(PocketError, match=message):
        read_header(tmp_path / "bad.gguf")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([text("x") + struct.pack("<I", 9)], "tensor 1 of 1 has 9 dimensions"),
        ([text("x") + struct.pack("<IQIQ", 1, 4, 99, 0)], "x is stored as type 99"),
        ([text("x") + struct.pack("<IQIQ", 1, 33, 8, 0)], "x is Q8_0, but its rows do not divide"),
        ([text("x") + struct.pack("<IQIQ", 1, 4, 0, 0)] * 2, "the tensor x is there twice"),
        ([text("x") + struct.pack("<IQQIQ", 2, 2**33, 2**33, 0, 0)], "cut short: x ends"),
        ([text("x") + struct.pack("<IQIQ", 1, 4, 0, 2**62)], "cut short: x ends"),
    ],
)
def test_a_broken_tensor_is_named(tmp_path: Path, tensors: list[bytes], message: str) -> None:
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), 0)
    (tmp_path / "bad.gguf").write_bytes(head + b"".join(tensors) + bytes(99))
    with pytest.raises(PocketError, match=message):
        read_header(tmp_path / "bad.gguf")


def test_a_key_that_is_there_twice_is_named(tmp_path: Path) -> None:
    key = text("a") + struct.pack("<II", 4, 1)
    (tmp_path / "bad.gguf").write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 2) + key + key)
    with pytest.raises(PocketError, match="the key a is there twice"):
        read_header(tmp_path / "bad.gguf")


def test_another_alignment_is_kept(pair: Pair, tmp_path: Path) -> None:
    whole = remade(pair[1], tmp_path / "a.gguf", {"general.alignment": 64})
    assert read_header(whole).tensors.keys() == read_header(pair[1]).tensors.keys()
    odd = remade(pair[1], tmp_path / "b.gguf", {"general.alignment": 64})
    at = odd.read_bytes().index(b"general.alignment") + len("general.alignment") + 4
    with pytest.raises(PocketError, match=r"general\.alignment is 48, no power of two"):
        read_header(spoiled(odd, tmp_path / "c.gguf", at, b"\x30"))


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PocketError, match="is a folder: name a GGUF file"):
        read_header(tmp_path)
    with pytest.raises(PocketError, match="does not exist: check the path"):
        read_header(tmp_path / "gone.gguf")
    with pytest.raises(PocketError, match="is no file: name a GGUF file"):
        read_header(Path("/dev/null"))
