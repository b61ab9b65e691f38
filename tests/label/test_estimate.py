"""What labelling will cost is told before anything is spent, and is what it then costs."""

import json
from pathlib import Path
from typing import Any

import pytest

from pocketvlm.config import commented_yaml, parse_config
from pocketvlm.label import label
from pocketvlm.label.estimate import ENOUGH, PASSED_ON, estimate, table
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.plan import Plan
from pocketvlm.prices import Claude, OpenAIPatches, OpenAITiles
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows, write_rows, write_text
from simulated import Settings, serve

from .billing import cli, collect_sizes, command
from .conftest import make
from .server import Server, answer, says

pytestmark = pytest.mark.usefixtures("no_page")

SIZES = [(400 + 17 * (at % 40), 300 + 19 * (at % 31)) for at in range(48)]
"""Pixels of pictures that are all of different shapes."""

CHEAP = {"input_usd": 0.1, "output_usd": 0.5, "source": "https://a.b/c", "date": "2026-11-25"}
DEAR = CHEAP | {"input_usd": 2.0, "output_usd": 10.0}
NOWHERE = "http://127.0.0.1:9/v1"


def workspace(
    root: Path,
    *teachers: Row,
    image: Any = None,
    sizes: Any = SIZES,
    drawn: bool = False,
    **more: Any,
) -> Project:
    """Teachers whose models are cheap, then dear, by one rule; and pictures, drawn where there is
    somebody to see them."""
    rule = (image or OpenAIPatches()).model_dump()
    given = [
        {"model": name, "base_url": NOWHERE, "concurrency": 16, "retries": 0} | teacher
        for name, teacher in zip(("cheap", "dear", "dearest"), teachers, strict=False)
    ]
    prices = {
        "cheap": CHEAP | {"image": rule},
        "dear": DEAR | {"image": rule},
        "dearest": DEAR | {"image": rule},
    }
    config = parse_config({"teachers": given, "prices": prices, "label": more})
    project = Project.of(config, root)
    write_text(root / "pocketvlm.yaml", commented_yaml(config))
    if sizes:
        project.workspace.originals.mkdir(exist_ok=True)
        collect_sizes(project, sizes, drawn or any("base_url" in teacher for teacher in teachers))
    return project


def to_the_end(project: Project) -> Row:
    """Label until nothing has failed."""
    while (figures := label(project))["unanswered"]:
        pass
    return figures


def test_before_anything_is_collected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = workspace(tmp_path, {}, sizes=())
    project.workspace.originals.mkdir()
    assert cli("estimate") == 1
    assert "run `pocketvlm collect` first" in capsys.readouterr().err
    collect_sizes(project, SIZES, drawn=False)
    assert cli("estimate") == 0
    assert capsys.readouterr().out == table(estimate(project)) + "\n"


@pytest.mark.parametrize(
    "image",
    [OpenAIPatches(), OpenAITiles(), Claude()],
    ids=lambda rule: str(rule.rule),
)
def test_it_is_within_a_tenth_of_what_it_then_costs(tmp_path: Path, image: Any) -> None:
    with serve(Settings(image=image)) as (url, _):
        project = workspace(tmp_path, {"base_url": url}, image=image)
        told = estimate(project)
        label(project)
        real = estimate(project)["spent_usd"]
    assert told["usd"] == pytest.approx(real, rel=0.1)
    assert real <= told["at_most_usd"]
    assert told["teachers"][0]["tokens_from"] == "the provider's rule"
    assert told["spent_usd"] == 0


def test_after_half_it_goes_by_what_was_really_billed(tmp_path: Path) -> None:
    """The rule is wrong, the answers are shorter than usual, and some calls are made again: the
    ledger knows all of it. The second half has larger pictures than the first."""
    sizes = sorted(SIZES)
    real = OpenAIPatches(multiplier=2.5)
    trouble = Settings(image=real, malformed=0.1)
    with serve(trouble) as (url, _):
        blind = estimate(workspace(tmp_path, {"base_url": url}, sizes=sizes))["usd"]
        project = workspace(tmp_path, {"base_url": url}, sizes=sizes[:24])
        to_the_end(project)
        project = workspace(tmp_path, {"base_url": url}, sizes=sizes)
        told = estimate(project)
        to_the_end(project)
        spent = estimate(project)["spent_usd"]
    (teacher,) = told["teachers"]
    assert (teacher["questions"], teacher["tokens_from"]) == (24, "the ledger")
    assert told["usd"] == pytest.approx(spent - told["spent_usd"], rel=0.1)
    assert blind < 0.75 * spent
    assert estimate(project)["teachers"][0]["questions"] == 0


