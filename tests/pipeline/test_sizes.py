"""Sides compared: a folder each, one teacher for all, and the price in words and on a page."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from playwright.sync_api import Browser

from pocketvlm.config import load_config, parse_config
from pocketvlm.errors import ConfigError, GateMissed, PocketError
from pocketvlm.intervals import wilson
from pocketvlm.layout import Layout
from pocketvlm.pipeline import sizes
from pocketvlm.pipeline.sizes import check_sizes, compare_sizes, paired, read_sides
from pocketvlm.pipeline.sizes_page import table
from pocketvlm.plots import sizes_plot
from pocketvlm.project import Project
from pocketvlm.student.tiny import save_tiny
from pocketvlm.workspace import Row, read_json, read_rows, write_json, write_rows, write_text
from tests.e2e.test_whole_way import colour_project
from tests.test_cli import pocketvlm
from tests.validate.test_browser import DESK, PHONE, browser  # noqa: F401

TASK = {"question": "Sky or grass?", "labels": {"sky": "blue", "grass": "green"}}

BUILD = {"package": "none", "version": "0", "behaviour": "usual"}


class FakeRun:
    """Stands for the stages: leaves what a side's run would leave, and remembers the calls."""

    def __init__(self, right: Mapping[int, Sequence[bool]], gate: float = 0.5) -> None:
        self.right = right
        self.gate = gate
        self.weights = "first"
        self.calls: list[Row] = []
        self.timed = 0

    def __call__(self, project: Project, **how: Any) -> Row:
        self.calls.append({"root": project.workspace.root, **how})
        if how.get("first") != "prepare":
            return {}
        space, side = project.workspace, project.contract.side
        right = self.right[side]
        picture = Layout((1,) + (0,) * 5 + (2,) + (0,) * 5, 0, "words", BUILD)
        project.record_contract(space.adapter, picture)
        write_text(space.text_gguf("Q8_0"), "x" * 2**20)
        write_text(space.vision_gguf("F16"), "x" * 2**19)
        write_json(space.manifest("train"), {"seconds": 7.5})
        accuracy = sum(right) / len(right)
        facts = {"split": "test", "truth": "teacher", "n": len(right)}
        facts |= {"type": "Q8_0", "mmproj_type": "F16"}
        facts |= {"accuracy": accuracy, "ci": wilson(sum(right), len(right))}
        facts |= {"files": {"model": self.weights}, "runtime": BUILD}
        write_json(space.report / "metrics.json", facts)
        rows = [{"id": f"picture {at}", "right": yes} for at, yes in enumerate(right)]
        write_rows(space.report / "predictions.jsonl", rows)
        if accuracy < self.gate:
            raise GateMissed(f"accuracy {accuracy} is below the gate", {"accuracy": accuracy})
        return {}

    def times(self, ran: Sequence[Project]) -> list[Row]:
        """As if time grew with the side."""
        self.timed += 1
        sides = [one.contract.side for one in ran]
        return [{"ms": side / 10, "vision_ms": side / 20} for side in sides]


def stand_in(
    monkeypatch: pytest.MonkeyPatch, right: Mapping[int, Sequence[bool]], gate: float = 0.5
) -> FakeRun:
    """Runs with these answers instead of real ones."""
    fake = FakeRun(right, gate)
    monkeypatch.setattr(sizes, "run", fake)
    monkeypatch.setattr(sizes, "ask_in_turns", fake.times)
    return fake


def project(root: Path, **sections: Any) -> Project:
    """A project whose base is a folder beside it."""
    save_tiny(root / "base")
    (root / "project").mkdir()
    return Project.of(
        parse_config({"task": TASK, "base": {"model": "../base"}} | sections), root / "project"
    )


SEEN = {64: [True] * 6 + [False] * 4, 128: [True] * 9 + [False]}


def test_each_side_has_a_folder_and_shares_pictures_and_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = project(tmp_path, device={"side": 256, "vision_size": 256})
    fake, root = stand_in(monkeypatch, SEEN), made.workspace.root
    write_text(made.workspace.index, "{}\n")
    compare_sizes(made, [128, 64])
    folders = [root / "sizes" / side for side in ("64", "128")]
    assert fake.calls == [
        {"root": root, "last": "label", "force": False},
        *({"root": folder, "first": "prepare", "force": False} for folder in folders),
    ]
    for folder in folders:
        config = load_config(folder / "pocketvlm.yaml")
        assert (config.device.side, config.device.vision_size) == (int(folder.name), None)
        assert config.task == made.config.task
        assert (folder / "originals" / "index.jsonl").read_text() == "{}\n"
        assert (folder / "labels").readlink() == Path("../../labels")
    assert load_config(folders[0] / "pocketvlm.yaml").train == made.config.train


