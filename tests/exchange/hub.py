"""A real HTTP server on loopback that speaks as much of the Hub's API as reading a data set, and
pushing one or a model, takes (https://huggingface.co/docs/hub/api), and remembers what it was
asked."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.loopback import Loopback

TOKEN = "hf_right_token_of_the_test"


@dataclass
class Repo:
    """A repository of a data set or a model."""

    files: dict[str, bytes] = field(default_factory=dict)
    kind: str = "dataset"
    private: bool = False
    gated: bool = False
    card: dict[str, Any] | None = None
    commits: list[list[dict[str, Any]]] = field(default_factory=list)
    """The operations of each commit that was pushed."""

    @property
    def place(self) -> str:
        """What stands before its id in an address."""
        return "datasets/" if self.kind == "dataset" else ""

    @property
    def sha(self) -> str:
        """The present commit: of the content, so that equal content is the same."""
        parts = [f"{path}:{oid(data)}" for path, data in sorted(self.files.items())]
        return hashlib.sha1("\n".join(parts).encode()).hexdigest()

    def info(self, name: str) -> dict[str, Any]:
        """What /api/datasets/<id> or /api/models/<id> says."""
        return {
            "id": name,
            "sha": self.sha,
            "private": self.private,
            "gated": "manual" if self.gated else False,
            "siblings": [{"rfilename": path} for path in self.files],
            "cardData": self.card,
            "tags": [],
        }

    def tree(self, under: str) -> list[dict[str, Any]]:
        """The files and folders below a folder."""
        start = f"{under}/" if under else ""
        paths = [path for path in self.files if path.startswith(start)]
        folders = {"/".join(p.split("/")[:n]) for p in paths for n in range(1, p.count("/") + 1)}
        found = [{"type": "directory", "path": p, "oid": "0" * 40, "size": 0} for p in folders]
        return [*found, *map(self.entry, paths)]

    def entry(self, path: str) -> dict[str, Any]:
        """One file as the API describes it."""
        data = self.files[path]
        return {"type": "file", "path": path, "oid": oid(data), "size": len(data)}


def oid(data: bytes) -> str:
    """The id of a git blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class FakeHub(Loopback):
    """The server while the block runs."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        """Method, path and Range of every request."""
        self.before: Callable[[str, str], int | None] = lambda method, path: None
        """Called before each answer: a number cuts a file's body off after so many bytes, and a
        negative one is a status instead (-503)."""
        super().__init__(type("Handler", (_Handler,), {"hub": self}))

    def count(self, method: str, part: str) -> int:
        """Requests of a method whose path holds `part`."""
        return sum(one == method and part in path for one, path, _ in self.asked)


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.cut: int | None = None
        path = unquote(urlsplit(self.path).path)
        with self.hub.lock:
            self.hub.asked.append((method, path, self.headers.get("Range")))
        self.cut = self.hub.before(method, path)
        if self.cut is not None and self.cut < 0:
            return self._json({"error": "told to"}, -self.cut)
        for pattern, act in ROUTES:
            if found := re.fullmatch(pattern, f"{method} {path}"):
                with self.hub.lock:
                    reply = act(self, *found.groups())
                return reply()
        return self._json({"error": "not found"}, 404)

    def _json(self, value: Any, status: int = 200, **headers: str) -> None:
        self._send(
            json.dumps(value).encode(), status, {"Content-Type": "application/json"} | headers
        )

    def _send(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.cut if self.cut is not None and self.cut >= 0 else None
        self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True

    def _refusal(self, code: str, status: int) -> Callable[[], None]:
        return lambda: self._json({"error": code}, status, **{"X-Error-Code": code})

    def _repo(self, name: str, files: bool = False) -> Repo | Callable[[], None]:
        """A repository that the caller may see (its files: that is not gated), or a refusal."""
        repo = self.hub.repos.get(name)
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        other = repo and self.path.startswith("/api/") and f"/{repo.kind}s/" not in self.path
        if repo is None or other or (repo.private and not known):
            return self._refusal("RepoNotFound", 404 if known else 401)
        if files and repo.gated and not known:
            return self._refusal("GatedRepo", 401)
        return repo

    def info(self, name: str, revision: str | None = None) -> Callable[[], None]:
        repo = self._repo(name)
        if not isinstance(repo, Repo):
            return repo
        if revision not in (None, "main", repo.sha):
            return self._refusal("RevisionNotFound", 404)
        return lambda: self._json(repo.info(name))

    def tree(self, name: str, revision: str, under: str | None = None) -> Callable[[], None]:
        repo = self._repo(name, files=True)
        if not isinstance(repo, Repo):
            return repo
        found = repo.tree((under or "").strip("/"))
        if under and not found:
            return self._refusal("EntryNotFound", 404)
        return lambda: self._json(found)

    def paths(self, name: str, revision: str) -> Callable[[], None]:
        repo = self._repo(name, files=True)
        if not isinstance(repo, Repo):
            return repo
        kind = self.headers.get("Content-Type", "")
        asked = json.loads(self.body) if "json" in kind else parse_qs(self.body.decode())
        paths = [asked["paths"]] if isinstance(asked["paths"], str) else asked["paths"]
        found = [entry for entry in repo.tree("") if entry["path"] in paths]
        return lambda: self._json(found)

    def file(self, name: str, revision: str, path: str) -> Callable[[], None]:
        repo = self._repo(name, files=True)
        if not isinstance(repo, Repo):
            return repo
        if path not in repo.files:
            return self._refusal("EntryNotFound", 404)
        data = repo.files[path]
        headers = {"ETag": f'"{oid(data)}"', "X-Repo-Commit": repo.sha, "Accept-Ranges": "bytes"}
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            return lambda: self._send(data[start : end + 1], 206, headers)
        return lambda: self._send(data, 200, headers)

    def create(self) -> Callable[[], None]:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refusal("Unauthorized", 401)
        asked = json.loads(self.body)
        name = f"{asked['organization'] or 'me'}/{asked['name']}"
        exists = name in self.hub.repos
        private = asked.get("private") or asked.get("visibility") == "private"
        repo = Repo(kind=asked.get("type") or "model", private=bool(private))
        url = f"{self.hub.url}/{self.hub.repos.setdefault(name, repo).place}{name}"
        return lambda: self._json({"url": url, "name": name}, 409 if exists else 200)

    def preupload(self, name: str, revision: str) -> Callable[[], None]:
        files = []
        for file in json.loads(self.body)["files"]:
            lfs = file["path"].endswith((".png", ".jpg", ".parquet", ".safetensors"))
            data = self.hub.repos[name].files.get(file["path"])
            there = None if data is None else hashlib.sha256(data).hexdigest() if lfs else oid(data)
            entry = {"path": file["path"], "shouldIgnore": False, "oid": there}
            files.append(entry | {"uploadMode": "lfs" if lfs else "regular"})
        return lambda: self._json({"files": files})

    def batch(self, name: str) -> Callable[[], None]:
        objects = []
        for one in json.loads(self.body)["objects"]:
            upload = {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}
            objects.append(one if one["oid"] in self.hub.lfs else one | {"actions": upload})
        return lambda: self._json({"transfer": "basic", "objects": objects})

    def store(self, name: str) -> Callable[[], None]:
        assert hashlib.sha256(self.body).hexdigest() == name
        self.hub.lfs[name] = self.body
        return lambda: self._json({})

    def commit(self, name: str, revision: str) -> Callable[[], None]:
        operations = [json.loads(line) for line in self.body.splitlines()]
        repo = self.hub.repos[name]
        for operation in operations:
            value = operation["value"]
            match operation["key"]:
                case "file":
                    repo.files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    repo.files[value["path"]] = self.hub.lfs[value["oid"]]
                case "deletedFile":
                    del repo.files[value["path"]]
        repo.commits.append(operations)
        url = f"{self.hub.url}/{repo.place}{name}/commit/{repo.sha}"
        return lambda: self._json({"commitUrl": url, "commitOid": repo.sha, "success": True})

    def fine(self) -> Callable[[], None]:
        return lambda: self._json({"warnings": [], "errors": []})


ID = r"([\w.-]+/[\w.-]+)"
API = f"/api/(?:datasets|models)/{ID}"
ROUTES: tuple[tuple[str, Callable[..., Callable[[], None]]], ...] = (
    (f"GET {API}", _Handler.info),
    (f"GET {API}/revision/([^/]+)", _Handler.info),
    (f"GET {API}/tree/([^/]+)(/.*)?", _Handler.tree),
    (f"POST {API}/paths-info/([^/]+)", _Handler.paths),
    (f"(?:GET|HEAD) /(?:datasets/)?{ID}/resolve/([^/]+)/(.+)", _Handler.file),
    ("POST /api/repos/create", _Handler.create),
    ("POST /api/validate-yaml", _Handler.fine),
    (f"POST {API}/preupload/([^/]+)", _Handler.preupload),
    (f"POST /(?:datasets/)?{ID}\\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT /lfs/([0-9a-f]{64})", _Handler.store),
    (f"POST {API}/commit/([^/]+)", _Handler.commit),
)
