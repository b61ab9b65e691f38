"""Device bitmaps as PNG files: made on all cores, in order, few at a time."""

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import deflate
import numpy as np

from pocketvlm.errors import PocketError
from pocketvlm.parallel import in_order
from pocketvlm.pictures import Bitmap
from pocketvlm.project import CONTRACT, Project
from pocketvlm.workspace import fingerprint, link, read_json

CHECKSUMS = "bitmaps.json"
"""In dataset/: SHA-256 of every bitmap's file, by its name."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Made:
    """What came of one picture."""

    id: str
    sha256: str | None
    """Of the bitmap's file; None when there is none."""
    reason: str | None = None
    """Why the picture cannot be read."""


def image_name(picture: str) -> str:
    """Where a picture's bitmap lies in the dataset."""
    return f"images/{picture}.png"


def write_bitmaps(
    items: Iterable[tuple[str, Path]], target: Path, project: Project
) -> Iterator[Made]:
    """Write each picture (id, file) as the device's bitmap into `target`/images/, which must be
    there. One result a picture, in their order; `items` may be endless, few are taken ahead.

    Bitmaps that the project's present dataset has already are linked. A picture that cannot be
    read is a result with a reason; OSError when a file cannot be written."""
    old = project.workspace.dataset
    known = made_before(project)

    def write(item: tuple[str, Path]) -> Made:
        picture, source = item
        name = image_name(picture)
        before = known.get(name)
        if before is not None and before == fingerprint(old / name):
            link(old / name, target / name)
            return Made(picture, before)
        try:
            bitmap = project.contract.open(source)
        except PocketError as error:
            return Made(picture, None, str(error))
        data = png(bitmap)
        (target / name).write_bytes(data)
        return Made(picture, hashlib.sha256(data).hexdigest())

    return (made for _, made in in_order(write, items))


def made_before(project: Project) -> dict[str, str]:
    """The SHA-256 of each bitmap that was made under the present contract, by its name: one that
    still has it is taken again, one that was damaged or altered since is made anew."""
    old = project.workspace.dataset
    same = (old / CONTRACT).is_file() and read_json(old / CONTRACT).get("hash")
    if same != project.contract.hash or not (old / CHECKSUMS).is_file():
        return {}
    known: dict[str, str] = read_json(old / CHECKSUMS)
    return known


def png(bitmap: Bitmap) -> bytes:
    """A bitmap as a PNG file's bytes (https://www.w3.org/TR/png-3/): each row as differences from
    the pixel to its left (filter 1), packed by libdeflate: the same bytes each time, which ISA-L,
    twice as fast, does not promise."""
    height, width = bitmap.shape[:2]
    rows = bitmap.reshape(height, -1)
    filtered = np.empty((height, 1 + width * 3), np.uint8)
    filtered[:, 0] = 1
    filtered[:, 1:4] = rows[:, :3]
    np.subtract(rows[:, 3:], rows[:, :-3], out=filtered[:, 4:])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = deflate.zlib_compress(filtered.data, 1)
    return SIGNATURE + b"".join(
        _chunk(*chunk) for chunk in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)
