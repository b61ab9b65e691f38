"""The data set goes to the Hub whole, once, and only if its licences let it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.exchange import push_dataset
from pocketvlm.exchange.licences import may_be_shared
from pocketvlm.project import Project
from pocketvlm.workspace import write_rows

from .conftest import SPLITS, lines
from .hub import TOKEN, FakeHub, Repo
from .pusher import Pusher


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


def names(project: Project) -> dict[str, list[str]]:
    """The bitmaps of each split."""
    return {name: [Path(one["image"]).name for one in lines(project)[name]] for name in SPLITS}


def expected(project: Project) -> set[str]:
    """Files of the repository."""
    other = {"train": "train", "val": "validation", "test": "test"}
    files = {f"{other[split]}/{name}" for split, found in names(project).items() for name in found}
    files |= {f"{name}/metadata.jsonl" for name in other.values()}
    return files | {"README.md", "contract.json", "export.json"}


def test_everything_is_there_once_and_changes_follow(project: Project, hub: FakeHub) -> None:
    rows = lines(project)["test"]
    rows[0]["origin"], rows[1]["origin"] = "/home/ada/a.jpg", "C:\\Users\\ada\\b.jpg"
    write_rows(project.workspace.split("test"), rows)
    with Pusher(hub, project) as pusher:
        first = pusher.push()
        repo = hub.repos["me/elements"]
        assert first["pictures"] == 11 and first["repo"] == "me/elements" and not first["private"]
        assert first["url"].startswith(hub.url) and first["commit"] == repo.sha
        assert set(repo.files) == expected(project)
        for split, name in (("train", "train"), ("val", "validation")):
            image = names(project)[split][0]
            bitmap = project.workspace.dataset / "images" / image
            assert repo.files[f"{name}/{image}"] == bitmap.read_bytes()
        assert "license: cc-by-4.0\n" in DatasetCard(repo.files["README.md"].decode()).content

        told = repo.files["test/metadata.jsonl"]
        assert b'"a.jpg"' in told and b'"b.jpg"' in told and b"ada" not in told

        again = pusher.push()
        assert len(repo.commits) == 1 and again["commit"] == first["commit"]
        assert hub.count("PUT", "/lfs/") == 11

        write_rows(project.workspace.split("val"), lines(project)["val"][1:])
        pusher.push()
        assert len(repo.commits) == 2 and set(repo.files) == expected(project)
        assert hub.count("PUT", "/lfs/") == 11


@pytest.mark.slow
def test_a_killed_upload_is_gone_on_with(project: Project, hub: FakeHub) -> None:
    with Pusher(hub, project) as pusher:
        commit = iter([True])

        def kill(method: str, path: str) -> int | None:
            if "/commit/" in path and next(commit, False):
                pusher.process.kill()  # all has arrived, nothing is committed
                return -503
            return None

        hub.before = kill
        assert pusher.push() is None
    assert not hub.repos["me/elements"].commits
    with Pusher(hub, project) as pusher:
        assert pusher.push()["pictures"] == 11
    repo = hub.repos["me/elements"]
    assert len(repo.commits) == 1 and set(repo.files) == expected(project)
    assert hub.count("PUT", "/lfs/") == 11


@pytest.mark.slow
def test_a_public_push_of_closed_pictures_is_refused_unless_private(
    project: Project, hub: FakeHub
) -> None:
    rows = lines(project)["train"]
    rows[0]["licence"] = "Unsplash License"
    rows[1]["licence"] = rows[2]["licence"] = "unknown"
    del rows[3]["licence"]
    write_rows(project.workspace.split("train"), rows)
    hub.repos["me/public"] = Repo()
    with Pusher(hub, project) as pusher:
        kind, words = pusher.push()
        assert kind == "PocketError"
        assert "unknown (3 pictures), Unsplash License (1 pictures)" in words
        assert not hub.repos.get("me/elements") and not hub.count("PUT", "")
        kind, words = pusher.push("me/public", private=True)
        assert kind == "PocketError" and "is there already and is public" in words
        assert not hub.repos["me/public"].files
        assert pusher.push(private=True)["private"]
    assert hub.repos["me/elements"].private
    assert set(hub.repos["me/elements"].files) == expected(project)


@pytest.mark.slow
def test_a_wrong_token_is_said_and_never_shown(project: Project, hub: FakeHub) -> None:
    with Pusher(hub, project, token="hf_wrong_token_of_the_test") as pusher:
        kind, words = pusher.push()
        assert kind == "PocketError" and "HF_TOKEN" in words
    files = [path for path in project.workspace.root.rglob("*") if path.is_file()]
    assert not any(b"hf_wrong_token" in path.read_bytes() for path in files)
    assert "hf_wrong_token" not in words


def test_a_hub_that_is_not_there_is_no_matter_of_the_token(project: Project) -> None:
    with FakeHub() as hub:
        pass  # its port is closed now
    with Pusher(hub, project) as pusher:
        kind, words = pusher.push()
    assert kind == "PocketError" and "check the network" in words
    assert "HF_TOKEN" not in words


def test_without_a_token_it_is_said_where_to_get_one(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.chdir(project.workspace.root)
    with pytest.raises(ConfigError, match=r"huggingface\.co/settings/tokens"):
        push_dataset(project, "me/elements", False)


@pytest.mark.parametrize("repo_id", ["", "a/b/c", "me/two words", "me/-x", "../x"])
def test_an_impossible_id_is_said(
    project: Project, repo_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(ConfigError, match="is no id of the Hub"):
        push_dataset(project, repo_id, False)


def test_an_empty_data_set_is_not_pushed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for name in SPLITS:
        write_rows(project.workspace.split(name), [])
    with pytest.raises(PocketError, match="holds no picture"):
        push_dataset(project, "me/elements", False)


@pytest.mark.parametrize(
    ("licence", "may"),
    [
        ("CC-BY-NC-SA-2.0", True),
        ("CC0-1.0", True),
        ("own", True),
        ("unknown", False),
        (" Unknown ", False),
        ("unsplash", False),
        ("Unsplash License", False),
        ("Pixabay Content License", False),
        ("All Rights Reserved", False),
        ("all-rights-reserved", False),
        ("other", False),
        ("n/a", False),
        (" ", False),
        ("Unknown license", False),
        ("unknown, cc-by-4.0", False),
        ("copyright 2020 me", False),
    ],
)
def test_licences_that_let_pictures_be_shared(licence: str, may: bool) -> None:
    assert may_be_shared(licence) is may
