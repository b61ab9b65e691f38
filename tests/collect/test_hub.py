"""A data set of the Hub, or parquet files and class folders, become candidates byte for byte."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, Image, List, Value

from pocketvlm.collect.candidate import Candidate, Skipped
from pocketvlm.collect.hub import from_hub
from pocketvlm.config import parse_config
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.project import Project
from tests.exchange.hub import TOKEN, FakeHub, Repo

from .conftest import save

NAMES = ["sea", "forest", "forge"]


def project_of(root: Path, dataset: str, **settings: Any) -> Project:
    hub = {"dataset": dataset, "licence": "CC0-1.0"} | settings
    return Project.of(parse_config({"collect": {"hub": hub}}), root)


def offered(project: Project, wanted: Mapping[str, int], *seen: str) -> list[Candidate]:
    """What is offered, all of it pictures."""
    found = list(from_hub(project, wanted, seen))
    assert all(isinstance(one, Candidate) for one in found), found
    return [one for one in found if isinstance(one, Candidate)]


def picture(seed: int) -> bytes:
    """A PNG file, written with a comment that no encoder would write again."""
    from PIL import Image as Pillow
    from PIL.PngImagePlugin import PngInfo

    info, file = PngInfo(), io.BytesIO()
    info.add_text("Comment", f"as it came {seed}")
    Pillow.effect_noise((48, 40), 40 + seed).convert("RGB").save(file, "PNG", pnginfo=info)
    return file.getvalue()


PICTURES = [picture(seed) for seed in range(12)]


def parquet(path: Path, **columns: Any) -> Path:
    """Twelve pictures with their class, in row groups of four."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"image": {"bytes": data, "path": f"{at}.png"}, "label": at % 3, "n": at}
        for at, data in enumerate(PICTURES)
    ]
    features = {"image": Image(), "label": ClassLabel(names=NAMES), "n": Value("int64")}
    Dataset.from_list(rows, features=Features(features | columns)).to_parquet(path, batch_size=4)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


def test_pictures_of_a_parquet_file_keep_their_bytes(root: Path) -> None:
    project = project_of(root, str(parquet(root / "mine" / "a.parquet")))
    found = offered(project, {"": 5})
    assert [one.path.read_bytes() for one in found] == PICTURES[:5]
    assert [one.origin.rsplit("/", 2)[1:] for one in found] == [["train", str(n)] for n in range(5)]
    for one in found:
        assert one.path.is_relative_to(root / "state" / "downloads")
        assert (one.source, one.licence, one.sought, one.fetched) == ("hub", "CC0-1.0", None, True)


def test_a_folder_of_parquet_files_is_read_in_order_relative_to_the_workspace(root: Path) -> None:
    for part in range(2):
        parquet(root / "mine" / f"train-0000{part}-of-00002.parquet")
    found = offered(project_of(root, "mine"), {"": 24})
    assert [one.path.read_bytes() for one in found] == PICTURES * 2
    assert found[-1].origin == "hub:mine/train/23"


def test_candidates_are_sought_by_class_and_balanced(root: Path) -> None:
    parquet(root / "mine.parquet")
    project = project_of(root, "mine.parquet", wanted={"water": ["sea"], "fire": ["forge"]})
    found = offered(project, {"water": 2, "fire": 1})
    taken = {one.origin: one.sought for one in found}
    numbers = {"0": "water", "2": "fire", "3": "water"}
    assert taken == {f"hub:mine.parquet/train/{number}": label for number, label in numbers.items()}


@pytest.mark.parametrize("names", [List(ClassLabel(names=NAMES)), List(Value("string"))])
def test_a_list_of_classes_or_words_is_looked_through(root: Path, names: Any) -> None:
    values = [[NAMES[at % 3], NAMES[(at + 1) % 3]] for at in range(6)]
    rows = [{"image": {"bytes": PICTURES[at]}, "tags": tags} for at, tags in enumerate(values)]
    features = Features({"image": Image(), "tags": names})
    Dataset.from_list(rows, features=features).to_parquet(root / "mine.parquet")
    project = project_of(root, "mine.parquet", by="tags", wanted={"wood": ["forest"]})
    found = offered(project, {"wood": 9})
    assert [one.path.read_bytes() for one in found] == [PICTURES[n] for n in (0, 1, 3, 4)]


