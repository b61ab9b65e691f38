"""The rule teacher behind the same OpenAI-compatible HTTP as a real one. It sees pixels only.

python -m pocketvlm.demo.teacher --port 8000
"""

import base64
import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from pocketvlm.demo.rules import judge
from pocketvlm.progress import say

MODEL = "rule-teacher"


class Handler(BaseHTTPRequestHandler):
    """POST /v1/chat/completions and GET /v1/models."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """List the one model."""
        self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self) -> None:
        """Judge the picture of a chat completion request."""
        if self.path != "/v1/chat/completions":
            self._send(404, {"error": {"message": f"nothing answers at {self.path}"}})
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            request = json.loads(body)
            picture = find_picture(request)
        except (ValueError, LookupError, TypeError, OSError) as error:
            self._send(400, {"error": {"message": f"no picture that can be read: {error}"}})
            return
        self._send(200, completion(request, json.dumps(answer(picture))))

    def log_message(self, format: str, *arguments: Any) -> None:
        """Stay silent: the labelling bar tells the progress."""

    def _send(self, status: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def find_picture(request: dict[str, Any]) -> Image.Image:
    """The first data URL of a chat request; ValueError when there is none."""
    for part in request["messages"][-1]["content"]:
        if part["type"] == "image_url":
            data = part["image_url"]["url"].partition("base64,")[2]
            return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    raise ValueError("no image_url in the last message")


def answer(picture: Image.Image) -> dict[str, Any]:
    """What the rules say of a picture, in the order the prompt asks for."""
    judgement = judge(np.asarray(picture))
    return {
        "visual_features": judgement.visual_features,
        "colours": [judgement.colours],
        "texture": judgement.texture,
        "reason": judgement.reason,
        "alternative": judgement.alternative,
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
    """Serve on loopback while the block runs; the value is the base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main(port: Annotated[int, typer.Option(help="Port on loopback.")] = 8000) -> None:
    """Serve the rule teacher until interrupted."""
    with serve(port) as url:
        say(f"teacher.base_url: {url}   teacher.model: {MODEL}   (Ctrl-C stops)")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    typer.run(main)
