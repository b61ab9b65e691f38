"""Fake keys, and a search for them in whatever was written, said or called."""

import base64
import bz2
import gzip
import io
import json
import lzma
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Event, Semaphore, Thread
from typing import Self
from urllib.parse import quote

import psutil
from PIL import Image

TEACHER = "sk-plant/ed+Teacher-0nE-f3c81d0a97b24e65"
STRONG = "sk-plant/ed+sTrong-tWo-9b07e4d2856a1f3c"
WANDB = "5e1fd00d" * 5


TORN = (
    *(OSError, EOFError, ValueError, SyntaxError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile, sqlite3.Error),
)
"""What the libraries raise over data that is not whole."""


def spellings(key: str) -> dict[str, bytes]:
    """A key as it may stand somewhere. A half is found also where a block's end, or somebody's
    stars, part the other one."""
    middle = len(key) // 2
    texts = {
        "first half": key[:middle],
        "second half": key[middle:],
        "reversed": key[::-1],
        "in an address": quote(key, safe=""),
        "in JSON": json.dumps(key)[1:-1].replace("/", r"\/"),
        "in .NET's JSON": key.replace("+", r"\u002B"),
        "as hexadecimals": key.encode().hex(),
    }
    found = {name: text.encode() for name, text in texts.items()}
    found["wide"] = key.encode("utf-16-le")
    for before in range(3):  # three ways to lie in groups of three bytes; the ends depend on others
        coded = base64.b64encode(b"." * before + key.encode())
        found[f"base64 {before}"] = coded[4 if before else 0 : -4]
        found[f"base64, in addresses {before}"] = found[f"base64 {before}"].translate(
            bytes.maketrans(b"+/", b"-_")
        )
    return found


def found_in(data: bytes, keys: dict[str, str], depth: int = 3) -> set[str]:
    """Names of the keys that stand in `data`, or in what is packed in it, and how."""
    found = {
        f"{name} ({way})"
        for name, key in keys.items()
        for way, spelt in spellings(key).items()
        if spelt in data
    }
    if depth:
        for part in unpacked(data):
            found |= found_in(part, keys, depth - 1)
    return found


def unpacked(data: bytes) -> Iterator[bytes]:
    """What compressed data holds, and the texts of a PNG; a torn one yields nothing."""
    with suppress(*TORN):
        if data.startswith(b"\x1f\x8b"):
            yield gzip.decompress(data)
        elif data.startswith(b"BZh"):
            yield bz2.decompress(data)
        elif data.startswith(b"\xfd7zXZ"):
            yield lzma.decompress(data)
        elif data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as packed:
                yield from (packed.read(name) for name in packed.namelist())
        elif data.startswith(b"\x89PNG"):
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()  # texts may follow the pixels
                yield repr(picture.info).encode()
        elif data.startswith(b"SQLite format 3"):
            with closing(sqlite3.connect(":memory:")) as base:
                base.deserialize(data)
                yield "\n".join(base.iterdump()).encode()


def search(folder: Path, keys: dict[str, str]) -> dict[str, set[str]]:
    """Files below a folder that hold a key, or are named after one."""
    result = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        data = path.read_bytes() if path.is_file() else b""
        if found := found_in(data + b"\n" + name.encode(), keys) | found_in(data, keys):
            result[name] = found
    return result


class Watch:
    """The command lines of all processes of this machine, seen while the block runs."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.over = Event()
        self.looked = Semaphore(0)
        """Released after every look."""
        self.thread = Thread(target=self._look)

    def __enter__(self) -> Self:
        self.before = {process.pid for process in psutil.process_iter()}
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _look(self) -> None:
        while not self.over.wait(0.1):
            for process in psutil.process_iter():
                if process.pid not in self.before:
                    with suppress(psutil.Error):
                        self.seen.add(" ".join([process.name(), *process.cmdline()]))
            self.looked.release()
