"""Before a run: where labelling has nothing to ask, no teacher has to be there."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pocketvlm.config import parse_config
from pocketvlm.label.ledger import Ledger, append
from pocketvlm.label.plan import Plan
from pocketvlm.pipeline.doctor.checks import asked
from pocketvlm.pipeline.doctor.found import Found
from pocketvlm.pipeline.doctor.pictures import adds_pictures
from pocketvlm.pipeline.run import execute, run
from pocketvlm.pipeline.stages import STAGES
from pocketvlm.project import Project
from pocketvlm.workspace import NOTE, write_json
from tests.label.server import Server, answer
from tests.pipeline.conftest import draw_pictures
from tests.pipeline.examined import KEY
from tests.pipeline.models_server import ModelsServer

GONE = "http://127.0.0.1:9/v1"
PRICE = {"input_usd": 5, "output_usd": 5, "source": "https://x.org", "date": "2026-01-01"}
PRICED = {"seer": PRICE | {"image": {"rule": "fixed", "tokens": 100}}}


def made(root: Path, url: str = GONE, **sections: Any) -> Project:
    """A project with one teacher there."""
    teacher = {"base_url": url, "model": "seer", "api_key_env": KEY}
    return Project.of(parse_config({"teachers": [teacher]} | sections), root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three pictures, collected and answered."""
    draw_pictures(tmp_path / "pictures", 3)
    project = made(tmp_path)
    execute(project, STAGES[0])
    plan = Plan(project, Ledger(project.workspace.answers))
    fields = {"kind": "answer", "status": "ok", "label": "water", "confidence": 0.9}
    rows = [
        fields | {"key": question.key, "picture": question.picture["sha256"], "usd": 0.0}
        for question in plan.due(0)
    ]
    append(project.workspace.answers, rows)
    return tmp_path


def before_run(project: Project, *stages: str) -> Found:
    """What is found when these are about to run, and nobody sits there."""
    return asked(project, [stage for stage in STAGES if stage.name in stages], before_run=True)


def told(found: Found) -> tuple[str, str]:
    """Problems and warnings."""
    return " | ".join(map(str, found.problems)), " | ".join(found.warnings)


def test_nothing_to_ask_needs_no_server_and_no_key(root: Path) -> None:
    with ModelsServer() as server:
        server.status = 401
        found = before_run(made(root, server.url), "label")
        assert server.asked == []
    assert told(found) == ("", "")


def test_one_open_question_needs_the_server(root: Path) -> None:
    answers = made(root).workspace.answers
    answers.write_text("".join(answers.read_text().splitlines(keepends=True)[1:]))
    assert "cannot be reached" in told(before_run(made(root), "label"))[0]


def test_an_open_batch_needs_the_server(root: Path) -> None:
    row = {"kind": "batch", "submission": "s", "state": "submitting", "base_url": GONE}
    append(made(root).workspace.answers, [row | {"model": "seer"}])
    assert "cannot be reached" in told(before_run(made(root), "label"))[0]


@pytest.mark.parametrize("change", ["text", "copy", "renamed", "same", "broken"])
def test_a_folder_without_a_new_picture_makes_it_a_warning(root: Path, change: str) -> None:
    pictures, project = root / "pictures", made(root)
    match change:
        case "text":
            (pictures / "extra.txt").write_text("x")
        case "copy":
            project = made(Path(shutil.copytree(root, f"{root}-copy", copy_function=shutil.copy)))
        case "renamed":
            (pictures / "0.png").rename(pictures / "another.png")
        case "same":
            shutil.copy(pictures / "0.png", pictures / "again.png")
        case "broken":
            (pictures / "cut.png").write_bytes((pictures / "0.png").read_bytes()[:-900])
    problems, warnings = told(before_run(project, "collect", "label"))
    assert problems == "" and "cannot be reached" in warnings


@pytest.mark.parametrize("name", ["new.png", "0.png"])
def test_a_new_picture_makes_it_a_problem(root: Path, name: str) -> None:
    Image.new("RGB", (90, 90), "red").save(root / "pictures" / name)
    problems, warnings = told(before_run(made(root), "collect", "label"))
    assert "cannot be reached" in problems and warnings == ""


def test_another_source_makes_it_a_problem(root: Path) -> None:
    hub = {"dataset": "me/data", "pictures": 5}
    project = made(root, collect={"hub": hub})
    assert "cannot be reached" in told(before_run(project, "collect", "label"))[0]


def test_a_source_that_has_given_all_brings_nothing_new(root: Path) -> None:
    draw_pictures(root / "own", 2)
    hub = {"dataset": str(root / "own"), "pictures": 5}
    project = made(root, collect={"hub": hub})
    assert adds_pictures(project)
    execute(project, STAGES[0])
    assert not adds_pictures(project)


def test_a_line_that_a_kill_has_torn_is_left_to_collect(root: Path) -> None:
    with made(root).workspace.index.open("a") as file:
        file.write('{"sha256": "12')
    found = before_run(made(root), "collect", "label")
    assert len(found.problems) == 1 and "cannot be reached" in str(found.problems[0])


def test_paying_again_that_nobody_agreed_to_is_found_first(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with ModelsServer("seer") as server:
        task = {"labels": {"water": "the sea", "land": "the rest"}, "question": "Water or land?"}
        project = made(root, server.url, prices=PRICED, task=task)
        [problem] = before_run(project, "label").problems
        assert "3 pictures were answered before" in str(problem) and "--yes" in str(problem)
        assert problem.exit_code == 2
        agreed = Project.of(project.config, root, agreed=True)
        assert told(before_run(agreed, "label")) == ("", "")


def test_a_run_goes_on_without_its_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketvlm.label.page.render", lambda *_, **__: "")
    draw_pictures(tmp_path / "pictures", 2)
    with Server() as server:
        server.queue.extend(answer(alternative="none") for _ in range(2))
        run(made(tmp_path, server.url), last="label")
        url = server.url
    (tmp_path / "pictures" / "extra.txt").write_text("x")
    figures = run(made(tmp_path, url), last="label")
    assert figures["collect"]["skipped"] == 1


def test_what_a_server_was_sent_to_label_is_not_paid_here_too(root: Path) -> None:
    project = made(root)
    note = {"host": "gpu", "how": "pocketvlm remote gpu fetch labels", "at": "2026-11-26T09:00:00Z"}
    write_json(root / NOTE, note)
    assert told(before_run(project, "label")) == ("", "")  # nothing is open
    answers = project.workspace.answers
    answers.write_text("".join(answers.read_text().splitlines(keepends=True)[1:]))
    with ModelsServer() as server:
        problems = told(before_run(made(root, server.url), "label"))[0]
        assert "gpu was sent to label these pictures" in problems
        assert "`pocketvlm remote gpu fetch labels`, or give --yes" in problems
        agreed = replace(made(root, server.url), agreed=True)
        assert "was sent" not in told(before_run(agreed, "label"))[0]
