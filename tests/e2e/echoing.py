"""A teacher that demands the right key of each model, and tells it back wherever it can."""

import base64
import io
import json
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from PIL import Image, ImageStat

from tests.label.server import says
from tests.loopback import Loopback


@dataclass(frozen=True)
class Echo:
    """One reply."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)
    reason: str = "as it is"
    raw: bool = False
    """The body is all that is sent: no HTTP that a client can read."""


def error(status: int, message: str, **headers: str) -> Echo:
    """OpenAI's error object."""
    body = json.dumps({"error": {"message": message, "code": None}})
    return Echo(status, body, {name.replace("_", "-"): text for name, text in headers.items()})


def label_of(picture: str) -> str:
    """Blue is sky, anything else grass."""
    data = base64.b64decode(picture.partition("base64,")[2])
    mean = ImageStat.Stat(Image.open(io.BytesIO(data)).convert("RGB")).mean
    return "sky" if mean[2] > mean[1] else "grass"


def answer(picture: str, confidence: float, **changed: Any) -> Echo:
    """A good answer."""
    said: dict[str, Any] = {"visual_features": ["one colour"], "colours": ["its own"]}
    said |= {"texture": "noise", "reason": "It is of one colour.", "ambiguity": None}
    said |= {"alternative": None, "confidence": confidence, "label": label_of(picture)}
    return Echo(200, says(json.dumps(said | changed)).body)


def echoes(key: str, picture: str) -> list[Echo]:
    """Every way in which a server has told a key back, and some more."""
    spelt = key.replace("/", r"\/").replace("+", r"\u002B")
    return [
        answer(picture, 0.9),  # from then on a 403 is about a picture
        error(500, f"Bearer {key}", x_request_id=key, retry_after_ms="1"),
        error(429, key, x_ratelimit_limit_requests=key, x_ratelimit_reset=key, retry_after_ms="1"),
        Echo(500, f"{{'{key}", {"retry-after-ms": "1", "set-cookie": f"key={key}"}, reason=key),
        Echo(503, f'{{"error": {{"message": "{spelt}"}}}}', {"retry-after-ms": "1"}),
        Echo(200, key, raw=True),
        Echo(200, f"HTTP/1.1 200 OK\r\n{key}\r\n\r\n", raw=True),
        Echo(200, "{}", {"content-type": f"application/json; charset={key}"}),
        Echo(200, key, {"content-encoding": "gzip"}),
        Echo(307, key, {"location": f"http://127.0.0.1:9/{key}?key={key}"}),
        error(403, f"not with {key}"),
        Echo(200, f"<html>Authorization: Bearer {key}"),
        Echo(200, f'{{"error": {{"message": "{spelt}"}}}}'),
        Echo(200, says(f"I was sent {key}").body),
        Echo(200, says(None, refusal=f"I was sent {key}").body),
        answer(picture, 0.9, reason=f"The header says {key}", visual_features=[key]),
        Echo(200, answer(picture, 0.9, reason=f"it says {key}").body.replace("/", r"\\/")),
    ]


class Teacher(Loopback):
    """`keys`: the key of each model. `refuses`: methods that no key opens."""

    def __init__(self, keys: dict[str, str]) -> None:
        self.keys = keys
        self.refuses: set[str] = set()
        self.left: dict[str, deque[Echo]] = {}
        """What is still to be told back, by model, once it was asked."""
        super().__init__(type("Handler", (_Handler,), {"teacher": self}))

    def models(self, sent: str) -> Echo:
        """What GET /v1/models is answered."""
        if "GET" in self.refuses or sent.removeprefix("Bearer ") not in self.keys.values():
            return refused(sent)
        return Echo(200, json.dumps({"object": "list", "data": [{"id": m} for m in self.keys]}))

    def reply(self, request: dict[str, Any], sent: str) -> Echo:
        """What a question is answered."""
        model = request["model"]
        key = self.keys[model]
        picture = request["messages"][0]["content"][1]["image_url"]["url"]
        if "POST" in self.refuses or sent != f"Bearer {key}":
            return refused(sent)
        with self.lock:
            echo = self.left.setdefault(model, deque(echoes(key, picture)))
            unsure = 0.6 if model == "cheap" else 0.9  # the other one is asked too
            return echo.popleft() if echo else answer(picture, unsure)


def refused(sent: str) -> Echo:
    """A wrong key, told back."""
    return error(401, f"Incorrect API key provided: {sent}", www_authenticate=sent)


class _Handler(BaseHTTPRequestHandler):
    teacher: Teacher
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._send(self.teacher.models(self.headers.get("Authorization", "")))

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._send(self.teacher.reply(request, self.headers.get("Authorization", "")))

    def _send(self, echo: Echo) -> None:
        data = echo.body.encode()
        with suppress(BrokenPipeError, ConnectionResetError):
            if echo.raw:
                self.wfile.write(data)
                self.close_connection = True
                return
            self.send_response(echo.status, echo.reason)
            sent = {"content-type": "application/json", "content-length": str(len(data))}
            for name, value in (sent | echo.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass
