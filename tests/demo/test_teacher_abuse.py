"""Requests that are no requests: the rule teacher refuses them and goes on."""

import base64
import io
import json
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from PIL import Image

from pocketvlm.demo.teacher import serve

PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serve() as url:
        yield int(url.split(":")[2].split("/")[0])


def request(image_url: object) -> bytes:
    """A chat request with this `image_url`."""
    content = [{"type": "image_url", "image_url": image_url}]
    return json.dumps({"messages": [{"role": "user", "content": content}]}).encode()


def picture(data: bytes) -> dict[str, str]:
    """A file as data URL."""
    return {"url": "data:image/png;base64," + base64.b64encode(data).decode()}


def png(width: int, height: int) -> bytes:
    """A black picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def bomb() -> bytes:
    """A header of 30000x30000 pixels with next to nothing behind it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999)))
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")


def ask(
    connection: HTTPConnection, body: bytes, path: str = PATH, **headers: str
) -> tuple[int, Any]:
    """Status and JSON of one POST on an open connection."""
    connection.request(
        "POST", path, body, {name.replace("_", "-"): headers[name] for name in headers}
    )
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b'"messages"',
        b"[" * 100_000,
        request(None),
        request("data:image/png;base64,AAAA"),
        request({"url": None}),
        request({"url": 5}),
        request(picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")),
        request(picture(bomb())),
        request(picture(png(64, 64)[:50])),
    ],
)
def test_bad_requests_get_400_and_the_connection_lives_on(port: int, body: bytes) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    status, said = ask(connection, body)
    assert status == 400
    assert "no picture that can be read" in said["error"]["message"]
    assert ask(connection, request(picture(png(64, 64))))[0] == 200


@pytest.mark.parametrize("length", ["abc", "-1", ""])
def test_a_length_that_is_none_is_refused(port: int, length: str) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    assert ask(connection, b"", Content_Length=length)[0] == 400


def test_an_unknown_address_does_not_spoil_the_connection(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    assert ask(connection, request(picture(png(64, 64))), "/v1/completions")[0] == 404
    assert ask(connection, request(picture(png(64, 64))))[0] == 200


def test_only_the_models_are_listed(port: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/v1/elsewhere")
    assert connection.getresponse().status == 404


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 2)])
def test_the_smallest_pictures_are_judged(port: int, size: tuple[int, int]) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    assert ask(connection, request(picture(png(*size))))[0] == 200


def test_a_client_that_goes_away_leaves_no_traceback(
    port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    body = request(picture(png(64, 64)))
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as client:
            linger = struct.pack("ii", 1, 0)  # closing resets the connection
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            head = f"POST {PATH} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    for _ in range(3):  # the others are served by then
        assert ask(connection, body)[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_a_port_in_use_is_one_line(port: int) -> None:
    command = [sys.executable, "-m", "pocketvlm.demo.teacher", "--port", str(port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(port) in done.stderr
