"""A real HTTP server on loopback that lists models as OpenAI's API does, or refuses."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal

from tests.loopback import Loopback


class ModelsServer(Loopback):
    """Lists `models`; `asked` holds path and key of each request."""

    def __init__(self, *models: str) -> None:
        self.status, self.location = 200, ""
        self.body = json.dumps({"object": "list", "data": [{"id": name} for name in models]})
        self.instead: Literal["", "hang", "dribble"] = ""
        self.asked: list[tuple[str, str | None]] = []
        super().__init__(type("Handler", (_Handler,), {"server_": self}))
        self.url += "/v1"


class _Handler(BaseHTTPRequestHandler):
    server_: ModelsServer
    log_message: Callable[..., None] = lambda *_: None

    def do_GET(self) -> None:
        server = self.server_
        with server.lock:
            server.asked.append((self.path, self.headers["Authorization"]))
        if server.instead == "hang":
            server.closing.wait()
            return
        data = server.body.encode()
        self.send_response(server.status)
        headers: dict[str, Any] = {"Content-Length": len(data)}
        if server.location:
            headers["Location"] = server.location
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        if server.instead == "dribble":
            while not server.closing.wait(0.05):
                self.wfile.write(b" ")
            return
        self.wfile.write(data)
