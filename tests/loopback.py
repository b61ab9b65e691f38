"""What the tests' servers have in common: a real HTTP server on this machine while a block runs."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Self


class Loopback:
    """Serves each request in a thread of its own. Context manager."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self.lock, self.closing = Lock(), Event()
        """`closing` is set when the block ends: a handler that waits must watch it."""
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.host = f"127.0.0.1:{self.http.server_port}"
        self.url = f"http://{self.host}"

    def __enter__(self) -> Self:
        Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()
