"""Runs side by side: paired where the pictures are the same, and loud where they are not."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.intervals import mcnemar, paired, wilson
from pocketvlm.validate import metrics
from pocketvlm.validate.compare import compare, intervals_apart, short_names
from pocketvlm.validate.compare.page import UNKNOWN, lines_of, render, table
from pocketvlm.workspace import Row, write_json, write_rows
from tests.browser import browser as browser
from tests.html_reader import Page

LABELS = ("water", "fire")
Write = Callable[..., Path]


def verdict(right: Sequence[bool], **changes: Any) -> Row:
    """metrics.json of pictures of water and fire in turns, so answered."""
    truth = [LABELS[at % 2] for at in range(len(right))]
    answers = [label if hit else None for label, hit in zip(truth, right, strict=True)]
    figures = {
        "accuracy": sum(right) / len(right),
        "ci": list(wilson(sum(right), len(right))),
        "n": len(right),
        "truth": "known",
        "split": "test",
        "type": "Q8_0",
        "mmproj_type": "F16",
        "contract": "one",
        "majority": 0.5,
        "macro_f1": metrics.macro_f1(truth, answers),
        "per_class": metrics.per_class(truth, answers, LABELS),
        "confusion": metrics.confusion(truth, answers, LABELS),
        "one_word": 1.0,
        "agreement": 0.99,
        "ms_per_picture": 31.25,
        "base": {"greedy": 0.0, "likelihood": 0.25},
        "ladder": [
            {"step": "llama.cpp Q8_0", "mib": 9.0, "ships": False},
            {"step": "llama.cpp Q8_0 + mmproj Q8_0", "mib": 7.5, "ships": True},
        ],
        "gates": {"accuracy": {"passed": True}, "ms": {"passed": False}},
    }
    return figures | changes


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a workspace's report; `pictures` are the predictions' ids, None for no file."""

    def run(
        name: str,
        right: Sequence[bool],
        pictures: Sequence[str] | None = None,
        without: bool = False,
        **changes: Any,
    ) -> Path:
        report = tmp_path / name / "report"
        write_json(report / "metrics.json", verdict(right, **changes))
        ids = pictures or [str(at) for at in range(len(right))]
        rows = [
            {"id": id, "truth": LABELS[at % 2], "right": hit}
            for at, (id, hit) in enumerate(zip(ids, right, strict=True))
        ]
        if not without:
            write_rows(report / "predictions.jsonl", rows)
        return report.parent

    return run


def test_the_same_pictures_are_compared_one_by_one(write: Write) -> None:
    first, second = [True] * 8 + [False] * 2, [False] * 1 + [True] * 9
    figures = compare([write("a", first), write("b", second)])
    assert figures["runs"][0]["change"] is None
    change = figures["runs"][1]["change"]
    assert (change["gained"], change["lost"], change["n"]) == (2, 1, 10)
    assert (change["difference"], change["low"], change["high"]) == paired(2, 1, 10)
    assert change["p"] == mcnemar(2, 1)
    assert figures["warnings"] == []


def test_only_pictures_of_both_are_paired_and_that_is_said(write: Write) -> None:
    runs = [
        write("a", [True, True, False], ["x", "y", "z"]),
        write("b", [True, False], ["w", "y"]),
    ]
    figures = compare(runs)
    assert (figures["runs"][1]["change"]["n"], figures["runs"][1]["change"]["lost"]) == (1, 1)
    assert "1 are in both" in figures["warnings"][0]


@pytest.mark.parametrize("without", ["predictions", "shared pictures"])
def test_other_pictures_are_unpaired(write: Write, without: str) -> None:
    right = [True] * 9 + [False]
    other = [f"other{at}" for at in range(10)] if without == "shared pictures" else None
    figures = compare(
        [write("a", right), write("b", right, other, without=without == "predictions")]
    )
    change = figures["runs"][1]["change"]
    assert (change["n"], change["p"], change["gained"]) == (None, None, None)
    assert change["low"] < 0 < change["high"]
    assert "unpaired" in table(figures)
    assert len(figures["warnings"]) == 1


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"truth": "teacher"}, "another truth (teacher here, known there)"),
        ({"contract": "two"}, "another device contract"),
        (
            {"confusion": {"truth": ["water", "lava"], "answered": [], "counts": []}},
            "other labels (lava, water here, fire, water there)",
        ),
    ],
)
def test_what_is_not_comparable_is_named(write: Write, changes: Row, wanted: str) -> None:
    figures = compare([write("a", [True, False]), write("b", [True, False], **changes)])
    assert figures["warnings"] == [next(one for one in figures["warnings"] if wanted in one)]
    assert figures["warnings"][0].startswith("b and a: ")
    assert "NOT COMPARABLE: b and a" in table(figures)
    assert wanted in Page(render(figures)).text


