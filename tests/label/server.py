"""A real HTTP server on loopback that gives queued replies and remembers what it was asked."""

import json
import socket
import struct
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal

from tests.loopback import Loopback

GOOD = {
    "visual_features": ["waves"],
    "colours": ["blue"],
    "texture": "smooth",
    "reason": "It shows a lake.",
    "ambiguity": "There is a shore.",
    "alternative": "land",
    "confidence": 0.9,
    "label": "water",
}


@dataclass(frozen=True)
class Reply:
    """One HTTP reply, or what happens instead."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    instead: Literal["", "hang", "cut", "half", "dribble", "raw"] = ""
    """`raw`: the body is all that is sent, status line and headers too; the connection is kept."""


def says(content: str | None, finish: str = "stop", **message: Any) -> Reply:
    """A chat completion whose assistant says `content`."""
    choice = {"index": 0, "finish_reason": finish, "message": {"content": content} | message}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    return Reply(body=json.dumps({"choices": [choice], "usage": usage}))


def answer(**changed: Any) -> Reply:
    """A good answer with some fields changed."""
    return says(json.dumps(GOOD | changed))


def refusal(status: int, message: str, code: str = "", **headers: str) -> Reply:
    """An error status with OpenAI's error object."""
    body = json.dumps({"error": {"message": message, "code": code or None}})
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def unsupported(parameter: str) -> Reply:
    """How OpenAI refuses a parameter that the model does not take."""
    error = {"message": f"Unsupported: {parameter!r}", "param": parameter, "code": "unsupported"}
    return Reply(400, json.dumps({"error": error}))


def busy(status: int) -> Reply:
    """An error that asks for another try at once, so that tests are fast."""
    return refusal(status, "busy", retry_after_ms="1")


class Server(Loopback):
    """Gives `queue` reply by reply, then `usual` for ever; `asked` holds the requests."""

    def __init__(self) -> None:
        self.queue: deque[Reply] = deque()
        self.usual = answer()
        self.delay = 0.0
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.times: list[float] = []
        self.busiest = self.inside = 0
        super().__init__(_handler(self))
        self.url += "/v1"

    def images(self) -> list[str]:
        """The data URLs that came, in order."""
        return [request["messages"][0]["content"][1]["image_url"]["url"] for request in self.asked]

    def take(self, request: dict[str, Any], key: str) -> Reply:
        """Remember a request and choose its reply."""
        with self.lock:
            self.asked.append(request)
            self.keys.append(key)
            self.times.append(time.monotonic())
            self.inside += 1
            self.busiest = max(self.busiest, self.inside)
            reply = self.queue.popleft() if self.queue else self.usual
        time.sleep(self.delay)
        with self.lock:
            self.inside -= 1
        return reply


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = server.take(request, self.headers["Authorization"])
            if reply.instead == "hang":
                server.closing.wait(30)
            if reply.instead in ("hang", "cut"):
                self._cut()
                return
            data = reply.body.encode()
            if reply.instead == "raw":
                self.wfile.write(data)
                return
            self.send_response(reply.status)
            headers = {"Content-Type": "application/json"} | reply.headers
            for name, value in (headers | {"Content-Length": str(len(data))}).items():
                self.send_header(name, value)
            with suppress(BrokenPipeError, ConnectionResetError):  # the client was killed
                self.end_headers()
                if reply.instead == "dribble":
                    self._dribble(data)
                self.wfile.write(data[: len(data) // 2] if reply.instead else data)
            self.close_connection = bool(reply.instead)

        def _dribble(self, data: bytes) -> None:
            """A byte now and then: every read succeeds, and the reply never ends."""
            for byte in data:
                self.wfile.write(bytes([byte]))
                if server.closing.wait(0.1):
                    return

        def _cut(self) -> None:
            """Half a header, then a reset connection."""
            self.wfile.write(b"HTTP/1.1 200 O")
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    return Handler