def test_paths_mean_the_same_and_move_with_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "known.jsonl").touch()
    absolute = str(tmp_path / "known.jsonl")
    made = project(
        tmp_path,
        collect={"folder": "my/pictures"},
        prepare={"custom": "my/labels.json"},
        validate={"truth": "known", "truth_file": absolute},
    )
    stand_in(monkeypatch, SEEN)
    compare_sizes(made, [64, 128])
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    made.workspace.root.rename(moved / "project")
    (tmp_path / "base").rename(moved / "base")
    one = Project.load(moved / "project" / "sizes" / "64" / "pocketvlm.yaml")
    found = [
        os.path.normpath(one.path(Path(path)))
        for path in (
            one.config.collect.folder,
            one.config.prepare.custom or "",
            one.config.base.model,
        )
    ]
    here = [moved / "project/my/pictures", moved / "project/my/labels.json", moved / "base"]
    assert found == [str(path) for path in here]
    assert str(one.config.validate_.truth_file) == absolute
    assert not (one.workspace.root / "originals").exists()  # the custom file names its pictures


def test_sizes_may_lie_on_another_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = project(tmp_path)
    (tmp_path / "disk" / "far" / "away").mkdir(parents=True)
    (made.workspace.root / "sizes").symlink_to(tmp_path / "disk" / "far" / "away")
    write_text(made.workspace.index, "{}\n")
    stand_in(monkeypatch, SEEN)
    compare_sizes(made, [64, 128])
    side = tmp_path / "disk" / "far" / "away" / "64"
    assert (side / "originals" / "index.jsonl").is_file()
    assert (side / load_config(side / "pocketvlm.yaml").base.model / "config.json").is_file()


