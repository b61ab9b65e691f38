"""Files of known hosts into a folder: whole or not at all, resumed after a kill or a cut."""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx

from pocketvlm import __version__
from pocketvlm.collect.part import Part
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.keys import LOOPBACK
from pocketvlm.limits import retry_after

MOST, REDIRECTS = 32, 5
"""Files fetched at a time; redirects in a row, more are a circle."""

TIMEOUT = httpx.Timeout(30.0, connect=10.0, pool=None)
"""Seconds without a byte."""

SLOWEST, LONG = 256, 60.0
"""Bytes a second that are too few after so many seconds: a drip never exceeds a read's time."""

PAUSES = (0.5, 2.0, 8.0)
"""Seconds before each further try; after the last one the file is left for another run."""

LONGEST_PAUSE = 30.0
"""Seconds waited because a server asks for them; with more the file is left for another run."""

WORTH = 1 << 20
"""Bytes further than any try before: as many that the tries count from the first again."""

LARGEST = 64 << 20
"""Bytes of a picture's file."""

BUSY = (408, 425, 429)
"""Statuses, besides 5xx, that may be others soon (RFC 9110, RFC 8470, RFC 6585)."""

LOCATION = "pocketvlm.location"
"""Among an answer's extensions: where it leads, as the server wrote it."""

Tell = Callable[[int, int | None], None]
"""Is told how many bytes have come, and of how many, where that is known."""


class DownloadError(PocketError):
    """A file could not be had."""

    def __init__(self, url: str, reason: str, lasting: bool) -> None:
        super().__init__(f"{shown(url)}: {reason}")
        self.reason = reason
        self.lasting = lasting
        """Whether another run would end the same: it is gone, refused or not what was announced."""


