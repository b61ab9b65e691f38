"""A tracking server on this machine: as much of W&B's wire as a run's figures, files and tables
take. It can be told to fail, also in the middle of a run."""

import base64
import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal
from urllib.parse import unquote

from tests.loopback import Loopback

Mode = Literal["ok", "hang", "error", "garbage"]


class Wandb(Loopback):
    """Keeps what it was sent. A key other than `key` is refused with 401."""

    def __init__(self, key: str) -> None:
        class Bound(_Handler):
            server_state = self

        super().__init__(Bound)
        self.key = key
        self.mode: Mode = "ok"
        self.operations: list[str] = []
        """What was asked of it, in order: GraphQL operations, and paths."""
        self.history: dict[int, dict[str, Any]] = {}
        """Lines of the one run, by number: what a resent line replaces."""
        self.config: dict[str, Any] = {}
        self.runs: set[str] = set()
        self.files: dict[str, bytes] = {}
        self.exit_code: int | None = None

    def rows(self, figure: str) -> list[tuple[int, float]]:
        """(step, value) of one figure. Lines with an equal `_step`, W&B's own counter, are one: a
        sender that begins again numbers them as before."""
        with self.lock:
            lines = {line["_step"]: line for _, line in sorted(self.history.items())}
        return [(line["step"], line[figure]) for line in lines.values() if figure in line]


class _Handler(BaseHTTPRequestHandler):
    server_state: Wandb
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        """A sender that is ended resets its connections."""
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        """Any request."""
        state, body = self.server_state, self._body()
        with state.lock:
            graphql = json.loads(body) if self.path == "/graphql" else {}
            state.operations.append(graphql.get("operationName") or self.path)
        if state.mode == "hang":
            state.closing.wait()
            self.close_connection = True
        elif state.mode == "error":
            self._reply(500, {"errors": [{"message": "out of order"}]})
        elif state.mode == "garbage":
            self._reply(200, {"data": {}})
        elif self.path == "/graphql":
            self._graphql(graphql)
        else:
            with state.lock:
                self._stored(body)
            self._reply(200, {})

    do_POST = do_PUT = do_HEAD = do_GET

    def _graphql(self, graphql: dict[str, Any]) -> None:
        said = base64.b64decode(self.headers.get("authorization", "").removeprefix("Basic "))
        if said.decode() != f"api:{self.server_state.key}":
            self._reply(401, {"errors": [{"message": "user is not logged in"}]})
            return
        variables = graphql.get("variables") or {}
        with self.server_state.lock:
            answer = ANSWERS.get(graphql.get("operationName") or "Viewer", _nothing)
            data = answer(self.server_state, variables | variables.get("input", {}))
        self._reply(200, {"data": data})

    def _stored(self, body: bytes) -> None:
        state = self.server_state
        if not self.path.endswith("/file_stream"):
            state.files[unquote(self.path.removeprefix("/upload/"))] = body
            return
        sent = json.loads(body)
        if "exitcode" in sent:
            state.exit_code = sent["exitcode"]
        part = sent.get("files", {}).get("wandb-history.jsonl", {"offset": 0, "content": []})
        for number, line in enumerate(part["content"], part["offset"]):
            state.history[number] = json.loads(line)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
        else:
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body

    def _reply(self, status: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


Answer = Callable[[Wandb, dict[str, Any]], dict[str, Any]]
PROJECT = {"id": "p1", "name": "pocketvlm", "entity": {"id": "e1", "name": "me"}}


def _nothing(_: Wandb, __: dict[str, Any]) -> dict[str, Any]:
    return {}


def _viewer(_: Wandb, __: dict[str, Any]) -> dict[str, Any]:
    return {"viewer": {"id": "u1", "entity": "me", "username": "me", "teams": {"edges": []}}}


def _resume(state: Wandb, said: dict[str, Any]) -> dict[str, Any]:
    if said["name"] not in state.runs:
        return {"model": PROJECT | {"bucket": None}}
    last = [state.history[number] for number in sorted(state.history)[-1:]]
    bucket = {
        "id": "b1",
        "name": said["name"],
        "summaryMetrics": json.dumps(last[0] if last else {}),
        "displayName": said["name"],
        "logLineCount": 0,
        "historyLineCount": len(state.history),
        "eventsLineCount": 0,
        "historyTail": json.dumps([json.dumps(line) for line in last]),
        "eventsTail": "[]",
        "config": json.dumps(state.config),
        "tags": [],
        "notes": None,
        "wandbConfig": json.dumps({"t": {}}),  # a run that has begun
    }
    return {"model": PROJECT | {"bucket": bucket}}


def _upsert(state: Wandb, said: dict[str, Any]) -> dict[str, Any]:
    new = said["name"] not in state.runs
    state.runs.add(said["name"])
    state.config.update(json.loads(said["config"] or "{}"))
    bucket = {
        "id": "b1",
        "name": said["name"],
        "displayName": said["name"],
        "description": None,
        "config": json.dumps(state.config),
        "sweepName": None,
        "historyLineCount": len(state.history),
        "project": PROJECT,
    }
    return {"upsertBucket": {"bucket": bucket, "inserted": new}}


def _run_files(state: Wandb, said: dict[str, Any]) -> dict[str, Any]:
    files = [{"name": name, "uploadUrl": f"{state.url}/upload/{name}"} for name in said["files"]]
    return {"createRunFiles": {"runID": "b1", "uploadHeaders": [], "files": files}}


def _artifact(_: Wandb, said: dict[str, Any]) -> dict[str, Any]:
    artifact = {"id": "a1", "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
    return {"createArtifact": {"artifact": artifact}}


def _manifest(state: Wandb, said: dict[str, Any]) -> dict[str, Any]:
    file = {"id": "f1", "uploadUrl": f"{state.url}/upload/{said['name']}", "uploadHeaders": []}
    return {"createArtifactManifest": {"artifactManifest": {"id": "m1", "file": file}}}


def _updated_manifest(state: Wandb, said: dict[str, Any]) -> dict[str, Any]:
    file = {"id": "f1", "uploadUrl": f"{state.url}/upload/manifest", "uploadHeaders": []}
    return {"updateArtifactManifest": {"artifactManifest": {"id": "m1", "file": file}}}


def _artifact_files(state: Wandb, said: dict[str, Any]) -> dict[str, Any]:
    nodes = [
        {
            "storagePath": file["name"],
            "uploadUrl": f"{state.url}/upload/{file['name']}",
            "uploadHeaders": [],
            "uploadMultipartUrls": None,
            "artifact": {"id": "a1"},
        }
        for file in said["artifactFiles"]
    ]
    return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}


def _commit(_: Wandb, __: dict[str, Any]) -> dict[str, Any]:
    return {"commitArtifact": {"artifact": {"id": "a1", "digest": ""}}}


def _features(_: Wandb, __: dict[str, Any]) -> dict[str, Any]:
    return {"serverInfo": {"features": []}}


ANSWERS: dict[str, Answer] = {
    "Viewer": _viewer,
    "RunResumeStatus": _resume,
    "UpsertBucket": _upsert,
    "CreateRunFiles": _run_files,
    "CreateArtifact": _artifact,
    "CreateArtifactManifest": _manifest,
    "UpdateArtifactManifest": _updated_manifest,
    "CreateArtifactFiles": _artifact_files,
    "CommitArtifact": _commit,
    "ServerFeaturesQuery": _features,
}
