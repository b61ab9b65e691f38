"""A model goes to the Hub with a card of its own, whole, once, and only if it is the project's."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from pocketvlm.config import parse_config
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.exchange import push_model
from pocketvlm.exchange.push_model import check_model, write_model
from pocketvlm.model_card import Model
from pocketvlm.project import Project
from pocketvlm.workspace import fingerprint, read_json, write_json, write_rows
from tests.judged import judge
from tests.models import COMMIT, HUB, adapt, modelled, run
from tests.validate.conftest import settings

from .hub import TOKEN, FakeHub, Repo
from .pusher import Pusher

ADAPTER = {
    *("adapter_config.json", "adapter_model.safetensors", "base.json", "contract.json"),
    *("history.json", "history.png", "README.md"),
}
MERGED = {
    *("config.json", "generation_config.json", "model.safetensors", "contract.json"),
    *("tokenizer.json", "tokenizer_config.json", "README.md"),
}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Both models of a base of the Hub, not judged."""
    return modelled(tmp_path_factory.mktemp("whole"), base=HUB)


@pytest.fixture
def project(whole: Project, tmp_path: Path) -> Project:
    """A copy to change."""
    shutil.copytree(whole.workspace.root, tmp_path / "copy")
    return Project.of(whole.config, tmp_path / "copy")


def test_the_adapter_is_there_once_and_the_verdict_follows(project: Project, hub: FakeHub) -> None:
    before = fingerprint(project.workspace.adapter)
    hub.repos["me/student"] = repo = Repo(
        kind="model",
        files={"mine.md": b"my notes", "history.png": b"old", "base.json": b"old"},
    )
    with Pusher(hub, project, what="adapter") as pusher:
        first = pusher.push("me/student")
        assert set(repo.files) == ADAPTER | {"mine.md"} and repo.files["mine.md"] == b"my notes"
        assert first["accuracy"] is None and first["commit"] == repo.sha
        weights = project.workspace.adapter / "adapter_model.safetensors"
        assert repo.files[weights.name] == weights.read_bytes()
        config = json.loads(repo.files["adapter_config.json"])
        assert (config["base_model_name_or_path"], config["revision"]) == (HUB, COMMIT)
        assert b"Not judged" in repo.files["README.md"]

        again = pusher.push("me/student")
        assert len(repo.commits) == 1 and again["commit"] == first["commit"]

        metrics = read_json(judge(project).workspace.report / "metrics.json")
        assert pusher.push("me/student")["accuracy"] == metrics["accuracy"]
        assert len(repo.commits) == 2 and hub.count("PUT", "/lfs/") == 2
        card: Any = ModelCard(repo.files["README.md"].decode())
        assert metrics["accuracy"] in [one.metric_value for one in card.data.eval_results]
    assert not any(str(project.workspace.root.parent).encode() in x for x in repo.files.values())
    assert fingerprint(project.workspace.adapter) == before
    assert not list((project.workspace.root / "state").glob("push*"))


def test_the_merged_models_stale_shards_go(project: Project, hub: FakeHub) -> None:
    hub.repos["me/student"] = repo = Repo(kind="model", private=True)
    repo.files = {
        "model-00001-of-00002.safetensors": b"old",
        "model.safetensors.index.json": b"{}",
        "onnx/model.onnx": b"somebody's",
    }
    with Pusher(hub, project, what="merged") as pusher:
        sent = pusher.push("me/student", private=True)
    assert sent["private"] and sent["url"].startswith(f"{hub.url}/me/student/commit/")
    assert set(repo.files) == MERGED | {"onnx/model.onnx"}


@pytest.mark.slow
def test_a_killed_upload_is_gone_on_with(project: Project, hub: FakeHub) -> None:
    with Pusher(hub, project, what="merged") as pusher:
        commit = iter([True])

        def kill(method: str, path: str) -> int | None:
            if "/commit/" in path and next(commit, False):
                pusher.process.kill()  # the weights have arrived, nothing is committed
                return -503
            return None

        hub.before = kill
        assert pusher.push("me/student") is None
    with Pusher(hub, project, what="merged") as pusher:
        assert pusher.push("me/student")["repo"] == "me/student"
    repo = hub.repos["me/student"]
    assert len(repo.commits) == 1 and set(repo.files) == MERGED
    assert hub.count("PUT", "/lfs/") == 1


@pytest.mark.slow
def test_a_wrong_token_and_a_public_place_are_said(project: Project, hub: FakeHub) -> None:
    with Pusher(hub, project, token="hf_wrong_token_of_the_test", what="adapter") as pusher:
        kind, words = pusher.push("me/student")
    assert kind == "PocketError" and "HF_TOKEN" in words and "hf_wrong_token" not in words
    hub.repos["me/public"] = Repo(kind="model")
    with Pusher(hub, project, what="adapter") as pusher:
        kind, words = pusher.push("me/public", private=True)
    assert kind == "PocketError" and "is there already and is public" in words
    assert not hub.repos["me/public"].files


def test_a_failed_push_leaves_no_copy_of_the_model(project: Project, hub: FakeHub) -> None:
    hub.before = lambda method, path: -403 if "/lfs/" in path else None
    with Pusher(hub, project, what="merged") as pusher:
        kind, words = pusher.push("me/student")
        assert kind == "PocketError" and "check that HF_TOKEN may write there" in words
        assert not list((project.workspace.root / "state").glob("push*"))
        hub.before = lambda method, path: None
        assert pusher.push("me/student")["commit"] == hub.repos["me/student"].sha
    assert set(hub.repos["me/student"].files) == MERGED


