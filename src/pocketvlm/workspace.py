"""One folder holds one project: its paths, atomic writes, ledgers and fingerprints."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketvlm.errors import PocketError

Row = dict[str, Any]
"""One JSON object of a JSON Lines file."""

LONE = "backslashreplace"
"""Lone surrogates (file names that are no UTF-8, half an emoji) become JSON's own \\udxxx."""


NOTE = "state/remote.json"
"""That a run was sent to a server, until its labels are back: `host`, `how`, `at`."""

FINISHED = "finished"
"""In a training's folder of checkpoints: its adapter is written."""

WRITERS = {
    "originals": "collect",
    "labels": "label",
    "dataset": "prepare",
    "adapter": "train",
    "merged": "merge",
    "gguf": "convert",
    "report": "validate",
}
"""Which stage writes each folder."""


@dataclass(frozen=True)
class Workspace:
    """The folders and files of a project, named as in the data's way."""

    root: Path

    @property
    def originals(self) -> Path:
        """Pictures as collected, with `index.jsonl`."""
        return self.root / "originals"

    @property
    def index(self) -> Path:
        """One line a collected picture: sha256, file, size, looks, origin, licence, credits."""
        return self.originals / "index.jsonl"

    @property
    def answers(self) -> Path:
        """Append-only ledger of every paid answer."""
        return self.root / "labels" / "answers.jsonl"

    @property
    def label_report(self) -> Path:
        """What the teachers said, for people."""
        return self.root / "labels" / "report.html"

    @property
    def reviews(self) -> Path:
        """A person's decisions, append-only; the last one on a picture counts."""
        return self.root / "labels" / "reviews.jsonl"

    @property
    def dataset(self) -> Path:
        """Device bitmaps and the three splits."""
        return self.root / "dataset"

    @property
    def adapter(self) -> Path:
        """LoRA adapter and training history."""
        return self.root / "adapter"

    @property
    def merged(self) -> Path:
        """Merged model in float32 with its tokenizer."""
        return self.root / "merged"

    @property
    def gguf(self) -> Path:
        """The files the phone loads."""
        return self.root / "gguf"

    @property
    def report(self) -> Path:
        """`report.html`, `metrics.json` and pictures."""
        return self.root / "report"

    @property
    def bundle(self) -> Path:
        """What the app takes."""
        return self.root / "bundle"

    @property
    def logs(self) -> Path:
        """Logs of runs."""
        return self.root / "logs"

    def split(self, name: str) -> Path:
        """The dataset lines of one split: `train`, `val` or `test`."""
        return self.dataset / f"{name}.jsonl"

    def text_gguf(self, quantisation: str) -> Path:
        """The text model's file of one quantisation type."""
        return self.gguf / f"model-{quantisation}.gguf"

    def vision_gguf(self, quantisation: str) -> Path:
        """The vision tower's and projector's file of one quantisation type."""
        return self.gguf / f"mmproj-{quantisation}.gguf"

    def manifest(self, stage: str) -> Path:
        """What a finished stage read and wrote."""
        return self.root / "state" / f"{stage}.json"


@contextmanager
def named_if_full(path: Path) -> Iterator[None]:
    """A full disk is the disk of `path`, whatever the system names, if anything."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        said = f"{error.strerror}; make room and run it again"
        raise OSError(error.errno, said, str(path)) from None


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; it becomes `path` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    partial = Path(name)
    try:
        with named_if_full(path):
            yield partial
            with partial.open("rb+") as written:
                os.fsync(written.fileno())
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it replaces `path` when the block succeeds.

    What a killed run left beside it is removed: one run at a time writes a folder."""
    path = path.resolve()  # a link to a larger disk stays a link
    path.parent.mkdir(parents=True, exist_ok=True)
    own = f".{path.name}.pocketvlm-"  # nobody else's: other things may lie beside it
    old = path.with_name(f"{own}old")
    if old.exists() and not path.exists():  # killed between the two renames
        old.rename(path)
    for left in path.parent.iterdir():
        if left.name.startswith(own):
            shutil.rmtree(left, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=own))
    try:
        with named_if_full(path):
            yield partial
        partial.chmod(0o755)
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.rename(old)
        partial.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def discard(folder: Path) -> None:
    """Delete a folder so that a kill leaves it whole, or under a name nobody goes on from."""
    gone = folder.with_name(f".{folder.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    if folder.is_dir():
        folder.rename(gone)
        shutil.rmtree(gone)


def sweep(folder: Path) -> None:
    """Remove what `atomic_file` had half written when its process was killed."""
    for left in folder.glob(".*"):
        if left.is_file():
            left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file atomically."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors=LONE)


def write_json(path: Path, value: object) -> None:
    """Write readable JSON atomically."""
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", errors=LONE) as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


def read_json(path: Path) -> Any:
    """Read one JSON file; a missing or broken one is an error that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(path) from None
    except (ValueError, RecursionError) as error:
        raise PocketError(f"{path} is not JSON ({error}): delete or repair it") from None


def read_record(path: Path) -> Row:
    """Read one JSON object; PocketError also when the file holds something else."""
    record = read_json(path)
    if not isinstance(record, dict):
        raise PocketError(f"{path} holds no JSON object: delete or repair it")
    return record


def _missing(path: Path) -> PocketError:
    stage = WRITERS.get(path.parent.name)
    mend = f"run `pocketvlm {stage}` first" if stage else "check the path"
    return PocketError(f"{path} does not exist: {mend}")


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write JSON Lines atomically."""
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", errors=LONE) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the objects of a JSON Lines file, streamed; a broken line is an error that names it.

    The check that the file exists is made at the call, not at the first row."""
    if not path.is_file():
        raise _missing(path)
    return _rows(path)


def _rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:  # bytes: a wrong encoding is then found line by line
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise PocketError(f"{path}, line {number}: not JSON ({error})") from None
            if not isinstance(row, dict):
                raise PocketError(f"{path}, line {number}: expected a JSON object")
            yield row


def append_row(path: Path, row: Row) -> None:
    """Append one line to a ledger and force it to the disk; a torn last line is closed first."""
    append_rows(path, [row])


def append_rows(path: Path, rows: Sequence[Row]) -> None:
    """Append lines to a ledger with one flush; none changes nothing."""
    if not rows:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    data = lines.encode(errors=LONE)
    with path.open("ab+") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                data = b"\n" + data
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def link(source: Path, target: Path) -> None:
    """The same bytes without a second copy where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: object) -> str:
    """Hex SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode(errors=LONE)).hexdigest()


def fingerprint(path: Path) -> str | None:
    """Hash of a file, or of every file below a folder; None where nothing is."""
    if path.is_file():
        return sha256_file(path)
    if not path.is_dir():
        return None
    inside = sorted(p for p in path.rglob("*") if p.is_file())
    return sha256_json([[p.relative_to(path).as_posix(), sha256_file(p)] for p in inside])


def names_and_sizes(folder: Path) -> str | None:
    """Hash of a folder's names and sizes: enough to see that bitmaps were altered, without reading
    them. No times: a workspace may be copied to another machine. None where nothing is."""
    if not folder.is_dir():
        return None
    return sha256_json(sorted([path.name, path.stat().st_size] for path in folder.iterdir()))
