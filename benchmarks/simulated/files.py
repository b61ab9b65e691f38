"""OpenAI's Files API."""

import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from simulated.loopback import Reply, Request, error, reply

MOST_BYTES = 200 << 20
"""OpenAI's limit of a batch's file."""


@dataclass(frozen=True)
class File:
    """One uploaded or made file."""

    id: str
    name: str
    purpose: str
    content: bytes
    created: float = field(default_factory=time.time)

    def describe(self) -> dict[str, Any]:
        """OpenAI's file object."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": int(self.created),
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


class Files:
    """All files of a server."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.numbers = count(1)

    def answer(self, method: str, rest: list[str], request: Request) -> Reply:
        """One request's reply; `rest` is the path below /v1/files."""
        match method, rest:
            case "POST", []:
                return self.upload(request)
            case "GET", []:
                return reply(page([file.describe() for file in self.files.values()], request.query))
            case _, [id, *_] if id not in self.files:
                return error(404, f"No such File object: {id}")
            case "GET", [id]:
                return reply(self.files[id].describe())
            case "GET", [id, "content"]:
                octets = {"content-type": "application/octet-stream"}
                return Reply(200, self.files[id].content, octets)
            case "DELETE", [id]:
                del self.files[id]
                return reply({"id": id, "object": "file", "deleted": True})
        return error(404, f"nothing answers at {request.path}")

    def upload(self, request: Request) -> Reply:
        """Keep a file."""
        try:
            purpose, name, content = read_form(request)
        except ValueError:
            return error(400, "no multipart form with a purpose and a file")
        if len(content) > MOST_BYTES:
            return error(413, f"the file exceeds {MOST_BYTES} bytes")
        return reply(self.keep(name, purpose, content).describe())

    def keep(self, name: str, purpose: str, content: bytes) -> File:
        """A new file."""
        file = File(f"file-{next(self.numbers):06}", name, purpose, content)
        self.files[file.id] = file
        return file


def page(told: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    """A part of a list, the newest first: `limit` of what comes behind `after`."""
    newest = told[::-1]
    start = 0
    if after := query.get("after"):
        start = 1 + next((at for at, one in enumerate(newest) if one["id"] == after), len(newest))
    stop = start + int(query.get("limit", 20))
    data = newest[start:stop]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": stop < len(newest),
    }


def read_form(request: Request) -> tuple[str, str, bytes]:
    """Purpose, file name and content of an upload; ValueError when a part is missing."""
    _, found, boundary = request.header("content-type").partition("boundary=")
    if not found:
        raise ValueError("no form")
    purpose, name, content = "", "", b""
    for part in request.body.split(b"--" + boundary.strip('"').encode())[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        value = value.removesuffix(b"\r\n")
        if b'name="purpose"' in head:
            purpose = value.decode()
        elif b'name="file"' in head:
            name = head.partition(b'filename="')[2].partition(b'"')[0].decode() or "upload"
            content = value
    if not purpose or not name:
        raise ValueError("a part is missing")
    return purpose, name, content