def test_pictures_whose_truth_has_changed_are_counted(write: Write) -> None:
    first, second = write("a", [True, True]), write("b", [True, True], ["1", "0"])
    assert "2 of the 2 pictures in both have another true label" in str(
        compare([first, second])["warnings"]
    )


def test_a_run_is_a_workspace_a_folder_or_a_file(write: Write, tmp_path: Path) -> None:
    first, second, third = (write(name, [True, False]) for name in "abc")
    figures = compare([first, second / "report", third / "report" / "metrics.json"])
    assert [row["name"] for row in figures["runs"]] == ["a", "b", "c"]


def test_the_shipped_rung_is_shown(write: Write) -> None:
    rows = compare([write("a", [True, False]), write("b", [True, False])])["runs"]
    assert rows[0]["mib"] == 7.5
    assert rows[0]["worst_recall"] == {"label": "fire", "recall": 0.0}
    assert rows[0]["gates"] == {"accuracy": True, "ms": False}
    assert "missed: ms" in table({"runs": rows, "warnings": []})


def test_what_the_workspace_knows_of_its_training_is_shown(write: Write) -> None:
    trained, other = write("a", [True, False]), write("b", [True, False])
    write_json(trained / "adapter" / "base.json", {"model": "hub/base"})
    write_json(trained / "adapter" / "history.json", {"best": {"epoch": 3.0}})
    rows = compare([trained, other])["runs"]
    assert [(row["base"], row["epochs"]) for row in rows] == [("hub/base", 3.0), (None, None)]
    shown = dict(lines_of({"runs": rows, "warnings": []}))
    assert shown["base"] == ["hub/base", UNKNOWN]
    assert shown["epochs"] == ["3", UNKNOWN]


def test_older_files_have_dashes(write: Write, tmp_path: Path) -> None:
    whole = verdict([True, False])
    older = {name: whole[name] for name in ("accuracy", "ci", "n", "confusion", "type")}
    older["ladder"] = [{"step": "llama.cpp Q8_0", "mib": 2.0}]
    write_json(tmp_path / "old" / "report" / "metrics.json", older)
    figures = compare([write("a", [True, False]), tmp_path / "old"])
    shown = dict(lines_of(figures))
    assert shown["both files, MiB"] == ["7.5", "2.0"]
    assert shown["macro F1"][1] == shown["ms a picture"][1] == shown["gates"][1] == UNKNOWN
    assert Page(render(figures)).text.count(UNKNOWN) > 5


def test_a_run_without_a_verdict_is_an_error(write: Write, tmp_path: Path) -> None:
    there = write("a", [True])
    with pytest.raises(PocketError, match=r"nowhere holds no verdict .* `pocketvlm validate`"):
        compare([there, tmp_path / "nowhere"])
    write_json(tmp_path / "else" / "metrics.json", {"loss": 1.0})
    with pytest.raises(PocketError, match="holds no verdict"):
        compare([there, tmp_path / "else"])


@pytest.mark.parametrize(
    "changes",
    [
        {"confusion": None},
        {"confusion": {"truth": 7}},
        {"accuracy": None},
        {"accuracy": "0.9"},
        {"ci": [0.5]},
        {"n": 2.5},
        {"ladder": ["Q8_0"]},
        {"ladder": {}},
        {"per_class": {"water": None}},
        {"base": 0.2},
        {"gates": {"ms": True}},
        {"majority": "half"},
    ],
)
def test_figures_of_another_kind_are_no_verdict(write: Write, changes: Row) -> None:
    runs = [write("a", [True, False]), write("b", [True, False], **changes)]
    with pytest.raises(PocketError, match=rf"holds no verdict \({next(iter(changes))}"):
        compare(runs)


