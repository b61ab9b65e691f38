"""COCO's annotations: which picture shows how much of what, and where it lies.

The format: https://cocodataset.org/#format-data. They are read as a stream, several times, so that
hundreds of MB of outlines are never held."""

import difflib
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import ijson
from pydantic import BaseModel, Field, ValidationError

from pocketvlm.collect.download import is_name, place
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.progress import bar

FLICKR = re.compile(r"farm\d+\.staticflickr\.com")
"""Hosts of `flickr_url`, which is used for pictures without a `coco_url`."""

BLOCK, MB = 1 << 18, 1 << 20

CREATIVE = re.compile(
    r"https?://creativecommons\.org/(?:licenses/(by(?:-nc)?(?:-sa|-nd)?)|publicdomain/zero)/"
    r"([1-4]\.[05])/?"
)

LONG = 16 << 20
"""Bytes of a document that are worth a bar."""

DEEPEST = 30
"""Brackets within each other; COCO's format needs six."""

STRING, PLAIN = re.compile(rb'"[^"]*"'), bytes({*range(256)} - {*b'[]{}"'})
"""What stands between two quotation marks; all that neither nests nor quotes."""

M = TypeVar("M", bound=BaseModel)


class Category(BaseModel):
    """An entry of `categories`."""

    id: int
    name: str


class License(BaseModel):
    """An entry of `licenses`."""

    id: int
    name: str = ""
    url: str = ""


class Picture(BaseModel):
    """An entry of `images`; sides in pixels."""

    id: int
    file_name: str
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    coco_url: str | None = None
    flickr_url: str | None = None
    license: int | None = None


class Annotation(BaseModel):
    """An entry of `annotations`: one object; x, y, width and height of its box in pixels."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Offer:
    """A picture that can be fetched."""

    origin: str
    url: str
    name: str
    """Of its file among the downloads."""
    credit: str
    licence: str
    size: tuple[int, int]
    """Width and height, pixels."""
    shares: Mapping[str, float]
    """Category -> share of the picture's area that its boxes take."""


