"""Fake keys are planted and a whole run is made: no file, word or command line shows one."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketvlm.config import commented_yaml, parse_config
from pocketvlm.student.tiny import save_tiny
from pocketvlm.workspace import Row, read_rows
from tests.collect.unsplash_server import KEY as UNSPLASH
from tests.collect.unsplash_server import Fault
from tests.collect.unsplash_server import Server as UnsplashServer
from tests.exchange.hub import TOKEN, FakeHub, Repo
from tests.student.tracking_server import Wandb

from .echoing import Teacher
from .planted import STRONG, TEACHER, WANDB, Watch, found_in, search

KEYS = {
    "teacher's": TEACHER,
    "strong teacher's": STRONG,
    "W&B's": WANDB,
    "Unsplash's": UNSPLASH,
    "the Hub's": TOKEN,
}
COLOURS = {"sky": (40, 90, 220), "grass": (40, 160, 50)}


def picture(seed: int) -> bytes:
    """One of two colours, with noise of its own."""
    colour, noise = np.array(list(COLOURS.values())[seed % 2]), np.random.default_rng(seed)
    pixels = (colour + noise.integers(-30, 30, (90, 120, 3))).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@dataclass
class World:
    """A project with a home and a folder for temporary files, and all the servers it talks to."""

    root: Path
    teacher: Teacher
    unsplash: UnsplashServer
    hub: FakeHub
    wandb: Wandb
    said: str = ""
    """All that commands have printed."""

    @property
    def project(self) -> Path:
        return self.root / "project"

    def environment(self) -> dict[str, str]:
        """Nothing of this process but where programs are."""
        folders = {name: self.root / folder for name, folder in FOLDERS.items()}
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
        settings = {"HF_ENDPOINT": self.hub.url, "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
        keys = {"STRONG_KEY": STRONG, "WANDB_API_KEY": WANDB, "HF_TOKEN": TOKEN}
        keys |= {"UNSPLASH_ACCESS_KEY": UNSPLASH, "WANDB_BASE_URL": self.wandb.url}
        return (
            {"PATH": os.environ["PATH"]} | settings | keys | {k: str(v) for k, v in folders.items()}
        )

    def call(self, *arguments: str, **more: str) -> int:
        """`pocketvlm`, with more of an environment; its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "pocketvlm", *arguments],
            cwd=self.project,
            env=self.environment() | more,
            capture_output=True,
            check=False,
        )
        text = (done.stdout + done.stderr).decode()
        self.said += f"$ {' '.join(arguments[:1])}\n{text}"
        assert not found_in(text.encode(), KEYS), arguments
        return done.returncode

    def in_background(self, *arguments: str) -> Row:
        """The same with --detach, awaited; what `status` says of it."""
        assert self.call(*arguments, "--detach") == 0, self.said
        assert self.call("logs", "--follow") == 0, self.said  # ends with the run
        before = len(self.said)
        assert self.call("status", "--json") == 0, self.said
        status: Row = json.loads(self.said[before:].partition("\n")[2].splitlines()[0])
        run: Row = status["run"]
        return run

    def check(self) -> None:
        """The one place where a key stands is where its owner has put it."""
        assert set(search(self.root, KEYS)) == {"project/.env"}


FOLDERS = {"HOME": "home", "TMPDIR": "temporary", "WANDB_DIR": "elsewhere"}


def configuration(world: World) -> Row:
    """Every source, two teachers, both boards, a training that is over at once."""
    url = f"{world.teacher.url}/v1"
    teacher = {"base_url": url, "concurrency": 1, "retries": 4}
    return {
        "task": {"question": "Is this sky or grass?", "labels": dict.fromkeys(COLOURS, "a colour")},
        "device": {"side": 64},
        "base": {"model": "base"},
        "collect": {
            "unsplash": {
                **{"base_url": world.unsplash.url, "queries": {"sky": ["blue"]}},
                **{"pictures": 2, "width": 64},
            },
            "hub": {"dataset": "me/pictures", "pictures": 3},
        },
        "teachers": [
            teacher | {"model": "cheap"},
            teacher | {"model": "strong", "api_key_env": "STRONG_KEY"},
        ],
        "train": {"epochs": 2, "effective_batch": 4, "learning_rate": 5e-3},
        "track": {"tensorboard": True, "wandb": "online"},
        "export": {"types": ["Q8_0"], "mmproj": ["F16"]},
        "gates": {"accuracy": 0},
    }


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    keys = {"cheap": TEACHER, "strong": STRONG}
    with (
        Teacher(keys) as teacher,
        UnsplashServer() as unsplash,
        FakeHub() as hub,
        Wandb(WANDB) as board,
    ):
        world = World(tmp_path, teacher, unsplash, hub, board)
        (world.project / "pictures").mkdir(parents=True)
        for seed in range(70):
            (world.project / f"pictures/{seed}.png").write_bytes(picture(seed))
        unsplash.add("blue", "one", "two")
        unsplash.faults["search"].append(Fault(500, f"Client-ID {UNSPLASH}"))
        unsplash.faults["report"].append(Fault(404, f'{{"errors": ["{UNSPLASH}"]}}'))
        files = {f"train/{seed % 2}/{seed}.png": picture(100 + seed) for seed in range(4)}
        hub.repos["me/pictures"] = Repo(files, private=True)
        save_tiny(world.project / "base", words=[*COLOURS, "Is", "this", "or"], side=64)
        config = commented_yaml(parse_config(configuration(world)))
        (world.project / "pocketvlm.yaml").write_text(config)
        (world.project / ".env").write_text(f"OPENAI_API_KEY={TEACHER}\n")
        (world.project / ".env").chmod(0o600)
        yield world