def test_figures_that_are_not_known_are_none(write: Write) -> None:
    names = ("truth", "per_class", "base", "gates", "ladder", "majority", "macro_f1", "agreement")
    runs = [write("a", [True]), write("b", [True], **dict.fromkeys(names))]
    assert table(compare(runs))


def test_one_run_or_the_same_twice_is_refused(write: Write) -> None:
    there = write("a", [True])
    with pytest.raises(ConfigError, match="at least two"):
        compare([there])
    with pytest.raises(ConfigError, match="named twice"):
        compare([there, there / "report"])


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/w/one", "/w/two"], ["one", "two"]),
        (["/w/lr1/seed", "/w/lr2/seed"], ["lr1", "lr2"]),
        (["/w/lr1/s0", "/w/lr1/s1", "/w/lr2/s0"], ["lr1/s0", "s1", "lr2/s0"]),
        (["/w", "/w/verdicts/beach"], ["w", "beach"]),
    ],
)
def test_names_are_as_short_as_they_can_be(paths: list[str], names: list[str]) -> None:
    assert short_names([Path(path) for path in paths]) == names


@given(
    st.lists(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple),
        min_size=2,
        max_size=6,
        unique=True,
    )
)
def test_names_tell_runs_apart(paths: list[tuple[str, ...]]) -> None:
    homes = [Path("/", *parts) for parts in paths]
    names = short_names(homes)
    assert len(set(names)) == len(homes)
    assert all(name and name in str(home) for name, home in zip(names, homes, strict=True))


@given(st.integers(0, 50), st.integers(0, 60))
def test_the_unpaired_interval_holds_the_difference(first: int, second: int) -> None:
    rows = [
        {"accuracy": hits / n, "ci": list(wilson(hits, n))}
        for hits, n in ((first, 50), (second, 60))
    ]
    difference, low, high = intervals_apart(*rows)
    assert -1 <= low <= difference <= high <= 1
    back = intervals_apart(*reversed(rows))
    assert back == pytest.approx((-difference, -high, -low))


def test_the_unpaired_interval_is_newcombes() -> None:
    rows = [{"accuracy": hits / n, "ci": list(wilson(hits, n))} for hits, n in ((48, 80), (56, 70))]
    assert intervals_apart(*rows) == pytest.approx((0.2, 0.0524, 0.3339), abs=2e-4)


def test_the_page_is_whole_and_loads_nothing(write: Write) -> None:
    first, second = write("<a & b>", [True, False]), write("b", [True, True])
    page = Page(render(compare([first, second])))
    assert "<a & b>" in page.text
    assert not page.all("script")
    assert not page.all("link")
    assert "not told apart from <a & b>" in page.text


def test_the_command_prints_and_writes(write: Write, tmp_path: Path) -> None:
    runs = [str(write(name, [True, False])) for name in "ab"]
    command = [sys.executable, "-c", "from pocketvlm.cli import main; main()", "compare", *runs]
    page = tmp_path / "page.html"
    done = subprocess.run(
        [*command, "--html", str(page), "--json"], capture_output=True, text=True, check=True
    )
    assert [row["name"] for row in json.loads(done.stdout)["runs"]] == ["a", "b"]
    assert Page(page.read_text()).all("table")


@pytest.mark.parametrize(
    ("page", "reason"), [("", "is a folder"), ("gone/page.html", "make it first")]
)
def test_a_page_without_a_place_is_told_before_anything(
    tmp_path: Path, page: str, reason: str
) -> None:
    command = [sys.executable, "-c", "from pocketvlm.cli import main; main()", "compare"]
    runs = ["nowhere", "neither", "--html", str(tmp_path / page)]
    done = subprocess.run([*command, *runs], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"--html {tmp_path / page}" in done.stderr
    assert reason in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_a_phone(browser: Browser, write: Write, tmp_path: Path, width: int) -> None:
    runs = [write(f"a-run-with-a-long-name-{at}", [True, False]) for at in range(6)]
    file = tmp_path / "page.html"
    file.write_text(render(compare(runs)), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 800})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri(), wait_until="load")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert asked == [file.as_uri()]
