"""Doctor: whether the base will be there when training wants it, without downloading it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from pocketvlm.demo.demo import BASE
from pocketvlm.errors import PocketError
from pocketvlm.pipeline.doctor import examine
from pocketvlm.pipeline.doctor.base import check_base
from pocketvlm.pipeline.stages import STAGES
from tests.exchange.hub import FakeHub, Repo
from tests.pipeline.examined import asked, project, write_weights

ASK = """
import json, sys
from pathlib import Path
from pocketvlm.config import parse_config
from pocketvlm.pipeline.doctor.base import check_base
from pocketvlm.project import Project
from tests.pipeline.examined import asked
config = parse_config({"base": {"model": "me/base"}})
found = asked(check_base, Project.of(config, Path(sys.argv[1])), "train")
told = [str(problem) for problem in found.problems]
print(json.dumps([found.facts.get("base"), found.to_download, told]))
"""
"""In a process of its own: the hub's address and cache are read when its library is imported."""


def ask(root: Path, url: str) -> tuple[dict[str, str] | None, int, list[str]]:
    """The fact, bytes to download and problems of the base `me/base`."""
    environment = {"HF_ENDPOINT": url, "HF_HOME": str(root / "hub"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, root],
        env=os.environ | environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    fact, size, told = json.loads(done.stdout.splitlines()[-1])
    return fact, size, told


class Sized(Repo):
    """What the hub says with `?blobs=true`: the files' sizes, too."""

    def info(self, name: str) -> dict[str, Any]:
        siblings = [{"rfilename": path, "size": len(data)} for path, data in self.files.items()]
        return super().info(name) | {"siblings": siblings}


def on_the_hub() -> Repo:
    """The demo's base as a model on the hub."""
    names = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
    files = {name: (BASE / name).read_bytes() for name in names}
    return Sized(files | {"model.safetensors": b"0" * 2000}, kind="model")


def test_weights_on_the_hub_are_looked_for_and_not_downloaded(tmp_path: Path) -> None:
    with FakeHub() as hub:
        hub.repos["me/base"] = on_the_hub()
        fact, size, told = ask(tmp_path, hub.url)
        assert hub.count("GET", "model.safetensors") == 0
    assert (told, size) == ([], 2000)
    assert fact and fact["weights"] == "on the hub, 0.0 GB to download"


def test_a_base_in_the_cache_needs_no_hub(tmp_path: Path) -> None:
    with FakeHub() as hub:
        hub.repos["me/base"] = on_the_hub()
        ask(tmp_path, hub.url)
        weights = next((tmp_path / "hub").rglob("config.json")).with_name("model.safetensors")
        write_weights(weights)
        before = len(hub.asked)
        fact, size, told = ask(tmp_path, hub.url)
        assert len(hub.asked) == before
    assert fact and fact["weights"] == "in the hub's cache, 0.0 GB"
    assert (told, size) == ([], 0)
    assert ask(tmp_path, "http://127.0.0.1:9")[2] == []


def test_a_hub_that_is_gone_before_the_weights_came_is_a_problem(tmp_path: Path) -> None:
    with FakeHub() as hub:
        hub.repos["me/base"] = on_the_hub()
        ask(tmp_path, hub.url)
        url = hub.url
    _, _, told = ask(tmp_path, url)
    assert len(told) == 1 and "connect" in told[0]


def test_a_repository_without_weights_is_a_problem(tmp_path: Path) -> None:
    with FakeHub() as hub:
        hub.repos["me/base"] = on_the_hub()
        del hub.repos["me/base"].files["model.safetensors"]
        _, _, told = ask(tmp_path, hub.url)
    assert len(told) == 1 and "neither model.safetensors nor its index" in told[0]


def test_a_gated_base_names_the_token(tmp_path: Path) -> None:
    with FakeHub() as hub:
        hub.repos["me/base"] = on_the_hub()
        hub.repos["me/base"].gated = True
        _, _, told = ask(tmp_path, hub.url)
    assert len(told) == 1 and "HF_TOKEN" in told[0]


@pytest.mark.parametrize("broken", ["missing", "cut", "index", "shard"])
def test_weights_that_would_not_load_are_a_problem(tmp_path: Path, broken: str) -> None:
    folder = copytree(BASE, tmp_path / "base")
    weights = folder / "model.safetensors"
    if broken == "cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    else:
        weights.unlink()
    names: dict[str, object] = {"index": {}, "shard": {"weight_map": {"x": "one.safetensors"}}}
    if broken in names:
        (folder / "model.safetensors.index.json").write_text(json.dumps(names[broken]))
    found = asked(check_base, project(tmp_path, base={"model": "base"}), "train")
    words = {"cut": "cut short or damaged", "index": "names no files"}
    [problem] = found.problems
    assert words.get(broken, "does not exist") in str(problem) and "copy it again" in str(problem)


def test_another_kind_of_model_is_one_problem(tmp_path: Path) -> None:
    folder = copytree(BASE, tmp_path / "base")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "llava"}
    (folder / "config.json").write_text(json.dumps(config))
    facts, problems = examine(project(tmp_path, base={"model": "base"}), STAGES[3:])
    assert [type(problem) for problem in problems] == [PocketError]
    assert "'llava'" in str(problems[0]) and facts["disk"]["parts"]


def test_labels_that_the_tokenizer_cannot_tell_apart_are_a_problem(tmp_path: Path) -> None:
    labels = {"fire": "red", "fireplace": "at home"}
    task = {"labels": labels, "question": "Fire or fireplace?"}
    found = asked(check_base, project(tmp_path, task=task), "train")
    assert "begin with those of 'fire'" in str(found.problems[0])
    assert found.model == BASE


def test_labelling_alone_needs_no_base(tmp_path: Path) -> None:
    found = asked(check_base, project(tmp_path, base={"model": "../nowhere"}), "label")
    assert (found.problems, found.model) == ([], None)


def test_conversion_alone_takes_its_sizes_from_the_merged_model(tmp_path: Path) -> None:
    copytree(BASE, tmp_path / "merged")
    found = asked(check_base, project(tmp_path, base={"model": "../nowhere"}), "convert")
    assert (found.problems, found.model) == ([], tmp_path / "merged")