UNREADABLE = (
    ijson.JSONError,
    UnicodeDecodeError,
    OSError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What is raised on broken JSON and on broken, encrypted or oddly packed zips."""


@dataclass(frozen=True)
class Document:
    """One instances_*.json, by itself or in a zip."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return f"{self.path}, {self.member}" if self.member else str(self.path)

    @property
    def split(self) -> str:
        """What tells it from others: `train2017` of instances_train2017.json."""
        return PurePosixPath(self.member or self.path.name).stem.removeprefix("instances_")

    def read(self, prefix: str) -> Iterator[Any]:
        """The values at a place of the document, as a stream. PocketError when it is broken."""
        try:
            if self.member is None:
                with self.path.open("rb") as file:
                    yield from values(file, self.path.stat().st_size, prefix, self.split)
            else:
                with zipfile.ZipFile(self.path) as pack, pack.open(self.member) as inside:
                    size = pack.getinfo(self.member).file_size
                    yield from values(inside, size, prefix, self.split)
        except UNREADABLE as error:
            raise self.broken(error) from None

    def rows(self, name: str, model: type[M]) -> Iterator[M]:
        """The entries of one of its long lists, checked."""
        number = -1
        for number, row in enumerate(self.read(f"{name}.item")):
            yield self.checked(row, model, f"{name}.{number}")
        if number < 0:
            raise self.wrong(f"it lists no `{name}`")

    def table(self, name: str, model: type[M]) -> list[M]:
        """One of its short lists, checked; what comes after it need not be read."""
        rows: object = next(self.read(name), [])
        if not isinstance(rows, list):
            raise self.wrong(f"`{name}` is no list")
        return [self.checked(row, model, f"{name}.{at}") for at, row in enumerate(rows)]

    def checked(self, row: object, model: type[M], place: str) -> M:
        """An entry as it should be; PocketError names the first of its mistakes."""
        try:
            return model.model_validate(row)
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(map(str, (place, *first["loc"])))
            raise self.wrong(f"{at}: {first['msg']}") from None

    def broken(self, error: Exception) -> PocketError:
        """The file is damaged."""
        said = (str(error).splitlines() or [type(error).__name__])[0]
        return PocketError(
            f"{self}: cannot be read ({said}): replace it; delete it if it was downloaded"
        )

    def wrong(self, reason: str) -> PocketError:
        """The document is not what it should be."""
        return PocketError(
            f"{self}: {reason}: collect.coco.annotations must be an instances_*.json of COCO's "
            "format, or a zip of some"
        )


def values(file: Any, size: int, prefix: str, name: str) -> Iterator[Any]:
    """What ijson finds at a place of an open file of so many bytes."""

    def blocks() -> Iterator[bytes]:
        with bar(f"Reading {name}: {prefix.split('.')[0]}, MB", size // MB, size > LONG) as advance:
            done = 0
            while block := file.read(BLOCK):
                yield block
                for _ in range((done + len(block)) // MB - done // MB):
                    advance("")
                done += len(block)

    yield from ijson.items(ijson.from_iter(shallow(blocks())), prefix, use_float=True)


def shallow(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks of a document, until there are some dozens of unclosed brackets: the time that
    ijson takes grows with the square of the depth. JSONError then."""
    left = escape = b""  # brackets and quotation marks that no later one has closed
    for block in blocks:
        plain = escape + block
        if b"\\" in plain:
            plain = plain.replace(rb"\\", b"").replace(rb"\"", b"")
        escape = plain[-1:] if plain.endswith(b"\\") else b""
        left += plain.translate(None, PLAIN)
        left, mark, _ = STRING.sub(b"", left.replace(b'""', b"")).partition(b'"')
        for _ in range(DEEPEST):
            left = left.replace(b"[]", b"").replace(b"{}", b"")
        if len(left) > DEEPEST:
            raise ijson.JSONError("it is nested too deeply")
        left += mark
        yield block


@lru_cache(maxsize=1)  # a run asks again for what turned out broken
def read_offers(
    path: Path, stamp: tuple[int, int], named: frozenset[str], hosts: frozenset[str]
) -> tuple[Offer, ...]:
    """All pictures with a category that is `named`, of all documents in a file. `stamp`: its time
    and size."""
    found = documents(path)
    categories = [{row.id: row.name for row in one.table("categories", Category)} for one in found]
    if not all(categories):
        raise found[categories.index({})].wrong("it lists no `categories`")
    check_names(named, {name for names in categories for name in names.values()}, path)
    offers: list[Offer] = []
    for document, names in zip(found, categories, strict=True):
        chosen = {number: name for number, name in names.items() if name in named}
        offers.extend(offers_of(document, chosen, hosts))
    return tuple(offers)


def documents(path: Path) -> list[Document]:
    """The documents in a file, in a stable order."""
    if not zipfile.is_zipfile(path):
        return [Document(path)]
    try:
        with zipfile.ZipFile(path) as pack:
            inside = sorted(pack.namelist())
    except UNREADABLE as error:
        raise Document(path).broken(error) from None
    names = [name for name in inside if PurePosixPath(name).match("instances_*.json")]
    if not names:
        raise ConfigError(
            f"collect.coco.annotations: {path} holds no instances_*.json, only "
            f"{', '.join(inside[:5])}"
        )
    return [Document(path, name) for name in names]


def check_names(named: Collection[str], known: Collection[str], path: Path) -> None:
    """ConfigError when a category of the configuration does not exist."""
    for name in sorted(set(named) - set(known)):
        close = difflib.get_close_matches(name, known, 3)
        instead = f"did you mean {' or '.join(close)}? " if close else ""
        raise ConfigError(
            f"collect.coco.categories: there is no {name!r}; {instead}All are listed under "
            f"`categories` in {path}"
        )


def offers_of(
    document: Document, chosen: Mapping[int, str], hosts: Collection[str]
) -> Iterator[Offer]:
    """The pictures of a document that show a chosen category (id -> name)."""
    areas: defaultdict[int, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in document.rows("annotations", Annotation):
        if name := chosen.get(row.category_id):
            areas[row.image_id][name] += max(row.bbox[2], 0) * max(row.bbox[3], 0)
    licences = {row.id: licence_of(row) for row in document.table("licenses", License)}
    if not areas:
        return
    for picture in document.rows("images", Picture):
        if boxes := areas.pop(picture.id, None):
            whole = picture.width * picture.height
            shares = {name: min(area / whole, 1.0) for name, area in boxes.items()}
            licence = licences.get(picture.license or 0, "unknown")
            yield offer(document, picture, shares, licence, hosts)
        if not areas:  # the rest of the document, mostly outlines, need not be read
            return
    raise document.wrong(f"annotations name image {min(areas)}, which is not listed")


def offer(
    document: Document,
    picture: Picture,
    shares: Mapping[str, float],
    licence: str,
    hosts: Collection[str],
) -> Offer:
    """A picture as it can be fetched; PocketError where name or address is not to be trusted."""
    url = picture.coco_url or picture.flickr_url or ""
    host, split, name = web_host(url), document.split, picture.file_name
    if not is_name(name):
        raise document.wrong(f"image {picture.id}: {name[:100]!r} is no name of a file")
    if host not in hosts and not (host and FLICKR.fullmatch(host) and not picture.coco_url):
        allowed = ", ".join(sorted(hosts))
        raise document.wrong(f"image {picture.id}: its host {host!r} is not allowed ({allowed})")
    credit = picture.flickr_url if web_host(picture.flickr_url or "") else url
    size = (picture.width, picture.height)
    origin = f"coco:{split}/{name}"
    return Offer(origin, url, f"coco-{split}-{name}", credit or url, licence, size, shares)


def licence_of(row: License) -> str:
    """The SPDX id of a Creative Commons licence, which is made like its address; else its name and
    address."""
    if found := CREATIVE.fullmatch(row.url):
        return f"CC-{found[1].upper()}-{found[2]}" if found[1] else f"CC0-{found[2]}"
    address = f"({row.url})" if row.url else ""
    return " ".join([*row.name.split(), *address.split()])[:200] or "unknown"


def web_host(url: str) -> str | None:
    """`host` or `host:port` of a plain web address; None where it is none."""
    parts = place(url)
    return parts.netloc.decode() if parts else None