def test_class_folders_give_their_own_files(root: Path) -> None:
    files = [save(root / "mine" / kind / f"{n}.png", n) for kind in NAMES for n in range(2)]
    found = offered(project_of(root, "mine"), {"": 99})
    assert sorted(one.path for one in found) == sorted(files)
    assert not any(one.fetched for one in found)
    sought = offered(project_of(root, "mine", wanted={"water": ["sea"]}), {"water": 9})
    assert sorted(one.path for one in sought) == sorted(files[:2])


def test_a_folder_with_metadata_and_splits(root: Path) -> None:
    for split in ("train", "test"):
        save(root / "mine" / split / "0.png", len(split))
        line = {"file_name": "0.png", "scene": "sea"}
        (root / "mine" / split / "metadata.jsonl").write_text(json.dumps(line) + "\n")
    (root / "mine" / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Mine\n")
    project = project_of(root, "mine", split="test", by="scene", wanted={"water": ["sea"]})
    (one,) = offered(project, {"water": 9})
    assert one.path == root / "mine" / "test" / "0.png"
    assert (one.origin, one.licence) == ("hub:mine/test/0", "cc-by-4.0")


def test_rows_that_were_seen_are_passed_over_and_not_written(root: Path) -> None:
    parquet(root / "mine.parquet")
    project = project_of(root, "mine.parquet")
    seen = [f"hub:mine.parquet/train/{number}" for number in (0, 1, 2, 3, 4, 7)]
    found = offered(project, {"": 3}, *seen)
    assert [one.path.read_bytes() for one in found] == [PICTURES[n] for n in (5, 6, 8)]
    assert len(list((root / "state" / "downloads").iterdir())) == 3


def test_row_groups_of_which_all_is_known_are_not_even_loaded(root: Path) -> None:
    """Their bytes are damaged, and nobody sees it."""
    path = parquet(root / "mine.parquet")
    data = bytearray(path.read_bytes())
    at = data.index(PICTURES[5])
    data[at - 200 : at] = bytes(200)  # the header of the second group's first page
    path.write_bytes(data)
    project = project_of(root, "mine.parquet")
    seen = [f"hub:mine.parquet/train/{number}" for number in range(4, 8)]
    found = offered(project, {"": 8}, *seen)
    assert [one.path.read_bytes() for one in found] == PICTURES[:4] + PICTURES[8:]
    with pytest.raises(PocketError, match=r"mine\.parquet"):
        offered(project, {"": 12})


def test_pictures_in_a_zip_are_read_out_of_it(root: Path) -> None:
    (root / "mine").mkdir()
    with ZipFile(root / "mine" / "train.zip", "w") as archive:
        for at in range(3):
            archive.writestr(f"{at}.png", PICTURES[at])
    found = offered(project_of(root, "mine"), {"": 9})
    assert sorted(one.path.read_bytes() for one in found) == sorted(PICTURES[:3])


def test_rows_without_a_picture_are_replaced_by_the_next(root: Path) -> None:
    rows = [{"image": None}, {"image": {"bytes": PICTURES[0], "path": None}}]
    features = Features({"image": Image()})
    Dataset.from_list(rows, features=features).to_parquet(root / "mine.parquet")
    none, one = from_hub(project_of(root, "mine.parquet"), {"": 1}, ())
    assert none == Skipped("hub:mine.parquet/train/0", "the row holds no picture")
    assert isinstance(one, Candidate)


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "{root}/secret.png",
        "https://127.0.0.1:9/a.png",
        "https://127.0.0.1:9/a.png::{root}/mine/a.png",
    ],
)
def test_a_row_can_name_no_file_outside_the_data_set(root: Path, path: str) -> None:
    save(root / "secret.png")
    save(root / "mine" / "a.png", 2)
    rows = [{"image": path.format(root=root)}, {"image": "a.png"}]
    (root / "mine" / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = from_hub(project_of(root, "mine/all.jsonl"), {"": 2}, ())
    assert isinstance(first, Skipped) and "outside the data set" in first.reason
    assert isinstance(second, Candidate) and second.path == root / "mine" / "a.png"


def test_rows_that_cannot_be_read_are_replaced_by_the_next(root: Path) -> None:
    mine = root / "mine"
    parquet(mine / "sound.parquet")
    with ZipFile(mine / "some.zip", "w") as archive:
        archive.writestr("0.png", PICTURES[0])
    (mine / "no.zip").write_bytes(b"no zip")
    whole = (mine / "some.zip").read_bytes()
    (mine / "damaged.zip").write_bytes(whole.replace(PICTURES[0][:99], bytes(99)))
    odd = ["a\0b"]
    odd += [f"zip://{name}" for name in ("a::none.zip", "a::some.zip", "a::no.zip")]
    odd += ["zip://0.png::damaged.zip", "zip://0.png::", "zip://::some.zip", "zip://0.png::a\0b"]
    rows = [{"image": {"bytes": None, "path": path}} for path in odd]
    rows += [{"image": {"bytes": None, "path": "zip://0.png::some.zip"}}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), mine / "odd.parquet")
    *skipped, found = from_hub(project_of(root, "mine/odd.parquet"), {"": 1}, ())
    assert len(skipped) == len(odd)
    for one in skipped:
        assert isinstance(one, Skipped) and one.reason.startswith("cannot be read: "), one
    assert isinstance(found, Candidate) and found.path.read_bytes() == PICTURES[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"column": "photo"}, r"collect\.hub\.column.*no column 'photo'; it has \['image', "),
        ({"column": "n"}, r"collect\.hub\.column: 'n' holds no pictures"),
        ({"by": "kind", "wanted": {"water": ["sea"]}}, r"collect\.hub\.by.*no column 'kind'"),
        ({"wanted": {"water": ["see"]}}, r"'see'\] are no values of 'label'; it has \['sea', "),
        ({"split": "val"}, r"val\. Available splits: \['train'\]"),
        ({"config": "large"}, r"'large' not found\. Available: \['default"),
    ],
)
def test_a_wrong_setting_names_what_there_is(
    root: Path, settings: dict[str, Any], words: str
) -> None:
    parquet(root / "mine" / "a.parquet")
    with pytest.raises(ConfigError, match=words):
        next(from_hub(project_of(root, "mine", **settings), {"water": 1}, ()))