def test_a_base_of_the_hub_is_the_same_commit_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A branch that moves between two sides would look like a difference of sides."""
    made = project(tmp_path, base={"model": "maker/student"})
    commits = iter("ab")

    def download(model: str, revision: str, **_: object) -> str:
        name = revision if revision != "main" else next(commits) * 40
        return str(tmp_path / name)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    stand_in(monkeypatch, SEEN)
    for _ in range(2):
        compare_sizes(made, [64, 128])
        for side in ("64", "128"):
            folder = made.workspace.root / "sizes" / side
            base = load_config(folder / "pocketvlm.yaml").base
            assert (base.model, base.revision) == ("maker/student", "a" * 40)


def test_labels_of_its_own_are_not_taken_for_the_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = project(tmp_path)
    stand_in(monkeypatch, SEEN)
    (made.workspace.root / "sizes" / "64" / "labels").mkdir(parents=True)
    with pytest.raises(PocketError, match="no link to the project's labels"):
        compare_sizes(made, [64, 128])


def test_a_missed_gate_is_raised_after_all_sides_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = project(tmp_path)
    fake = stand_in(monkeypatch, SEEN, gate=0.8)
    figures = compare_sizes(made, [64, 128])
    assert len(fake.calls) == 3
    assert [row["gate"] for row in figures["sides"]] == ["accuracy 0.6 is below the gate", None]
    with pytest.raises(GateMissed, match=r"^side 64: accuracy 0\.6") as missed:
        check_sizes(figures)
    assert missed.value.figures == figures
    assert "missed" in table(figures).splitlines()[1]


def test_the_rows_hold_size_accuracy_time_and_the_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = project(tmp_path)
    stand_in(monkeypatch, SEEN)
    figures = compare_sizes(made, [64, 128])
    assert figures == read_json(made.workspace.root / "sizes" / "sizes.json")
    check_sizes(figures)
    small, large = figures["sides"]
    assert small["against_smallest"] is None
    assert large == large | {
        "side": 128,
        "image_tokens": 5,
        "tiles": 2,
        "mmproj_mib": 0.5,
        "mib": 1.5,
        "accuracy": 0.9,
        "n": 10,
        "ms": 12.8,
        "vision_ms": 6.4,
        "train_seconds": 7.5,
        "gate": None,
    }
    pair = large["against_smallest"]
    assert (pair["difference"], pair["only_this"], pair["only_smallest"]) == (0.3, 3, 0)


def test_times_are_taken_again_of_other_files_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = project(tmp_path)
    fake = stand_in(monkeypatch, SEEN)
    first = compare_sizes(made, [64, 128])
    assert compare_sizes(made, [64, 128]) == first
    assert fake.timed == 1
    compare_sizes(made, [64, 128], force=True)
    assert fake.timed == 2
    fake.weights = "others"
    assert compare_sizes(made, [64, 128])["timed"] != first["timed"]
    assert fake.timed == 3


def test_the_difference_is_paired() -> None:
    """The same two accuracies: with the same pictures right, much less is uncertain."""
    few = {str(at): at < 60 for at in range(100)}
    nested = {str(at): at < 70 for at in range(100)}
    crossed = {str(at): at >= 30 for at in range(100)}
    same, other = paired(few, nested), paired(few, crossed)
    assert same["difference"] == other["difference"] == pytest.approx(0.1)
    assert (same["only_this"], same["only_smallest"]) == (10, 0)
    assert (other["only_this"], other["only_smallest"]) == (40, 30)
    assert same["ci"] == pytest.approx([0.0342, 0.1618], abs=1e-4)
    assert other["ci"][0] < 0 < other["ci"][1]
    assert paired(few, few)["difference"] == 0


def outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: Sequence[bool]) -> str:
    """The sentence on 128 against 64, which gets 60 of 100 right."""
    made = project(tmp_path)
    stand_in(monkeypatch, {64: [at < 60 for at in range(100)], 128: large})
    sentence: str = compare_sizes(made, [64, 128])["words"][0]
    return sentence


@pytest.mark.parametrize(
    ("right", "wanted"),
    [
        (75, "128 is 15.0 points more accurate [7.3, 22.1] and takes 2.0 times as long as 64"),
        (50, "128 is 10.0 points less accurate [3.4, 16.2] and takes 2.0 times as long as 64"),
        (61, "128 is not told apart from 64 by 100 pictures (+1.0 points [-2.3, +4.3]) and takes"),
    ],
)
def test_the_price_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right: int, wanted: str
) -> None:
    sentence = outcome(tmp_path, monkeypatch, [at < right for at in range(100)])
    assert sentence.startswith(wanted)


def test_the_page_says_it_all_and_loads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = project(tmp_path)
    stand_in(monkeypatch, {**SEEN, 192: [False] * 10})
    figures = compare_sizes(made, [64, 128, 192])
    page = (made.workspace.root / "sizes" / "sizes.html").read_text(encoding="utf-8")
    text = unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))
    assert all(sentence in text for sentence in figures["words"])
    assert "Sky or grass?" in text and "agreement with the teacher" in text
    for wanted in ("60.0%", "90.0%", "2 tiles of 5", "only at 64: 0", "tower: 6.4", "mmproj: 0.50"):
        assert wanted in text
    assert "Gate missed at 192" in text and "Gate missed at 64" not in text
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page
    assert page.count("<svg") == 1
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    assert '<a href="128/report/report.html">' in page
    assert "{{" not in page and "{%" not in page


def test_the_plot_has_a_point_a_side_also_at_the_ends_of_the_scale() -> None:
    ends = {0: [0.0, 0.3], 1: [0.7, 1.0]}
    rows = [
        {"side": 64 + 64 * at, "accuracy": float(at), "ci": ci, "ms": 3.0 + at}
        for at, ci in ends.items()
    ]
    drawing = ElementTree.fromstring(sizes_plot(rows))
    texts = [element.text for element in drawing.iter()]
    assert texts.count("64") == texts.count("128") == 1


@pytest.mark.slow
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_fits_a_phone_and_asks_for_nothing(
    browser: Browser,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    width: int,
) -> None:
    made = project(tmp_path)
    stand_in(monkeypatch, SEEN, gate=0.8)
    compare_sizes(made, [64, 128])
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme="dark")
    asked: list[str] = []
    page.on("console", lambda message: asked.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    file = (made.workspace.root / "sizes" / "sizes.html").as_uri()
    page.goto(file, wait_until="load")
    assert asked == [file]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".plot svg").evaluate("one => one.clientHeight") > 100
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, dark.strip("rgb()").split(","))) < 200


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("256", "name at least two sides"),
        ("256,256", "each once"),
        ("", "write sides with commas"),
        ("256,large", "write sides with commas"),
        ("256,300", "300 is no multiple of 64: use 320"),
        ("0,256", "0 is no multiple of 64: use 64"),
    ],
)
def test_sides_that_cannot_be_compared_are_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, told: str
) -> None:
    fake = stand_in(monkeypatch, SEEN)
    made = project(tmp_path)
    with pytest.raises(ConfigError, match=told):
        compare_sizes(made, read_sides(given))
    assert fake.calls == []
    assert not (made.workspace.root / "sizes").exists()


def test_the_command_refuses_parts_of_the_way(tmp_path: Path) -> None:
    (tmp_path / "pocketvlm.yaml").touch()
    for part in (("--until", "train"), ("--nproc", "2")):
        done = pocketvlm("run", "--vision-sizes", "64,128", *part, cwd=tmp_path)
        assert done.returncode == 2
        assert "leave --from, --until and --nproc out" in " ".join(done.stderr.split())
    done = pocketvlm("run", "--vision-sizes", "64,100", cwd=tmp_path)
    assert done.returncode == 2
    assert "100 is no multiple of 64: use 128" in done.stderr


def test_pictures_are_looked_for_before_any_side(tmp_path: Path) -> None:
    made = project(tmp_path)
    with pytest.raises(ConfigError, match=r"collect\.folder"):
        compare_sizes(made, [64, 128])
    assert not (made.workspace.root / "sizes").exists()


@pytest.mark.slow
def test_a_base_of_128_goes_the_whole_way_at_64_and_at_192(tmp_path: Path) -> None:
    made = colour_project(tmp_path, gates={"accuracy": 0.8})  # 16 pictures show no more
    save_tiny(tmp_path / "base", words=["sky", "grass", "Is", "this", "or"], side=128)
    small, large = compare_sizes(made, [64, 192])["sides"]
    assert [(row["tiles"], row["image_tokens"]) for row in (small, large)] == [(2, 1), (2, 9)]
    assert small["mmproj_mib"] < large["mmproj_mib"]
    assert all(
        0 < row["vision_ms"] < row["ms"] and row["train_seconds"] > 0 for row in (small, large)
    )
    for row in (small, large):
        side = tmp_path / "sizes" / str(row["side"])
        metrics = read_json(side / "report" / "metrics.json")
        assert metrics["agreement"] == 1.0
        assert metrics["audit"]["first_break"] is None
        assert row["accuracy"] == 1.0 and row["gate"] is None
        assert (side / "bundle" / "contract.json").is_file()
    before = events(tmp_path)
    assert compare_sizes(made, [192, 64])["sides"] == [small, large]
    assert events(tmp_path) == before


def events(root: Path) -> dict[str, int]:
    """How much each folder's log says was done."""
    return {
        str(log.relative_to(root)): len(list(read_rows(log)))
        for log in root.rglob("logs/stages.jsonl")
    }


@pytest.mark.slow
def test_the_command_goes_on_after_a_missed_gate_and_exits_with_3(tmp_path: Path) -> None:
    made = colour_project(tmp_path)
    config = made.config.model_dump(mode="json", by_alias=True)
    config["train"] |= {"epochs": 1, "learning_rate": 1e-7}
    config["gates"]["accuracy"] = 1.0
    (tmp_path / "pocketvlm.yaml").write_text(yaml.safe_dump(config))
    command = ["run", "--vision-sizes", "64,128", "-c", tmp_path / "pocketvlm.yaml"]
    first = pocketvlm(*command, "--json")
    assert first.returncode == 3, first.stderr
    assert all(f"side {side}: the lower bound" in first.stderr for side in (64, 128))
    rows = json.loads(first.stdout)["sides"]
    assert [row["side"] for row in rows] == [64, 128]
    assert all("below gates.accuracy" in row["gate"] for row in rows)
    before = events(tmp_path)
    again = pocketvlm(*command)
    assert again.returncode == 3
    assert events(tmp_path) == before
    assert again.stdout.splitlines()[0].split()[:4] == ["side", "tokens", "mmproj", "MiB"]
    assert "128 is " in again.stdout and "times as long as 64" in again.stdout