@pytest.mark.slow  # huggingface_hub tries again for half a minute
def test_a_network_that_fails_at_the_weights_is_no_matter_of_the_token(
    project: Project, hub: FakeHub
) -> None:
    with FakeHub() as gone:
        pass  # its port is closed now

    def elsewhere(method: str, path: str) -> None:
        if "/objects/batch" in path:
            hub.url = gone.url

    hub.before = elsewhere
    with Pusher(hub, project, what="merged") as pusher:
        kind, words = pusher.push("me/student")
    assert kind == "PocketError" and "check the network" in words and "HF_TOKEN" not in words
    assert not list((project.workspace.root / "state").glob("push*"))


@pytest.mark.parametrize("what", ["adapter", "merged"])
def test_no_folder_of_this_machine_goes_out(tmp_path: Path, what: Model) -> None:
    project = modelled(tmp_path / "ada", base=str(tmp_path / "ada" / "base"))
    config = project.workspace.merged / "config.json"
    paths = {"_name_or_path": "/home/ada/base", "text_config": {"name_or_path": "C:\\ada\\text"}}
    write_json(config, read_json(config) | paths)
    write_model(project, what, "the card", tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert not any(word in path.read_bytes() for word in (b"/ada", b"\\ada"))
    if what == "adapter":
        known = read_json(tmp_path / "out" / "adapter_config.json")
        assert (known["base_model_name_or_path"], known["revision"]) == ("base", None)
        assert read_json(tmp_path / "out" / "base.json")["model"] == "base"
    else:
        known = read_json(tmp_path / "out" / "config.json")
        assert (known["_name_or_path"], known["text_config"]) == ("base", {"name_or_path": "text"})


def test_weights_are_linked_and_what_is_not_the_models_stays(
    project: Project, tmp_path: Path
) -> None:
    (project.workspace.adapter / ".env").write_text("HF_TOKEN=hf_secret")
    write_model(project, "adapter", "the card", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == ADAPTER
    name = "adapter_model.safetensors"
    assert (tmp_path / "out" / name).samefile(project.workspace.adapter / name)


def test_a_whole_project_may_go(whole: Project) -> None:
    check_model(whole, "adapter")
    check_model(whole, "merged")


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"base": {"model": "someone/else"}}, "another base, .*`pocketvlm train` again"),
        ({"base": {"model": HUB, "revision": "v2"}}, "another base"),
        ({"device": {"side": 128}}, "another device contract"),
        ({"train": {"epochs": 7}}, r"train would run again, because train.epochs \(1 to 7\)"),
    ],
)
def test_another_configurations_model_is_refused(
    whole: Project, sections: dict[str, object], words: str
) -> None:
    config = parse_config(settings(**{"base": {"model": HUB}} | sections))
    with pytest.raises(PocketError, match=words):
        check_model(Project.of(config, whole.workspace.root), "adapter")


def test_a_base_whose_files_changed_is_refused(tmp_path: Path) -> None:
    project = modelled(tmp_path)
    (tmp_path / "state" / "train.json").unlink()
    check_model(project, "adapter")
    with (tmp_path / "base" / "generation_config.json").open("a") as file:
        file.write(" ")
    with pytest.raises(PocketError, match="another base"):
        check_model(project, "adapter")


def test_a_model_of_other_pictures_is_refused(project: Project) -> None:
    write_rows(project.workspace.split("train"), [])
    with pytest.raises(PocketError, match=r"because dataset/train.jsonl changed"):
        check_model(project, "adapter")


def test_a_model_that_was_altered_is_refused(project: Project) -> None:
    (project.workspace.adapter / "adapter_model.safetensors").write_bytes(b"else")
    with pytest.raises(PocketError, match="adapter is missing or was altered"):
        check_model(project, "adapter")


def test_a_merged_model_of_another_adapter_is_refused(project: Project) -> None:
    def again(project: Project) -> dict[str, object]:
        adapt(project)
        (project.workspace.adapter / "history.png").write_bytes(b"another plot")
        return {}

    run(project, "train", again)
    check_model(project, "adapter")
    with pytest.raises(PocketError, match=r"because adapter changed: .* --from merge"):
        check_model(project, "merged")


@pytest.mark.parametrize(
    ("what", "gone", "words"),
    [
        ("adapter", "adapter", "holds no adapter: run `pocketvlm train`"),
        ("merged", "adapter", "holds no adapter: run `pocketvlm train`"),
        ("merged", "merged", "holds no model: run `pocketvlm merge`"),
    ],
)
def test_what_is_not_there_is_said(project: Project, what: Model, gone: str, words: str) -> None:
    shutil.rmtree(project.workspace.root / gone)
    with pytest.raises(PocketError, match=words):
        check_model(project, what)


def test_the_token_comes_first(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.chdir(project.workspace.root)
    with pytest.raises(ConfigError, match="HF_TOKEN is not set"):
        push_model(project, "adapter", "me/student", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(ConfigError, match="is no id of the Hub"):
        push_model(project, "adapter", "a/b/c", False)