def test_a_few_answers_tell_nothing_yet(tmp_path: Path, server: Server) -> None:
    for count, source in ((ENOUGH - 1, "the provider's rule"), (ENOUGH, "the ledger")):
        project = workspace(tmp_path, {"base_url": server.url}, sizes=[(50, 50)] * count)
        collect_sizes(project, [(50 + at, 50) for at in range(count)])
        label(project)
        assert estimate(project)["teachers"][0]["tokens_from"] == source


def test_the_second_teacher_gets_a_share_at_most_all(tmp_path: Path) -> None:
    """A guess at first, then what the first teacher really passed on."""
    with serve(Settings(image=OpenAIPatches())) as (url, _):
        both = ({"base_url": url}, {"base_url": url})
        first = estimate(workspace(tmp_path, *both))
        label(workspace(tmp_path, both[0]))
        then = estimate(workspace(tmp_path, *both))
        label(workspace(tmp_path, *both))
        after = estimate(workspace(tmp_path, *both))
    cheap, dear = first["teachers"]
    assert (cheap["questions"], cheap["passed_on"]) == (48, PASSED_ON)
    assert (dear["questions"], dear["at_most_questions"]) == (round(0.3 * 48), 48)
    assert after["spent_usd"] < first["at_most_usd"]
    share = then["teachers"][0]["passed_on"]
    assert then["teachers"][0]["passed_on_from"] == "the ledger"
    assert 0.1 < share < 0.3
    assert then["teachers"][1]["questions"] == then["teachers"][1]["at_most_questions"]
    assert then["teachers"][1]["questions"] == round(48 * share)
    assert then["usd"] == pytest.approx(after["spent_usd"] - then["spent_usd"], rel=0.1)
    assert after["usd"] == after["at_most_usd"] == 0


def test_at_most_counts_what_a_third_teacher_may_get(tmp_path: Path, server: Server) -> None:
    """Ten pictures are due at the second teacher, the others still at the first."""
    server.usual = answer(confidence=0.1)
    ask = {"base_url": server.url}
    label(workspace(tmp_path, ask, sizes=SIZES[:10]))
    told = estimate(workspace(tmp_path, ask, ask, ask, sizes=SIZES[:30]))
    assert [row["at_most_questions"] for row in told["teachers"]] == [20, 30, 30]
    assert [row["questions"] for row in told["teachers"]] == [20, 10 + 6, round(0.3 * (10 + 6))]


def test_what_a_later_teacher_has_answered_is_not_counted_again(
    tmp_path: Path, server: Server
) -> None:
    server.usual = answer(confidence=0.1)
    ask = {"base_url": server.url}
    label(workspace(tmp_path, ask, ask, sizes=SIZES[:10]))
    changed = workspace(tmp_path, ask | {"max_side": 512}, ask, sizes=SIZES[:10])
    told = estimate(changed)
    assert [row["at_most_questions"] for row in told["teachers"]] == [10, 0]


def test_repeats_are_questions_of_their_own(tmp_path: Path, server: Server) -> None:
    once = estimate(workspace(tmp_path, {}))
    thrice = workspace(tmp_path, {"repeats": 3, "temperature": 0.5})
    told = estimate(thrice)
    assert told["teachers"][0]["questions"] == 3 * once["teachers"][0]["questions"]
    assert told["usd"] == pytest.approx(3 * once["usd"], rel=1e-4)
    server.queue.append(answer())
    server.usual = says("It is water.")
    ask = {"base_url": server.url, "repeats": 3, "temperature": 0.5, "concurrency": 1}
    project = workspace(tmp_path, ask, ask, sizes=SIZES[:1])
    label(workspace(tmp_path, ask, sizes=SIZES[:1]))
    told = estimate(project)  # two repeats have no answer, and the picture is due at the second
    assert [row["at_most_questions"] for row in told["teachers"]] == [2, 3]


def test_a_batch_costs_its_share_but_for_the_first_question(tmp_path: Path) -> None:
    sizes, limit = [(500, 400)] * 50, {"requests_per_minute": 60}
    online = estimate(workspace(tmp_path, limit, sizes=sizes))
    batch = estimate(workspace(tmp_path, limit | {"batch": True}, sizes=sizes))
    each = online["usd"] / 50
    assert batch["usd"] == pytest.approx((online["usd"] + each) / 2, rel=0.002)
    assert batch["teachers"][0]["minutes"] is None
    assert "by the Batch API" in table(batch)
    assert "within a day" in table(batch)


