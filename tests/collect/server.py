"""A real HTTP server on loopback that gives files, with ranges and with the faults of the world."""

import hashlib
import re
import socket
import ssl
from collections import Counter, defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal

import pytest

from pocketvlm.collect import download
from tests.loopback import Loopback

BLOCK = bytes(1 << 14)

CERTIFICATES = ssl.create_default_context()


def quick(monkeypatch: pytest.MonkeyPatch, pauses: int) -> None:
    """So many further tries without a pause, save those that a server asks for; and certificates,
    which plain HTTP does not use and every client reads, are read once."""
    monkeypatch.setattr(download, "PAUSES", (0.0,) * pauses)
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: CERTIFICATES)


@dataclass(frozen=True)
class Reply:
    """One answer. Without a body it is the file's, as asked for."""

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """Besides those of the file, or instead; an empty value leaves one out."""
    stop: int | None = None
    """Bytes of the body after which `then` happens."""
    then: Literal["cut", "hang", "drip", "endless"] = "cut"
    """The connection ends; or is held open without a byte; or a byte comes now and then; or
    bytes come as long as somebody reads them."""
    ranges: bool = True
    """Whether a Range of the request is heeded."""


@dataclass(frozen=True)
class Asked:
    """A request: path with query, and headers."""

    target: str
    headers: dict[str, str]
    """Names in lower case."""


class Files(Loopback):
    """Gives the `planted` replies of a path one by one, then the file in `files` for ever, or
    404. Context manager."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        """Path -> content."""
        self.headers: dict[str, str] = {}
        """Of every reply."""
        self.planted: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self.asked: list[Asked] = []
        self.sent: Counter[str] = Counter()
        """Path -> bytes of bodies that were sent."""
        super().__init__(_handler(self))

    def plant(self, path: str, *replies: Reply) -> None:
        """The next answers of a path."""
        self.planted[path].extend(replies)

    def ranges(self, path: str) -> list[str | None]:
        """The Range header of each request of a path."""
        wanted = [asked for asked in self.asked if asked.target.split("?")[0] == path]
        return [asked.headers.get("range") for asked in wanted]

    def take(self, target: str, headers: dict[str, str]) -> tuple[Reply, bytes, dict[str, str]]:
        """Remember a request; its reply, the bytes of the body and all headers."""
        path = target.split("?")[0]
        with self.lock:
            self.asked.append(Asked(target, headers))
            planted = self.planted[path]
            reply = planted.popleft() if planted else Reply(200 if path in self.files else 404)
        data = self.files.get(path, b"") if reply.body is None else reply.body
        etag = f'"{hashlib.sha1(data).hexdigest()}"'
        own = {"ETag": etag, "Accept-Ranges": "bytes"} | self.headers | reply.headers
        same = headers.get("if-range") in (None, own["ETag"], own.get("Last-Modified"))
        if reply.status == 200 and reply.ranges and same:
            reply, data, more = part_of(reply, data, headers.get("range", ""))
            own = more | own
        own = {"Content-Length": str(len(data))} | own
        return reply, data, {name: value for name, value in own.items() if value}


def part_of(reply: Reply, data: bytes, asked: str) -> tuple[Reply, bytes, dict[str, str]]:
    """What a request for the rest of a file gets."""
    found = re.fullmatch(r"bytes=(\d+)-", asked)
    if not found:
        return reply, data, {}
    first = int(found[1])
    if first >= len(data):
        return Reply(416), b"", {"Content-Range": f"bytes */{len(data)}"}
    span = {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
    return Reply(206, stop=reply.stop, then=reply.then), data[first:], span


def _handler(server: Files) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle(self) -> None:
            with suppress(ConnectionResetError):  # a client that went with bytes unread
                super().handle()

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply, data, own = server.take(self.path, headers)
            self.send_response_only(reply.status)
            for name, value in own.items():
                self.send_header(name, value)
            with suppress(BrokenPipeError, ConnectionResetError):  # the client was killed
                self.end_headers()
                self._send(data[: reply.stop])
                if reply.stop is not None:
                    self.close_connection = True
                    getattr(self, f"_{reply.then}")()

        def _send(self, data: bytes) -> None:
            with server.lock:
                server.sent[self.path.split("?")[0]] += len(data)
            self.wfile.write(data)

        def _hang(self) -> None:
            server.closing.wait(30)

        def _drip(self) -> None:
            while not server.closing.wait(0.01):
                self._send(b"x")

        def _endless(self) -> None:
            while not server.closing.is_set():
                self._send(BLOCK)

        def _cut(self) -> None:
            """An orderly end: after a reset, what was sent might not be read."""
            self.connection.shutdown(socket.SHUT_WR)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    return Handler
