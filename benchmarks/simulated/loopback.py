"""HTTP/1.1 on loopback in a process of its own: what the benchmarks' teachers are built on.

In the process that measures they would share its interpreter lock. The standard library only, and
no more of HTTP than OpenAI's client uses: kept connections, bodies with Content-Length.
"""

import asyncio
import json
import signal
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import parse_qsl, urlsplit

SPAWN = get_context("spawn")
"""How the process begins: a fork would copy the locks of torch's threads."""

BUFFER = 4 << 20
"""Bytes of a connection that are taken in before its client must wait: a whole picture, or large
bodies would stop and go."""

WAITING = 1024
"""Connections that may wait to be taken: a client with many calls in flight opens all at once."""

GONE = (ConnectionError, asyncio.IncompleteReadError)
"""How a client that went away looks like."""


@dataclass(frozen=True)
class Request:
    """What a client asks."""

    method: str
    path: str
    query: dict[str, str]
    head: bytes
    """Request line and headers as they came."""
    body: bytes

    def header(self, name: str) -> str:
        """One header's value; empty where it is missing."""
        line = b"\r\n" + name.encode() + b":"
        at = self.head.lower().find(line)
        return self.head[at + len(line) :].split(b"\r\n", 1)[0].strip().decode() if at >= 0 else ""


@dataclass(frozen=True)
class Reply:
    """What it gets."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """Send half of it, then reset the connection."""
    tell: Callable[[bool], None] | None = None
    """Called once, with whether all of it was handed to a client that was still there."""


Answerer = Callable[[Request], Awaitable[Reply]]


def reply(value: object, status: int = 200, **headers: str) -> Reply:
    """A JSON reply."""
    return Reply(status, json.dumps(value).encode(), headers)


def error(status: int, message: str, kind: str = "", code: str | None = None) -> Reply:
    """An error in OpenAI's form."""
    kind = kind or ("invalid_request_error" if status < 500 else "server_error")
    told = {"message": message, "type": kind, "param": None, "code": code}
    return reply({"error": told}, status)


async def converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answerer
) -> None:
    """Answer one connection's requests in turn, until it ends."""
    try:
        with suppress(*GONE):
            while request := await read(reader):
                said = await answer(request)
                done = False
                try:
                    done = not reader.at_eof() and await send(writer, said)
                finally:
                    if said.tell:
                        said.tell(done)
                if not done:
                    break
    finally:
        writer.close()


async def read(reader: asyncio.StreamReader) -> Request | None:
    """The next request; None when the client has no more."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    address = urlsplit(target)
    request = Request(method, address.path, dict(parse_qsl(address.query)), head, b"")
    length = request.header("content-length")
    return replace(request, body=await reader.readexactly(int(length))) if length else request


async def send(writer: asyncio.StreamWriter, said: Reply) -> bool:
    """Write a reply; whether all of it went out."""
    lines = [f"HTTP/1.1 {said.status} {HTTPStatus(said.status).phrase}"]
    headers = {"content-type": "application/json"} | said.headers
    headers["content-length"] = str(len(said.body))
    lines += [f"{name}: {value}" for name, value in headers.items()]
    data = "\r\n".join([*lines, "", ""]).encode() + said.body
    writer.write(data[: len(data) // 2] if said.cut else data)
    await writer.drain()
    if said.cut:
        writer.transport.abort()
    return not said.cut and not writer.is_closing()


@contextmanager
def serve(build: Callable[[], Answerer]) -> Iterator[str]:
    """Serve what `build` makes, in a process of its own, while the block runs; the value is the
    address. `build` must be picklable: a function or class of a module, or a partial of one."""
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=_process, args=(there, build), daemon=True)
    process.start()
    there.close()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        here.close()
        process.join()


def _process(parent: Connection, build: Callable[[], Answerer]) -> None:
    """Serve until the parent closes its end, or is killed; Ctrl-C is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_serve(parent, build()))


async def _serve(parent: Connection, answer: Answerer) -> None:
    loop, closed = asyncio.get_running_loop(), asyncio.Event()
    talks: set[asyncio.Task[None]] = set()

    def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = loop.create_task(converse(reader, writer, answer))
        talks.add(talk)
        talk.add_done_callback(talks.discard)

    server = await asyncio.start_server(meet, "127.0.0.1", limit=BUFFER, backlog=WAITING)
    loop.add_reader(parent.fileno(), closed.set)
    parent.send(server.sockets[0].getsockname()[1])
    await closed.wait()
    server.close()
    for talk in talks:  # clients that keep their connections; Python 3.11 would complain of them
        talk.cancel()
    await asyncio.gather(*talks, return_exceptions=True)


def fetch(address: str) -> Any:
    """The JSON at an address on loopback, past any proxy of the environment."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=60) as told:
        return json.load(told)
