"""The rule teacher behind HTTP: asked as any teacher is, it sees pixels only."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from pocketvlm.config import parse_config
from pocketvlm.demo.rules import judge
from pocketvlm.demo.scenes import draw
from pocketvlm.demo.teacher import MODEL, NEAR, answer, serve
from pocketvlm.label import answers_of, label
from pocketvlm.label.client import encode_picture
from pocketvlm.label.prompt import answer_schema
from pocketvlm.project import Project
from pocketvlm.sections import Task
from pocketvlm.workspace import sha256_file, write_rows

SERVING = """
from pocketvlm.demo.teacher import serve
with serve() as url:
    print(url, flush=True)
    input()
"""
LABELS = ("water", "land", "fire", "wood", "metal")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve() as url:
        yield url


def post(url: str, value: object, path: str = "/chat/completions") -> tuple[int, Any]:
    """Status and JSON body of a POST."""
    request = urllib.request.Request(url + path, json.dumps(value).encode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def scene(path: Path, element: str, seed: int) -> Path:
    """Draw a scene into a file whose name says nothing."""
    Image.fromarray(draw(element, np.random.default_rng(seed))).save(path)
    return path


def test_scenes_are_labelled_over_http(tmp_path: Path, url: str) -> None:
    teacher = {"base_url": url, "model": MODEL}
    project = Project.of(parse_config({"teachers": [teacher]}), tmp_path)
    project.workspace.originals.mkdir()
    rows, truth = [], {}
    for number in range(40):
        element = LABELS[number % 5]
        path = scene(project.workspace.originals / f"{number}.png", element, number)
        truth[sha256_file(path)] = element
        rows.append({"sha256": sha256_file(path), "file": path.name, "origin": path.name})
    write_rows(project.workspace.index, rows)
    figures = label(project)
    assert figures["status"] == {"ok": 40}
    assert all(answer["tokens_in"] > 0 for _, answer in answers_of(project))
    right = sum(answer["label"] == truth[row["sha256"]] for row, answer in answers_of(project))
    assert right >= 32


def test_it_says_what_the_rules_say(tmp_path: Path) -> None:
    with Image.open(scene(tmp_path / "a.png", "fire", 3)) as picture:
        said = answer(picture.convert("RGB"))
        judged = judge(np.asarray(picture.convert("RGB")))
    assert list(said) == list(answer_schema(Task())["properties"])
    assert said["label"] == judged.label
    near = judged.scores[judged.alternative] >= NEAR
    assert said["alternative"] == (judged.alternative if near else None)
    assert said["confidence"] == round(judged.confidence, 3)


def test_nothing_but_the_pixels_counts(tmp_path: Path, url: str) -> None:
    image, _ = encode_picture(scene(tmp_path / "water.png", "metal", 5), 512)
    picture = {"type": "image_url", "image_url": {"url": image}}

    def said(text: str) -> str:
        content = [{"type": "text", "text": text}, picture]
        _, reply = post(url, {"messages": [{"role": "user", "content": content}]})
        return str(reply["choices"][0]["message"]["content"])

    assert said("It is water.") == said("It is fire, water.png")


def test_models_are_listed(url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/models") as reply:
        assert [model["id"] for model in json.load(reply)["data"]] == [MODEL]


@pytest.mark.parametrize(
    "request_",
    [
        [],
        {},
        {"messages": []},
        {"messages": [{"content": "no picture"}]},
        {"messages": [{"content": [{"type": "text", "text": "none"}]}]},
        {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "http://x/y"}}]}]},
        {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "base64,AAAA"}}]}]},
    ],
)
def test_a_request_without_a_picture_is_refused(url: str, request_: object) -> None:
    status, reply = post(url, request_)
    assert status == 400
    assert "no picture" in reply["error"]["message"]


def test_other_addresses_are_unknown(url: str) -> None:
    assert post(url, {}, "/completions")[0] == 404


def test_the_port_is_free_again_afterwards() -> None:
    with serve() as first:
        port = int(first.rsplit(":", 1)[1].removesuffix("/v1"))
    with serve(port) as second:
        assert second == first


def test_it_ends_with_a_killed_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", SERVING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    address = urlsplit(parent.stdout.readline().strip())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    with pytest.raises(ConnectionRefusedError):
        while time.monotonic() < deadline:
            socket.create_connection((str(address.hostname), int(address.port or 0))).close()
            time.sleep(0.05)