def test_one_of_several_configurations_must_be_named(root: Path) -> None:
    configs = [
        f"- config_name: {name}\n  data_files: {name}.parquet\n" for name in ("big", "small")
    ]
    parquet(root / "mine" / "big.parquet")
    parquet(root / "mine" / "small.parquet")
    (root / "mine" / "README.md").write_text(f"---\nconfigs:\n{''.join(configs)}---\n")
    with pytest.raises(ConfigError, match=r"available configs: \['big', 'small'\]"):
        next(from_hub(project_of(root, "mine"), {"": 1}, ()))
    assert len(offered(project_of(root, "mine", config="small"), {"": 1})) == 1


def test_a_broken_file_is_named(root: Path) -> None:
    path = parquet(root / "mine.parquet")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(PocketError, match=r"mine\.parquet"):
        list(from_hub(project_of(root, "mine.parquet"), {"": 1}, ()))


def test_an_empty_folder_is_named(root: Path) -> None:
    (root / "mine").mkdir()
    with pytest.raises(PocketError, match=r"collect\.hub.*mine"):
        list(from_hub(project_of(root, "mine"), {"": 1}, ()))


PROGRAM = """
import dataclasses, json, sys
from pathlib import Path
from datasets import config
from pocketvlm.collect.candidate import Candidate
from pocketvlm.collect.hub import from_hub
from pocketvlm.config import parse_config
from pocketvlm.errors import PocketError
from pocketvlm.project import Project
config.STREAMING_READ_RETRY_INTERVAL = 0
for line in sys.stdin:
    hub, root, wanted, seen = json.loads(line)
    project = Project.of(parse_config({"collect": {"hub": hub}}), Path(root))
    try:
        for one in from_hub(project, wanted, seen):
            print(json.dumps(dataclasses.asdict(one), default=str), flush=True)
    except PocketError as error:
        print(json.dumps([type(error).__name__, str(error)]), flush=True)
    print("end", flush=True)
"""


