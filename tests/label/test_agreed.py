"""Money is never spent twice on a picture without a person's consent; what changes nothing about
the questions costs nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pocketvlm.errors import ConfigError
from pocketvlm.label import label
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.plan import Plan
from pocketvlm.pipeline import run
from pocketvlm.progress import ask
from pocketvlm.project import Project
from pocketvlm.sections import ELEMENTS
from tests.pipeline.conftest import draw_pictures

from .billing import PRICE, Biller, cli, priced
from .conftest import make
from .server import Server

pytestmark = pytest.mark.usefixtures("no_page")

PICTURES = 3
NARROWER = ELEMENTS | {"water": "seas and lakes, nothing else"}


@pytest.fixture
def biller() -> Iterator[Biller]:
    with Biller() as biller:
        yield biller


def due(project: Project, teacher: int = 0) -> int:
    """Questions that would be asked."""
    return len(Plan(project, Ledger(project.workspace.answers)).due(teacher))


FREE_OF_CHARGE: list[dict[str, Any]] = [
    {"prepare": {"min_confidence": 0.9}},
    {"prepare": {"min_confidence": 0.0}},
    {"label": {"second_opinion_below": 1.0}},  # with one teacher
    {"label": {"budget_usd": 7.0}},
    {"device": {"side": 128}},
    {"device": {"resize": "area", "exif": False, "prompt": "{marker}{question} Answer:"}},
    {"gates": {"accuracy": 0.5}},
    {"train": {"seed": 3}},
    {"collect": {"licence": "CC0"}},
    {"base": {"revision": "v1"}},
    {"task": {"question": "Which of these is it?"}},  # what the phone asks, not the teacher
    {"prices": {"stand-in": PRICE.model_dump(mode="json") | {"input_usd": 9.0}}},
    {"teacher": {"concurrency": 5}},
    {"teacher": {"requests_per_minute": 5, "tokens_per_minute": 5000}},
    {"teacher": {"timeout": 5, "retries": 0}},
    {"teacher": {"max_tokens": 3000}},
    {"teacher": {"batch": True}},
    {"teacher": {"api_key_env": "ANOTHER"}},
    {"teacher": {"base_url": "http://127.0.0.1:9/v1"}},
    {"teacher": {"structured": False}},
]


def changed_project(root: Path, url: str, changes: list[dict[str, Any]]) -> Project:
    """The workspace after changes of its configuration; `teacher` is the first one."""
    config: dict[str, Any] = {}
    for section, values in (pair for change in changes for pair in change.items()):
        config[section] = config.get(section, {}) | values
    return priced(root, url, count=PICTURES, config=config, **config.pop("teacher", {}))


def test_what_costs_nothing(tmp_path: Path, biller: Biller) -> None:
    """Each by itself, and all together in a run."""
    label(priced(tmp_path, biller.url, count=PICTURES))
    for change in FREE_OF_CHARGE:
        assert due(changed_project(tmp_path, biller.url, [change])) == 0, change
    figures = label(changed_project(tmp_path, biller.url, FREE_OF_CHARGE))
    assert (figures["asked"], figures["status"]) == (0, {"ok": PICTURES})
    assert biller.count == PICTURES


ASKS: list[dict[str, Any]] = [
    {"task": {"labels": NARROWER}},
    {"task": {"question": "Which?", "labels": ELEMENTS | {"air": "sky and clouds"}}},
    {"teacher": {"model": "other"}},
    {"teacher": {"temperature": 0.7}},
    {"teacher": {"max_side": 512}},
    {"teacher": {"reasoning_effort": "low"}},
]


@pytest.mark.parametrize("changed", ASKS, ids=str)
def test_what_would_be_paid_again_needs_consent(
    tmp_path: Path, biller: Biller, changed: dict[str, Any]
) -> None:
    """Nobody is there to ask: exit 2, the cost and --yes named, nothing asked, nothing written."""
    before = priced(tmp_path, biller.url, count=PICTURES)
    label(before)
    ledger = before.workspace.answers.read_bytes()
    prices = {name: PRICE.model_dump(mode="json") for name in ("stand-in", "other")}
    project = changed_project(tmp_path, biller.url, [changed, {"prices": prices}])
    assert due(project) == PICTURES
    with pytest.raises(ConfigError) as caught:
        label(project)
    said = str(caught.value)
    assert caught.value.exit_code == 2
    assert f"{PICTURES} pictures were answered before" in said
    assert f"about {PICTURES} questions and 0.0" in said
    assert "at most 0.0" in said
    assert "--yes" in said
    assert biller.count == PICTURES
    assert before.workspace.answers.read_bytes() == ledger

    agreed = Project.of(project.config, tmp_path, agreed=True)
    assert label(agreed)["asked"] == PICTURES
    assert label(project)["asked"] == 0  # and now it has its answers

    assert label(priced(tmp_path, biller.url, count=PICTURES))["asked"] == 0  # so has the old one
    assert biller.count == 2 * PICTURES


def test_new_pictures_never_ask(tmp_path: Path, biller: Biller) -> None:
    """Beside a change only the pictures that have answers count."""
    label(priced(tmp_path, biller.url, count=2))
    assert label(priced(tmp_path, biller.url, count=5))["asked"] == 3
    changed = {"task": {"labels": NARROWER}}
    with pytest.raises(ConfigError, match="5 pictures were answered before"):
        label(priced(tmp_path, biller.url, count=8, config=changed))


def test_free_servers_never_ask(tmp_path: Path, server: Server) -> None:
    label(make(tmp_path, 2, server.url))
    assert label(make(tmp_path, 2, server.url, {"task": {"labels": NARROWER}}))["asked"] == 2


def two(root: Path, biller: Biller, second: str = "dear", **config: Any) -> Project:
    """A free teacher that passes everything on to a dear one."""
    ask = {"base_url": biller.url, "concurrency": 1}
    teachers = [ask | {"model": "free"}, ask | {"model": second}]
    prices = {name: PRICE.model_dump(mode="json") for name in ("dear", "dearer")}
    settings = {"teachers": teachers, "prices": prices} | config
    return priced(root, biller.url, count=PICTURES, config=settings)


def test_a_second_teacher_is_paid_again_too(tmp_path: Path, biller: Biller) -> None:
    label(two(tmp_path, biller))
    assert biller.count == 2 * PICTURES
    with pytest.raises(ConfigError, match=f"{PICTURES} pictures were answered before"):
        label(two(tmp_path, biller, "dearer"))
    with pytest.raises(ConfigError, match="about 4 questions"):  # and a guess at what is passed on
        label(two(tmp_path, biller, task={"labels": NARROWER}))
    assert biller.count == 2 * PICTURES


def test_a_teacher_that_joins_asks_about_nothing_again(tmp_path: Path, biller: Biller) -> None:
    label(
        priced(
            tmp_path,
            biller.url,
            count=PICTURES,
            model="dear",
            config={"prices": {"dear": PRICE.model_dump(mode="json")}},
        )
    )
    assert label(two(tmp_path, biller))["asked"] == PICTURES  # the free one, first


def test_what_was_begun_has_been_agreed_to(tmp_path: Path, biller: Biller) -> None:
    """Malformed answers and killed calls are asked again without a second consent."""
    label(priced(tmp_path, biller.url, count=PICTURES))
    changed = priced(tmp_path, biller.url, count=PICTURES, config={"task": {"labels": NARROWER}})
    biller.fate = lambda number: "malformed" if number > PICTURES else "plain"
    label(Project.of(changed.config, tmp_path, agreed=True))
    assert due(changed) == PICTURES - 1
    biller.fate = lambda number: "plain"
    lines = changed.workspace.answers.read_text().splitlines(keepends=True)
    open_ones = [line for line in lines[-8:] if '"intent"' in line]
    changed.workspace.answers.write_text("".join(lines[:-8] + open_ones))  # as a kill leaves it
    assert label(changed)["status"] == {"ok": PICTURES}


# The command line.


def in_terminal(typed: bytes, root: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and screen of a command at a pseudo-terminal where somebody types."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from pocketvlm.cli import main; main()", *arguments],
        cwd=root,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    screen, sent = b"", False
    with suppress(OSError):  # Linux's way to say that the other end is closed
        while chunk := os.read(ours, 4096):
            screen += chunk
            if not sent and b"[y/N]" in screen:
                sent = True
                if typed == b"\x03":
                    os.killpg(process.pid, signal.SIGINT)  # what the terminal does
                else:
                    os.write(ours, typed)
    os.close(ours)
    return process.wait(30), screen.decode(errors="replace")


@pytest.mark.parametrize(
    ("typed", "code", "asked"),
    [
        (b"y\n", 0, PICTURES),
        (b"n\n", 2, 0),
        (b"\x04", 2, 0),  # the end of the input
        (b"\x03", 1, 0),  # Ctrl-C
    ],
    ids=["yes", "no", "end", "interrupt"],
)
def test_a_person_is_asked(
    tmp_path: Path, biller: Biller, typed: bytes, code: int, asked: int
) -> None:
    label(priced(tmp_path, biller.url, count=PICTURES))
    priced(tmp_path, biller.url, count=PICTURES, config={"task": {"labels": NARROWER}})
    ended, screen = in_terminal(typed, tmp_path, "label")
    assert f"{PICTURES} pictures were answered before" in screen
    assert "Ask again? [y/N] " in screen
    assert ended == code
    assert "Traceback" not in screen
    assert biller.count == PICTURES + asked


@pytest.mark.parametrize(
    ("typed", "yes"),
    [(b"Y\n", True), (b" yes \n", True), (b"\n", False), (b"yellow\n", False), (b"\xff\n", False)],
)
def test_only_yes_is_yes(monkeypatch: pytest.MonkeyPatch, typed: bytes, yes: bool) -> None:
    ours, theirs = os.openpty()
    os.write(ours, typed)
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        assert ask("Ask again?") is yes
    os.close(ours)


def test_run_tells_and_yes_goes_on(
    tmp_path: Path, biller: Biller, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_pictures(tmp_path / "pictures", PICTURES)
    run(priced(tmp_path, biller.url, count=0), last="label")
    priced(tmp_path, biller.url, count=0, config={"task": {"labels": NARROWER}})
    capsys.readouterr()
    assert cli("run", "--until", "label", "--json") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"error: {PICTURES} pictures were answered before" in err
    assert "--yes" in err
    assert biller.count == PICTURES
    assert cli("run", "--until", "label", "--yes") == 0
    assert biller.count == 2 * PICTURES


def test_label_takes_yes_and_needs_no_standard_input(
    tmp_path: Path, biller: Biller, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(priced(tmp_path, biller.url, count=PICTURES))
    priced(tmp_path, biller.url, count=PICTURES, config={"task": {"labels": NARROWER}})
    monkeypatch.setattr(sys, "stdin", None)  # as `pocketvlm label <&-` has it
    assert cli("label") == 2
    assert biller.count == PICTURES
    assert cli("label", "--yes") == 0
    assert biller.count == 2 * PICTURES
