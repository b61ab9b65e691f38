"""The rule teacher behind the same OpenAI-compatible HTTP as a real one. It sees pixels only.

python -m pocketvlm.demo.teacher --port 8000
"""

import base64
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from pocketvlm.demo.rules import judge
from pocketvlm.demo.worker import become_worker
from pocketvlm.pictures import BROKEN, FORMATS
from pocketvlm.progress import say

MODEL = "rule-teacher"

NEAR = 0.15
"""Share of the second-best label from which it is named as the alternative."""

SPAWN = get_context("spawn")
"""How processes begin: a fork would copy the locks of torch's threads."""


class Server(ThreadingHTTPServer):
    """Loopback HTTP whose pictures are judged by `judges`: the rules are many small steps, so
    threads that judge together would only wait for each other."""

    def __init__(self, port: int, judges: Executor) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.judges = judges


class Handler(BaseHTTPRequestHandler):
    """POST /v1/chat/completions and GET /v1/models."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the body waits for the reader to confirm the headers

    def do_GET(self) -> None:
        """List the one model."""
        if self.path != "/v1/models":
            self._send(404, {"error": {"message": f"nothing answers at {self.path}"}})
            return
        self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self) -> None:
        """Judge the picture of a chat completion request."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal():
            self.close_connection = True  # where the next request begins is unknown
            self._send(400, {"error": {"message": "no picture that can be read: no length"}})
            return
        body = self.rfile.read(int(length))  # before any reply, or the next request begins with it
        if self.path != "/v1/chat/completions":
            self._send(404, {"error": {"message": f"nothing answers at {self.path}"}})
            return
        try:
            request = json.loads(body)
            picture = find_picture(request)
        except (*BROKEN, LookupError, AttributeError) as error:  # RecursionError is a RuntimeError
            self._send(400, {"error": {"message": f"no picture that can be read: {error}"}})
            return
        said = self.server.judges.submit(answer, picture).result()
        self._send(200, completion(request, json.dumps(said)))

    def log_message(self, format: str, *arguments: Any) -> None:
        """Stay silent: the labelling bar tells the progress."""

    def _send(self, status: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        with suppress(BrokenPipeError, ConnectionResetError):  # the client is gone
            self.end_headers()
            self.wfile.write(data)


def find_picture(request: dict[str, Any]) -> Image.Image:
    """The first data URL of a chat request; errors of any kind when there is none."""
    for part in request["messages"][-1]["content"]:
        if part["type"] == "image_url":
            data = part["image_url"]["url"].partition("base64,")[2]
            return Image.open(io.BytesIO(base64.b64decode(data)), formats=FORMATS).convert("RGB")
    raise ValueError("no image_url in the last message")


def answer(picture: Image.Image) -> dict[str, Any]:
    """What the rules say of a picture, in the order the prompt asks for."""
    judgement = judge(np.asarray(picture))
    second, share = judgement.alternative, judgement.scores[judgement.alternative]
    near = share >= NEAR
    return {
        "visual_features": judgement.visual_features,
        "colours": [judgement.colours],
        "texture": judgement.texture,
        "reason": judgement.reason,
        "ambiguity": f"the measures give {second} {share:.0%}" if near else None,
        "alternative": second if near else None,
        "confidence": round(judgement.confidence, 3),
        "label": judgement.label,
    }


def completion(request: dict[str, Any], content: str) -> dict[str, Any]:
    """A chat completion object; tokens are counted as words."""
    words_in, words_out = len(json.dumps(request["messages"])) // 400, len(content) // 4
    return {
        "id": f"chatcmpl-{time.time_ns()}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": content},
            }
        ],
        "usage": {
            "prompt_tokens": words_in,
            "completion_tokens": words_out,
            "total_tokens": words_in + words_out,
        },
    }


@contextmanager
def serve(port: int = 0) -> Iterator[str]:
    """Serve on loopback while the block runs; the value is the base URL.

    In processes of their own: rules and labelling would share one interpreter lock. OSError when
    the port cannot be had."""
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(there, port))
    process.start()
    there.close()
    try:
        answer = here.recv()
        if isinstance(answer, OSError):
            raise answer
        yield f"http://127.0.0.1:{answer}/v1"
    finally:
        here.close()
        process.join()


def _serve(parent: Connection, port: int) -> None:
    """Tell the parent the port, or why there is none, and serve until it closes the connection."""
    become_worker()
    with ProcessPoolExecutor(mp_context=SPAWN, initializer=become_worker) as judges:
        try:
            server = Server(port, judges)
        except OSError as error:
            parent.send(error)
            return
        parent.send(server.server_port)
        Thread(target=server.serve_forever, daemon=True).start()
        with suppress(EOFError):
            parent.recv()
        server.shutdown()


def main(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on loopback.")] = 8000,
) -> None:
    """Serve the rule teacher until interrupted."""
    try:
        with serve(port) as url:
            say(f"teacher.base_url: {url}   teacher.model: {MODEL}   (Ctrl-C stops)")
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        pass
    except OSError as error:
        say(f"error: port {port}: {error.strerror}; give another --port")
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
