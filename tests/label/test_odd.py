"""What a user may have written wrongly, or an older version otherwise: no traceback."""

import json
from pathlib import Path

import pytest

from pocketvlm.config import load_config, parse_config
from pocketvlm.errors import ConfigError
from pocketvlm.label import label
from pocketvlm.label.answers import search, sentence
from pocketvlm.label.ledger import Ledger

from .conftest import make
from .server import Reply, Server, answer

UNSOUND = (
    '{"kind":"answer"}',
    '{"kind":"intent","call":"x"}',
    '{"kind":"intent","call":["x"],"reserved_usd":1}',
    '{"kind":"batch"}',
    "no JSON",
    "[" * 100_000,
)


@pytest.mark.parametrize("line", UNSOUND)
def test_a_line_of_the_ledger_that_is_none_is_passed_over_and_said(
    tmp_path: Path, server: Server, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make(tmp_path, 2, server.url)
    label(project)
    whole = project.workspace.answers.read_text()
    project.workspace.answers.write_text(line + "\n" + whole)
    assert label(project)["asked"] == 0
    assert "1 lines are no rows of a ledger" in capsys.readouterr().err
    assert len(server.asked) == 2


@pytest.mark.parametrize("line", ["garbage", '{"picture": "x"}', '{"picture": ["a"]}', "[]"])
def test_a_review_that_is_none_costs_nothing(tmp_path: Path, server: Server, line: str) -> None:
    project = make(tmp_path, 2, server.url)
    project.workspace.reviews.parent.mkdir()
    project.workspace.reviews.write_text(line + "\n")
    assert label(project)["status"] == {"ok": 2}


def test_a_second_opinion_that_failed_is_told_and_asked_again(
    tmp_path: Path, server: Server
) -> None:
    server.usual = answer(confidence=0.5)
    with Server() as strong:
        strong.usual = Reply(400, "{}")
        teachers = [
            {"base_url": server.url, "model": "cheap", "retries": 0},
            {"base_url": strong.url, "model": "strong", "retries": 0},
        ]
        project = make(tmp_path, 2, server.url, config={"teachers": teachers})
        assert label(project)["unanswered"] == 2
        strong.usual = answer(label="fire")
        assert label(project)["unanswered"] == 0
    assert len(server.asked) == 2


def test_with_a_budget_the_first_answer_comes_before_the_second_call(
    tmp_path: Path, server: Server
) -> None:
    server.delay = 0.2
    label(make(tmp_path, 6, server.url, config={"label": {"budget_usd": 1}}, concurrency=6))
    assert server.times[1] - server.times[0] > 0.19
    assert server.times[3] - server.times[1] < 0.19


@pytest.mark.parametrize(
    ("teachers", "message"),
    [
        ([{}, {"base_url": "http://elsewhere/v1"}], "same model asked the same way"),
        ([{"repeats": 3}], "repeats at temperature 0"),
        ([{"api_key_env": "sk_live_51Habcdefghijklm"}], "no name of an environment variable"),
        ([{"model": ""}], r"teachers\.0\.model"),
        ([{"timeout": "soon"}], r"teachers\.0\.timeout"),
    ],
)
def test_teachers_that_cannot_be_meant(teachers: list[dict[str, object]], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_config({"teachers": teachers})
    assert "51Habc" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_an_empty_list_of_teachers_is_not_the_default(tmp_path: Path) -> None:
    (tmp_path / "pocketvlm.yaml").write_text("teachers:\n")
    with pytest.raises(ConfigError, match="teachers: is empty"):
        load_config(tmp_path / "pocketvlm.yaml")


@pytest.mark.parametrize("price", [0, {"input_usd": 0, "output_usd": 0}])
def test_a_server_of_ones_own_needs_no_more_than_a_zero(price: object) -> None:
    assert parse_config({"prices": {"mine": price}}).prices["mine"].usd(1000, 1000) == 0


def test_a_password_in_an_address_is_refused(tmp_path: Path, server: Server) -> None:
    url = server.url.replace("http://", "http://me:secret@")
    with pytest.raises(ConfigError, match="a name or password") as caught:
        label(make(tmp_path, 1, url))
    assert "secret" not in str(caught.value)


def test_what_a_teacher_writes_stays_in_one_line(tmp_path: Path, server: Server) -> None:
    server.usual = answer(reason="red \x1b[31m\nand\u202e more")
    project = make(tmp_path, 1, server.url)
    label(project)
    (row,) = search(project, [])
    assert sentence(row).endswith("red [31m and more")


@pytest.mark.parametrize(("label_", "status"), [("Water", None), (None, "bogus")])
def test_a_filter_that_finds_nothing_for_sure_is_refused(
    tmp_path: Path, server: Server, label_: str | None, status: str | None
) -> None:
    project = make(tmp_path, 1, server.url)
    with pytest.raises(ConfigError):
        search(project, [], label_, status)


def test_an_answer_without_confidence_or_alternative_is_unsure(
    tmp_path: Path, server: Server
) -> None:
    project = make(tmp_path, 1, server.url)
    label(project)
    rows = [json.loads(line) for line in project.workspace.answers.read_text().splitlines()]
    for row in rows:
        row.pop("confidence", None)
        row.pop("alternative", None)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    project.workspace.answers.write_text(text)
    assert Ledger(project.workspace.answers).places
    assert label(project)["asked"] == 0