def test_what_waits_in_a_batch_is_reserved_already(tmp_path: Path) -> None:
    """It may still be passed on to the next teacher."""
    project = workspace(tmp_path, {"batch": True}, {}, budget_usd=1)
    plan = Plan(project, Ledger(project.workspace.answers))
    intents = [
        {"kind": "intent", "call": f"c{at}", "batch": "b", "key": one.key, "reserved_usd": 0.01}
        for at, one in enumerate(plan.due(0)[:20])
    ]
    project.workspace.answers.parent.mkdir()
    write_rows(project.workspace.answers, intents)
    told = estimate(project)
    assert [row["at_most_questions"] for row in told["teachers"]] == [28, 48]
    assert (told["reserved_usd"], told["left_usd"]) == (0.2, 0.8)
    assert "without an answer may cost up to 0.20 USD" in table(told)


def test_the_time_where_a_limit_is_known(tmp_path: Path) -> None:
    told = estimate(workspace(tmp_path, {"requests_per_minute": 24}))
    assert told["teachers"][0]["minutes"] == 2.0
    assert "at least 2 minutes at the configured limit" in table(told)
    told = estimate(workspace(tmp_path, {"requests_per_minute": 60, "tokens_per_minute": 2000}))
    assert told["teachers"][0]["minutes"] > 24  # a call takes more than a thousand
    assert estimate(workspace(tmp_path, {}))["teachers"][0]["minutes"] is None
    assert "limit" not in table(estimate(workspace(tmp_path, {})))


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (None, "No budget is set: label.budget_usd is a hard cap."),
        (5, "Budget, a hard cap: 5 USD, 5.00 USD left: enough in any case."),
        (0.02, "0.02 USD left: probably enough."),
        (0.005, "0.005 USD left: asking will stop after about 52% of the above."),
    ],
)
def test_the_budget(tmp_path: Path, budget: float | None, words: str) -> None:
    told = estimate(workspace(tmp_path, {}, budget_usd=budget))
    assert words in table(told)
    assert told["budget_usd"] == told["left_usd"] == budget


def test_what_people_read(tmp_path: Path, server: Server) -> None:
    """One small picture: fractions of a cent stay readable. Then nothing is left."""
    project = workspace(tmp_path, {"base_url": server.url}, {}, sizes=[(64, 64)])
    lines = table(estimate(project)).splitlines()
    host = server.url.removeprefix("http://").removesuffix("/v1")
    assert lines == [
        "1 picture, 0.00 USD spent so far",
        "",
        f"cheap at {host}: 1 question",
        "  price: 0.1 USD a million tokens in, 0.5 out (https://a.b/c, 2026-11-25)",
        "  about 0.000156 USD, at most 0.000706 USD (0.16 USD a thousand by the provider's rule)",
        "  30% of the pictures go on to the next teacher, as a guess",
        "",
        "dear at 127.0.0.1:9: about 0 of 1 question",
        "  price: 2 USD a million tokens in, 10 out (https://a.b/c, 2026-11-25)",
        "  about 0.000934 USD, at most 0.0141 USD (3.11 USD a thousand by the provider's rule)",
        "",
        "In all about 0.00109 USD; at most 0.0148 USD, when no call has to be made again.",
        "No budget is set: label.budget_usd is a hard cap.",
    ]
    server.usual = answer(alternative=None)
    label(project)
    assert table(estimate(project)).splitlines()[-1] == "Nothing is left to ask."


def test_a_free_server_costs_nothing(tmp_path: Path) -> None:
    told = estimate(make(tmp_path, 3, NOWHERE, batch=True))
    assert (told["usd"], told["at_most_usd"]) == (0, 0)
    assert "price: free" in table(told)


def test_json_is_for_programs(tmp_path: Path) -> None:
    project = workspace(tmp_path, {}, budget_usd=1)
    done = command("estimate", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout) == estimate(project)


def test_an_index_without_sizes(tmp_path: Path) -> None:
    """As older versions wrote it; one file has been lost since."""
    project = workspace(tmp_path, {}, drawn=True)
    whole = estimate(project)["usd"]
    rows = [
        {name: value for name, value in row.items() if name not in ("width", "height")}
        for row in read_rows(project.workspace.index)
    ]
    write_rows(project.workspace.index, rows)
    assert estimate(project)["usd"] == whole
    (project.workspace.originals / rows[0]["file"]).unlink()
    assert 0.98 * whole < estimate(project)["usd"] < whole


def test_it_writes_nothing(tmp_path: Path) -> None:
    """A run at work may be in the middle of the ledger's last line."""
    project = workspace(tmp_path, {})
    ledger = project.workspace.answers
    ledger.parent.mkdir()
    torn = b'{"kind": "answer", "key": "a", "status": "ok", "usd": 0.5}\n{"kind": "ans'
    ledger.write_bytes(torn)
    assert estimate(project)["spent_usd"] == 0.5
    assert ledger.read_bytes() == torn