class Trouble(Exception):
    """A try that failed for now; `pause` is what the server asks to wait, seconds."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class Wrong(Exception):
    """The content is not what was announced."""


@dataclass(frozen=True)
class Order:
    """What is to be fetched."""

    url: str
    size: int | None
    md5: str | None
    largest: int
    tell: Tell

    def refused(self, reason: str) -> DownloadError:
        """Another run would end the same."""
        return DownloadError(self.url, reason, lasting=True)


def set_location_aside(answer: httpx.Response) -> None:
    """For `event_hooks`: httpx 0.28 prepares the request that a redirect asks for even where none
    is to be followed, and ends with InvalidURL or UnicodeError for an address that is none."""
    if answer.has_redirect_location:
        answer.extensions[LOCATION] = answer.headers.pop("location")


class Downloads:
    """Files from some hosts into a folder. Context manager; several threads may fetch different
    names. `hosts` are `host` or `host:port`; nothing is sent to others, redirects included.

    ConfigError when the proxies or certificates of the environment cannot be used."""

    def __init__(self, folder: Path, hosts: Collection[str]) -> None:
        self.folder, self.hosts = folder, frozenset(host.lower() for host in hosts)
        self._closing, self._slots = threading.Event(), threading.Semaphore(MOST)
        try:
            self._client = httpx.Client(
                timeout=TIMEOUT,
                # Named hosts come before the environment's proxies; None is no proxy.
                mounts={f"all://{f'[{host}]' if ':' in host else host}": None for host in LOOPBACK},
                headers={"User-Agent": f"PocketVLM/{__version__}", "Accept-Encoding": "identity"},
                event_hooks={"response": [set_location_aside]},
            )
        except (ValueError, ImportError, OSError) as error:
            raise ConfigError(
                f"no connection can be set up ({error}): check ALL_PROXY, HTTPS_PROXY, HTTP_PROXY "
                "and SSL_CERT_FILE of the environment"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for _slot in range(MOST):  # until all have ended: closing a socket wakes no reader
            self._slots.acquire()
        self._client.close()
        self._slots.release(MOST)

    def fetch(
        self,
        url: str,
        name: str,
        *,
        size: int | None = None,
        md5: str | None = None,
        largest: int = LARGEST,
        tell: Tell = lambda have, size: None,
    ) -> Path:
        """`folder/name` once it is whole; a file that lies there already is taken as it is, unless
        `size` (bytes) or `md5` (hex) say otherwise, so a name must stand for one content.

        What has come is kept as `.name.part` and gone on with (Range, If-Range), in another run
        too. At most `largest` bytes are taken. DownloadError says why there is no file and whether
        that lasts; PocketError when the folder cannot be written."""
        order = Order(url, size, md5.lower() if md5 else None, largest, tell)
        if not is_name(name):
            raise order.refused(f"{name[:100]!r} is no name of a file")
        target = self.folder / name
        try:
            with self._slots:
                if not (target.is_file() and is_whole(target, size, order.md5)):
                    self.folder.mkdir(parents=True, exist_ok=True)
                    self._fetch(order, Part(self.folder, name, url)).move_to(target)
        except OSError as error:
            raise PocketError(
                f"{target} cannot be written ({error}): mend that and run the same command again"
            ) from None
        return target

    def _fetch(self, order: Order, part: Part) -> Part:
        """Try until the part is whole."""
        tries, furthest, wrong, pause = 0, part.have, False, 0.0
        while True:
            if self._closing.wait(pause):
                raise DownloadError(order.url, "stopped", lasting=False)
            try:
                self._receive(order, part)
                return part
            except Wrong as error:
                part.discard()
                if wrong:
                    raise order.refused(str(error)) from None
                wrong, pause = True, 0.0
            except (Trouble, httpx.TransportError) as error:
                if part.have >= furthest + WORTH:  # bounds the tries: `largest` holds few of them
                    tries, furthest = 0, part.have
                asked = error.pause if isinstance(error, Trouble) else 0.0
                if tries == len(PAUSES) or asked > LONGEST_PAUSE:
                    late = isinstance(error, httpx.TimeoutException)
                    reason = "no answer in time" if late else str(error)[:200] or "it was cut"
                    raise DownloadError(order.url, reason, lasting=False) from None
                pause = max(PAUSES[tries], asked)
                tries += 1

    def _receive(self, order: Order, part: Part) -> None:
        """One try: the rest of the part, or all of it where that is not to be had."""
        if not part.have or part.have != part.size:  # else it was killed after the last byte
            with self._answer(order, part.request_headers()) as answer:
                self._begin(order, part, answer)
                self._write(order, part, answer)
            if part.size is not None and part.have < part.size:
                raise Trouble("it ends too early")
        if not is_whole(part.path, order.size or part.size, order.md5 or part.known.get("md5")):
            raise Wrong("its content is not what was announced (size or MD5)")

    def _begin(self, order: Order, part: Part, answer: httpx.Response) -> None:
        """What status and headers of the answer mean for the part."""
        status = answer.status_code
        if status in BUSY or status >= 500:
            raise Trouble(f"status {status}", retry_after(answer.headers) or 0.0)
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise order.refused("it is sent compressed, which was not asked for")
        if part.have and (status == 416 or (status == 206 and not part.goes_on(answer.headers))):
            part.discard()
            raise Trouble("it has changed meanwhile")
        if status == 200:
            part.start(answer.headers)
        elif status != 206 or not part.have:
            raise order.refused(f"status {status}")
        size = part.size
        if size is not None and size > order.largest:
            part.discard()
            raise order.refused(f"{size:,} bytes are more than {order.largest:,}")
        if size is not None and order.size not in (None, size):
            raise Wrong(f"{size:,} bytes are announced instead of {order.size:,}")

    def _write(self, order: Order, part: Part, answer: httpx.Response) -> None:
        """The body, byte for byte as it comes: what a kill leaves is what was received."""
        most = order.largest if order.size is None else min(order.size, order.largest)
        begun, had = time.monotonic(), part.have
        with part.path.open("ab", buffering=0) as file:
            for chunk in answer.iter_raw():
                if part.have + len(chunk) > most:
                    part.discard()
                    raise order.refused(f"it sends more than {most:,} bytes")
                file.write(chunk)
                part.have += len(chunk)
                order.tell(part.have, part.size)
                took = time.monotonic() - begun
                if self._closing.is_set() or (took > LONG and part.have - had < SLOWEST * took):
                    raise Trouble("it sends too slowly")

    @contextmanager
    def _answer(self, order: Order, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """The answer behind all redirects, its body unread."""
        url = self._checked(order, order.url)
        for _ in range(REDIRECTS + 1):
            with self._client.stream("GET", url, headers=headers) as answer:
                if LOCATION not in answer.extensions:
                    yield answer
                    return
                url = self._checked(order, answer.extensions[LOCATION], url)
        raise order.refused(f"more than {REDIRECTS} redirects")

    def _checked(self, order: Order, text: str, before: httpx.URL | None = None) -> httpx.URL:
        """An address that may be asked; the client is given what was checked, not the text."""
        try:
            url = before.join(text) if before else httpx.URL(text)
        except (httpx.InvalidURL, ValueError):
            raise order.refused(f"{shown(text)!r} is no address") from None
        if url.scheme not in ("http", "https") or url.userinfo:
            raise order.refused("only plain http and https addresses are fetched")
        if before and (before.scheme, url.scheme) == ("https", "http"):
            raise order.refused("it leads from https to http")
        if url.netloc.decode() not in self.hosts:
            raise order.refused(f"the host {url.netloc.decode()!r} is not allowed")
        return url


def is_whole(path: Path, size: int | None, md5: str | None) -> bool:
    """Whether a file is as announced, as far as anything is."""
    if size is not None and path.stat().st_size != size:
        return False
    if md5 is None:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest() == md5


def is_name(name: str) -> bool:
    """Whether it names a file in a folder; a dot in front is kept for parts."""
    plain = name.isprintable() and "/" not in name and "\\" not in name
    return plain and name[:1] not in ("", ".") and len(name.encode()) <= 200


def place(address: str) -> httpx.URL | None:
    """An http address without name and password; None for any other."""
    try:
        url = httpx.URL(address)
        named = url.scheme in ("http", "https") and url.host  # decodes xn--, which may be none
    except (httpx.InvalidURL, ValueError):
        return None
    return url if named and not url.userinfo else None


def shown(url: str) -> str:
    """An address for people, without what may hold a key: query, name and password."""
    return re.sub(r"//[^/]*@", "//", re.split(r"[?#]|[^!-~]", url)[0])[:200]