@pytest.mark.slow
def test_a_whole_run_writes_no_key_anywhere(world: World) -> None:
    with Watch() as watch:
        world.teacher.refuses = {"GET"}
        assert world.call("doctor", "--json") in (1, 2), world.said
        world.teacher.refuses = {"POST"}
        assert world.in_background("run", "--until", "label")["state"] == "failed"
        assert "refused the key (status 401)" in world.said
        world.teacher.refuses = set()
        assert world.call("run", "--until", "prepare", "--json") == 0, world.said
        assert world.in_background("run")["state"] == "done", world.said
        assert world.call("doctor", "--json") == 0, world.said
        for what in ("dataset", "adapter", "merged"):
            assert world.call("push", what, f"me/{what}", "--private") == 0, world.said
    used_all(world)
    assert any("-m pocketvlm run" in line for line in watch.seen)
    assert any("sending.py" in line for line in watch.seen)
    assert not found_in("\n".join(watch.seen).encode(), KEYS)
    sent = [world.wandb.files, *(repo.files for repo in world.hub.repos.values())]
    for name, data in (item for files in sent for item in files.items()):
        assert not found_in(data, KEYS), name
    assert not found_in(repr((world.wandb.config, world.wandb.history)).encode(), KEYS)
    world.check()


NONE_LEFT = {"cheap": 0, "strong": 0}


def used_all(world: World) -> None:
    """Every key has opened something, and every echo was heard: what is searched could hold one."""
    assert {model: len(left) for model, left in world.teacher.left.items()} == NONE_LEFT
    hidden = [row for row in read_rows(world.project / "labels/answers.jsonl") if "***" in str(row)]
    assert len(hidden) > 20
    assert world.unsplash.asked and not world.unsplash.faults["search"]
    assert world.wandb.files and world.wandb.exit_code == 0
    origins = {
        row["origin"].partition(":")[0]
        for row in read_rows(world.project / "originals/index.jsonl")
    }
    assert {"hub", "unsplash"} <= origins
    assert list((world.project / "logs/tensorboard").rglob("events*"))
    assert list((world.project / "logs/wandb").rglob("*.wandb"))
    assert list((world.project / "bundle").rglob("*.gguf"))
    assert len(list((world.project / "logs").glob("run-*.log"))) == 3


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1"}])
def test_a_traceback_shows_no_key(world: World, more: dict[str, str]) -> None:
    """A mistake of ours, in the middle of a call: the whole story is printed."""
    broken = world.root / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(MISTAKE)
    assert world.call("collect") == 0
    assert world.call("label", PYTHONPATH=str(broken), **more) == 1
    assert "Traceback" in world.said
    assert "RuntimeError: a mistake" in world.said
    world.check()


MISTAKE = """
from pocketvlm.label.client import Client

def mistake(self, body, headers):
    raise RuntimeError("a mistake")

Client._read = mistake
"""


@pytest.mark.slow
def test_a_key_at_the_wrong_place_is_refused_before_anything_is_written(world: World) -> None:
    before = set(world.project.rglob("*"))
    address = f"http://me:{TEACHER}@127.0.0.1/v1"
    for key in ("teachers.0.api_key_env", "teachers.0.api_key", "teachers.9.model", "api_key"):
        assert world.call("run", "--set", f"{key}={TEACHER}") == 2
    for wrong in (address, f"http://127.0.0.1/v1?api_key={TEACHER}"):
        assert world.call("run", "--set", f"teachers.0.base_url={wrong}") == 2
    file = world.project / "pocketvlm.yaml"
    text = file.read_text()
    for line in (f"api_key: {TEACHER}", f'api_key: "{TEACHER}', f"api_key: {TEACHER}: x"):
        file.write_text(f"{text}\n{line}\n")
        assert world.call("run") == 2
        assert world.call("doctor", "--json") == 2
    file.write_text(text)
    assert set(world.project.rglob("*")) == before
    world.check()


@pytest.mark.skipif(os.name != "posix", reason="no POSIX permissions here")
@pytest.mark.slow
def test_a_file_of_keys_that_others_may_open_is_refused(world: World) -> None:
    (world.project / ".env").chmod(0o640)
    assert world.call("doctor", "--json") == 2
    assert "chmod 600" in world.said
    assert world.call("collect") == 0  # needs no key of that file
    assert world.call("label") == 2
    assert not world.teacher.left
    world.check()
