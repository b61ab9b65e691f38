"""A real HTTP server on loopback that speaks Unsplash's API, counts as it counts, and has faults.

Shapes as in https://unsplash.com/documentation#search-photos and #track-a-photo-download."""

import io
import json
import re
import socket
import struct
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from PIL import Image

from pocketvlm.workspace import Row
from tests.loopback import Loopback

KEY = "a-secret-access-key-that-nobody-may-read"

Kind = Literal["search", "report", "picture"]


@dataclass(frozen=True)
class Fault:
    """What comes instead of an answer; `cut` is a reset connection in the middle of it."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    counted: bool = True
    """Whether the limit's headers are sent."""


class Server(Loopback):
    """Searches find `photos[query]`; `faults[kind]` come first. `asked` holds the kind and the
    subject of every request that had the key or needs none; `reports` counts photographs."""

    def __init__(self, limit: int = 5000, window: float = 3600.0) -> None:
        self.limit, self.window = limit, window
        self.photos: dict[str, list[Row]] = {}
        self.faults: dict[Kind, deque[Fault]] = {
            kind: deque() for kind in ("search", "report", "picture")
        }
        self.asked: list[tuple[Kind, str]] = []
        self.queries: list[dict[str, str]] = []
        self.reports: Counter[str] = Counter()
        self.refused = 0
        self.picture_headers: list[dict[str, str]] = []
        self.picture_paths: list[str] = []
        self.before_answer: Callable[[], None] = lambda: None
        """Called when a request is counted and not yet answered."""
        self.begun, self.used = 0.0, 0
        super().__init__(_handler(self))

    def add(self, query: str, *ids: str, **changed: Any) -> None:
        """Let a search find photographs, with some fields changed."""
        self.photos.setdefault(query, []).extend(self.photo(one) | changed for one in ids)

    def photo(self, name: str) -> Row:
        """A photograph as the API describes it."""
        return {
            "id": name,
            "width": 4000,
            "height": 3000,
            "user": {"name": f"Åsa {name}", "links": {"html": "https://unsplash.com/@asa"}},
            "urls": {"raw": f"{self.url}/picture/{name}?ixid=M3w"},
            "links": {
                "html": f"https://unsplash.com/photos/{name}",
                "download_location": f"{self.url}/photos/{name}/download?ixid=M3w",
            },
        }

    def count(self, kind: Kind) -> int:
        """Requests of one kind."""
        return sum(one == kind for one, _ in self.asked)

    def admit(self) -> dict[str, str] | None:
        """The limit's headers; None when the hour's requests are used up. An hour begins with the
        first request after the last one."""
        now = time.time()
        if now >= self.begun + self.window:
            self.begun, self.used = now, 0
        if self.used >= self.limit:
            self.refused += 1
            return None
        self.used += 1
        return limits(self.limit, self.limit - self.used)

    def answer(self, path: str, headers: dict[str, str]) -> Fault:
        """What a GET is answered."""
        parts = urlsplit(path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        with self.lock:
            if parts.path.startswith("/picture/"):
                name = parts.path.removeprefix("/picture/")
                self.asked.append(("picture", name))
                self.picture_headers.append(headers)
                self.picture_paths.append(path)
                return self.faults["picture"].popleft() if self.faults["picture"] else PICTURE
            if headers.get("Authorization") != f"Client-ID {KEY}":
                return Fault(401, json.dumps({"errors": ["OAuth error: The token is invalid"]}))
            admitted = self.admit()
            if admitted is None:
                return Fault(403, "Rate Limit Exceeded", limits(self.limit, 0))
            report = re.fullmatch(r"/photos/(.+)/download", parts.path)
            kind: Kind = "report" if report else "search"
            self.asked.append((kind, report[1] if report else asked["query"]))
            if report:
                self.reports[report[1]] += 1
            else:
                self.queries.append(asked)
            if self.faults[kind]:
                fault = self.faults[kind].popleft()
                headers = admitted | fault.headers if fault.counted else fault.headers
                return Fault(fault.status, fault.body, headers, fault.cut)
        body = {"url": f"{self.url}/picture/{report[1]}"} if report else self.found(asked)
        return Fault(200, json.dumps(body), admitted)

    def found(self, asked: dict[str, str]) -> Row:
        """One page of a search."""
        photos, size = self.photos.get(asked["query"], []), int(asked["per_page"])
        start = (int(asked["page"]) - 1) * size
        pages = -(-len(photos) // size)
        return {
            "total": len(photos),
            "total_pages": pages,
            "results": photos[start : start + size],
        }


PICTURE = Fault(body="a picture")


def limits(limit: int, remaining: int) -> dict[str, str]:
    """The headers that state a limit."""
    return {"X-Ratelimit-Limit": str(limit), "X-Ratelimit-Remaining": str(remaining)}


def jpeg(name: str, width: int) -> bytes:
    """A picture that its name decides."""
    shade = zlib.crc32(name.encode())
    buffer = io.BytesIO()
    colour = (shade & 255, shade >> 8 & 255, shade >> 16 & 255)
    Image.new("RGB", (width, width * 3 // 4), colour).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            answer = server.answer(self.path, dict(self.headers))
            server.before_answer()
            data = answer.body.encode()
            if answer is PICTURE:
                name = urlsplit(self.path).path.removeprefix("/picture/")
                data = jpeg(name, int(parse_qs(urlsplit(self.path).query)["w"][0]))
            with suppress(BrokenPipeError, ConnectionResetError):  # the client was killed
                if answer.cut:
                    self._cut()
                    return
                self.send_response(answer.status)
                for name, value in (answer.headers | {"Content-Length": str(len(data))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        def _cut(self) -> None:
            """Half a header, then a reset connection."""
            self.wfile.write(b"HTTP/1.1 200 O")
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True

        def handle(self) -> None:
            with suppress(ConnectionResetError):  # the client was killed between two requests
                super().handle()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    return Handler
