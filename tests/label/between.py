"""What stands between a client and a teacher: it passes everything on, but for what a test wants to
happen instead, and remembers what came by."""

import http.client
import re
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from threading import Event
from typing import Any, Literal
from urllib.parse import urlsplit

from tests.loopback import Loopback

Instead = Literal[
    "hold",  # nothing reaches the teacher, nothing comes back
    "mute",  # it reaches the teacher, nothing comes back
    "cut",  # as hold, and the connection breaks
    "lose",  # as mute, and the connection breaks
    "half",  # as lose, after half the reply
]

Change = Callable[[bytes], bytes]
"""What becomes of the body of a reply."""


@dataclass
class Rule:
    """What happens to a request."""

    method: str
    path: str
    """Pattern of the path below the base URL."""
    what: Instead | int | Change
    """An int is the status of an error."""
    times: int
    headers: dict[str, str]
    body: str


class Between(Loopback):
    """A proxy on loopback before the teacher at `url`."""

    def __init__(self, url: str) -> None:
        self.teacher = urlsplit(url)
        self.rules: list[Rule] = []
        self.seen: list[tuple[str, str]] = []
        """Method and path below the base URL of every request, as they came."""
        self.bodies: dict[str, list[bytes]] = {}
        """What was posted, by path."""
        self.keys: set[str] = set()
        self.met = Event()
        """Set when a request is held or muted."""
        super().__init__(_handler(self))
        self.url += self.teacher.path

    def on(
        self,
        method: str,
        path: str,
        what: Instead | int | Change,
        times: int = 1,
        body: str = '{"error": {"message": "told to"}}',
        **headers: str,
    ) -> None:
        """Do something else with the next requests of that kind."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.rules.append(Rule(method, path, what, times, named, body))

    def count(self, method: str, path: str) -> int:
        """How many requests of a kind have come."""
        return sum(one == method and re.fullmatch(path, two) is not None for one, two in self.seen)

    def take(self, method: str, path: str, body: bytes, key: str) -> Rule | None:
        """Remember a request; what is to happen to it."""
        below = path.removeprefix(self.teacher.path).partition("?")[0]
        with self.lock:
            self.seen.append((method, below))
            self.keys.add(key)
            if method == "POST":
                self.bodies.setdefault(below, []).append(body)
            for rule in self.rules:
                if rule.times and rule.method == method and re.fullmatch(rule.path, below):
                    rule.times -= 1
                    return rule
        return None

    def ask(self, method: str, path: str, body: bytes, headers: Any) -> tuple[int, str, bytes]:
        """The teacher's reply: status, content type and body."""
        host = http.client.HTTPConnection(str(self.teacher.netloc), timeout=30)
        kept = {name: value for name, value in headers.items() if name.lower() != "host"}
        try:
            host.request(method, path, body, kept)
            reply = host.getresponse()
            return reply.status, reply.headers["content-type"], reply.read()
        finally:
            host.close()


def _handler(between: Between) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_one_request(self) -> None:
            with suppress(ConnectionError, OSError):  # the client was killed
                super().handle_one_request()

        def do_GET(self) -> None:
            self.pass_on()

        def do_POST(self) -> None:
            self.pass_on()

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            key = self.headers.get("Authorization") or ""
            rule = between.take(self.command, self.path, body, key)
            what = rule.what if rule else None
            if rule and isinstance(what, int):
                return self.reply(what, "application/json", rule.body.encode(), rule.headers)
            if what in ("hold", "cut"):
                return self.end(wait=what == "hold")
            answer = between.ask(self.command, self.path, body, self.headers)
            if what in ("mute", "lose"):
                return self.end(wait=what == "mute")
            status, kind, data = answer
            if callable(what):
                data = what(data)
                kind = "text/html" if data.startswith(b"<html") else kind
            self.reply(status, kind, data, {}, half=what == "half")

        def reply(
            self, status: int, kind: str, data: bytes, headers: dict[str, str], half: bool = False
        ) -> None:
            self.send_response(status)
            head = {"Content-Type": kind, "Content-Length": str(len(data))} | headers
            for name, value in head.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if half else data)
            if half:
                self.end(wait=False)

        def end(self, wait: bool) -> None:
            """Break the connection, once the test is over where it is to wait."""
            if wait:
                between.met.set()
                between.closing.wait(60)
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    return Handler
