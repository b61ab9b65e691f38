"""The stage: every picture is asked about once, and the figures count the answers."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from pocketvlm.label import answers_of, label
from pocketvlm.label.client import encode_picture
from pocketvlm.workspace import read_rows

from .conftest import answers, make
from .server import GOOD, Server, answer, says


def test_figures_count_labels_and_statuses(tmp_path: Path, server: Server) -> None:
    server.queue.extend(
        [
            answer(),
            answer(label="fire"),
            answer(label="none"),
            answer(label="aether"),
            answer(),
            *[says(None, refusal="I cannot help with that.")] * 2,
        ]
    )
    figures = label(make(tmp_path, 6, server.url))
    said = figures.pop("warnings")
    assert figures == {
        "asked": 6,
        "status": {"ok": 3, "none": 1, "rejected": 1, "refused": 1},
        "unanswered": 0,
        "labels": {"water": 2, "fire": 1},
        "usd": 0.0,
        "usd_per_label": 0.0,
    }
    refused = "1 of 6 pictures were refused and are left out: another model may answer"
    assert refused in said


def test_each_call_stands_between_two_rows(tmp_path: Path, server: Server) -> None:
    project = make(tmp_path, 2, server.url)
    label(project)
    rows = list(read_rows(project.workspace.answers))
    assert [row["kind"] for row in rows] == ["intent", "answer"] * 2
    assert [row["key"] for row in rows[::2]] == [row["key"] for row in rows[1::2]]
    assert rows[1].items() >= GOOD.items()
    for name in ("picture", "status", "raw", "tokens_in", "tokens_out", "usd", "seconds", "at"):
        assert name in rows[1]


def test_a_second_run_asks_nothing(tmp_path: Path, server: Server) -> None:
    project = make(tmp_path, 3, server.url)
    server.queue.extend([answer(label="none"), answer(label="aether")])
    first = label(project)
    assert label(project) == first | {"asked": 0}
    assert len(server.asked) == 3


def test_another_model_is_asked_anew_and_answers_by_itself(tmp_path: Path, server: Server) -> None:
    label(make(tmp_path, 2, server.url))
    server.usual = answer(label="fire")
    other = make(tmp_path, 2, server.url, model="other")
    assert label(other)["labels"] == {"fire": 2}
    assert {row["label"] for _, row in answers_of(other)} == {"fire"}
    assert len(answers(other)) == 4


def test_as_many_calls_at_a_time_as_allowed(tmp_path: Path, server: Server) -> None:
    server.delay = 0.1
    label(make(tmp_path, 12, server.url, concurrency=4))
    assert server.busiest == 4
    assert len(set(server.images())) == 12


def test_the_picture_goes_as_a_jpeg_of_bounded_size(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    Image.fromarray(np.full((300, 600, 3), (10, 200, 30), np.uint8)).save(path)
    url, size = encode_picture(path, 128)
    kind, _, data = url.partition(",")
    sent = Image.open(io.BytesIO(base64.b64decode(data)))
    assert size == sent.size
    assert (kind, sent.format, sent.size) == ("data:image/jpeg;base64", "JPEG", (128, 64))
    assert np.allclose(np.asarray(sent).mean((0, 1)), (10, 200, 30), atol=3)


def test_a_small_picture_is_not_enlarged(tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    Image.new("RGB", (40, 40)).save(path)
    data = encode_picture(path, 1024)[0].partition(",")[2]
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (40, 40)