class Reader:
    """`from_hub` in a process of its own: the Hub's address is read when libraries are loaded."""

    def __init__(self, hub: FakeHub, root: Path, **environment: str) -> None:
        self.root = root
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(root / "hf")} | environment,
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def ask(self, count: int = 99, *seen: str, **hub: Any) -> Iterator[Any]:
        """Candidates as they come, or kind and words of an error."""
        assert self.process.stdin and self.process.stdout
        asked = [{"dataset": "me/pics", "licence": "own"} | hub, str(self.root), {"": count}, seen]
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line == "end\n":
                return
            yield json.loads(line)


@pytest.fixture
def hub(root: Path) -> Iterator[FakeHub]:
    data = parquet(root / "made.parquet").read_bytes()
    with FakeHub() as hub:
        hub.repos["me/pics"] = Repo({"data/train-00000-of-00001.parquet": data})
        yield hub


def test_the_hub_is_streamed(root: Path, hub: FakeHub) -> None:
    """By repository id: parquet and class folders, the licence of the card, what may go wrong."""
    hub.repos["me/pics"].card = {"license": "cc-by-sa-4.0"}
    files = {f"train/{NAMES[n % 2]}/{n}.png": PICTURES[n] for n in range(4)}
    hub.repos["me/folder"] = Repo(files)
    hub.repos["me/gated"] = Repo(dict(hub.repos["me/pics"].files), gated=True)
    with Reader(hub, root) as reader:
        found = list(reader.ask(7))
        assert [Path(one["path"]).read_bytes() for one in found] == PICTURES[:7]
        assert found[6]["origin"] == "hub:me/pics/train/6"
        assert {(one["licence"], one["url"], one["author"]) for one in found} == {
            ("cc-by-sa-4.0", f"{hub.url}/datasets/me/pics", None)
        }
        folder = list(reader.ask(dataset="me/folder"))
        assert {Path(one["path"]).read_bytes() for one in folder} == set(PICTURES[:4])
        assert {one["licence"] for one in folder} == {"own"}
        cases: list[tuple[dict[str, Any], str, str]] = [
            ({"dataset": "me/none"}, "PocketError", "HF_TOKEN"),
            ({"dataset": "me/gated"}, "PocketError", "HF_TOKEN"),
            ({"dataset": "a/b/c"}, "ConfigError", "neither a local file"),
            ({"revision": "nope"}, "ConfigError", "collect.hub.revision"),
            ({"split": "val"}, "ConfigError", "Available splits: ['train']"),
            ({"config": "large"}, "ConfigError", "Available: ['default']"),
            ({"column": "photo"}, "ConfigError", "it has ['image', 'label', 'n']"),
        ]
        for wrong, kind, words in cases:
            ((found_kind, said),) = reader.ask(**wrong)
            assert found_kind == kind, said
            assert words in said and "\n" not in said


@pytest.mark.slow
def test_a_token_of_env_opens_a_gated_data_set_and_a_cut_is_mended(
    root: Path, hub: FakeHub
) -> None:
    hub.repos["me/pics"].gated = True
    (root / ".env").write_text(f"HF_TOKEN={TOKEN}\n")
    (root / ".env").chmod(0o600)
    cuts = [20_000]
    hub.before = lambda method, path: (
        cuts.pop() if cuts and method == "GET" and path.endswith(".parquet") else None
    )
    with Reader(hub, root) as reader:
        found = list(reader.ask())
    assert [Path(one["path"]).read_bytes() for one in found] == PICTURES
    assert not cuts


@pytest.mark.slow
def test_an_unreachable_hub_is_said_with_the_mend(root: Path, hub: FakeHub) -> None:
    hub.url = "http://127.0.0.1:9"
    with Reader(hub, root) as reader:
        ((kind, words),) = reader.ask()
    assert kind == "PocketError"
    assert "me/pics could not be read" in words and "run the same command again" in words


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(root: Path, hub: FakeHub) -> None:
    with Reader(hub, root) as reader:
        asked = reader.ask()
        before = [next(asked) for _ in range(5)]
    with Reader(hub, root) as reader:
        after = list(reader.ask(99, *(one["origin"] for one in before)))
    assert [Path(one["path"]).read_bytes() for one in before + after] == PICTURES
    assert len(list((root / "state" / "downloads").iterdir())) == len(PICTURES)


def test_nothing_of_a_row_becomes_a_label(root: Path) -> None:
    parquet(root / "mine.parquet")
    (one,) = offered(project_of(root, "mine.parquet"), {"": 1})
    assert not any(name in str(asdict(one)) for name in NAMES)
