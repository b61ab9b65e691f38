"""`budget_usd` is a hard cap: whatever the server does, what it bills never exceeds it."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketvlm.errors import PocketError
from pocketvlm.label import label
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.money import Budget, BudgetReached
from pocketvlm.prices import Price
from pocketvlm.project import Project
from pocketvlm.workspace import Row
from simulated import Settings, serve

from .billing import PRICE, Biller, Fate, cli, priced, worst
from .conftest import answers

pytestmark = pytest.mark.usefixtures("no_page")

DUST = 1e-9
"""USD that sums may be off by."""

FATES: tuple[Fate, ...] = (
    *("full", "plain", "silent", "zeros", "absurd", "malformed", "declined"),
    *("cut", "half", "hang", "broken"),
)
"""All but `busy`, which is not billed either and makes asking slow."""


@pytest.fixture
def biller() -> Iterator[Biller]:
    with Biller() as biller:
        yield biller


@pytest.fixture(scope="module")
def one_biller() -> Iterator[Biller]:
    """For many examples."""
    with Biller() as biller:
        yield biller


def check_cap(project: Project, biller: Biller, cap: float) -> Ledger:
    """The bill is covered by the ledger, and the ledger by the cap."""
    ledger = Ledger(project.workspace.answers)
    assert biller.billed <= ledger.spent + ledger.reserved + DUST
    assert ledger.spent + ledger.reserved <= cap + DUST
    return ledger


@settings(max_examples=12, deadline=None)
@given(
    fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=12),
    calls=st.floats(0.5, 6),
    concurrency=st.integers(1, 6),
)
def test_whatever_the_server_does(
    one_biller: Biller,
    tmp_path_factory: pytest.TempPathFactory,
    fates: list[Fate],
    calls: float,
    concurrency: int,
) -> None:
    biller, root = one_biller, tmp_path_factory.mktemp("workspace")
    biller.billed, biller.count = 0.0, 0
    biller.answers.clear()
    biller.fate = lambda number: fates[number % len(fates)]
    asking: dict[str, Any] = {"count": 5, "concurrency": concurrency, "retries": 0}
    cap = calls * worst(priced(root, biller.url))
    project = priced(root, biller.url, budget=cap, timeout=0.15, **asking)
    for _ in range(2):  # running again does not help
        try:
            label(project)
        except PocketError as error:
            assert error.exit_code == 1
        check_cap(project, biller, cap)

    biller.fate = lambda number: "plain"
    assert label(priced(root, biller.url, budget=1000.0, **asking))["unanswered"] == 0
    check_cap(project, biller, 1000.0)
    final = [row for row in answers(project) if row["status"] in ("ok", "none")]
    assert len(final) == len({row["key"] for row in final})  # nothing asked twice
    assert all(1 <= count <= 2 for count in biller.answers.values())


def test_as_many_calls_as_the_worst_case_allows(tmp_path: Path, biller: Biller) -> None:
    """Every answer costs its worst case: the cap of six and a bit lets six calls out."""
    biller.fate, biller.delay = lambda number: "full", 0.05
    each = worst(priced(tmp_path, biller.url))
    project = priced(tmp_path, biller.url, count=10, budget=6.2 * each, concurrency=4)
    with pytest.raises(BudgetReached) as caught:
        label(project)
    assert biller.count == 6
    assert biller.billed == pytest.approx(6 * each)
    assert len(answers(project)) == 6  # what was in flight is kept
    said = str(caught.value)
    assert "4 questions are left" in said
    assert f"{6 * each:.3f}"[:5] in said  # spent
    assert "raise label.budget_usd and run the same command" in said

    more = priced(tmp_path, biller.url, count=10, budget=10 * each, concurrency=4)
    assert label(more)["status"] == {"ok": 10}
    assert biller.count == len(biller.answers) == 10  # nothing asked twice
    check_cap(more, biller, 10 * each)


def test_what_an_answer_did_not_take_is_free_again(tmp_path: Path, biller: Biller) -> None:
    """Ordinary answers cost less than was reserved: the budget is used up to one worst case."""
    each = worst(priced(tmp_path, biller.url))
    cap = 3 * each
    project = priced(tmp_path, biller.url, count=30, budget=cap, concurrency=8)
    with pytest.raises(BudgetReached):
        label(project)
    assert biller.count > 3
    assert cap - each < biller.billed <= cap


def test_less_than_one_call_is_told_before_any(
    tmp_path: Path, biller: Biller, capsys: pytest.CaptureFixture[str]
) -> None:
    project = priced(tmp_path, biller.url, budget=0.9 * worst(priced(tmp_path, biller.url)))
    assert cli("label") == 1
    said = capsys.readouterr().err
    assert "error: label.budget_usd of " in said
    assert "is less than one call may cost" in said
    assert "nothing was asked" in said
    assert biller.count == 0
    assert not project.workspace.answers.exists()


def test_each_try_of_a_call_is_paid_for(tmp_path: Path, biller: Biller) -> None:
    """A cut connection and a limit, then an answer that is none, then one."""
    fates: list[Fate] = ["cut", "busy", "malformed", "plain"]
    biller.fate = lambda number: fates[number]
    project = priced(tmp_path, biller.url, count=1, retries=2)
    figures = label(project)
    each = worst(project)
    rows = answers(project)
    assert [row["billed"] for row in rows] == ["unknown", "nothing", "usage", "usage"]
    assert [row["usd"] for row in rows[:2]] == [pytest.approx(each), 0]
    assert rows[2]["usd"] == pytest.approx(each)  # a full one, for nothing
    assert figures["usd"] == pytest.approx(biller.billed, abs=1e-6)


def test_second_teachers_and_repeats_share_the_cap(tmp_path: Path, biller: Biller) -> None:
    """Every picture goes on to the second teacher, and is asked about three times by each."""
    biller.fate = lambda number: ("full", "plain", "silent")[number % 3]
    each = worst(priced(tmp_path, biller.url))
    teachers = [
        {"base_url": biller.url, "model": name, "temperature": 0.5, "repeats": 3, "concurrency": 5}
        for name in ("stand-in", "second")
    ]
    prices = {name: PRICE.model_dump(mode="json") for name in ("stand-in", "second")}

    def project(cap: float) -> Project:
        config = {"teachers": teachers, "prices": prices, "label": {"budget_usd": cap}}
        return priced(tmp_path, biller.url, count=4, config=config)

    for cap in (5.5 * each, 9.5 * each, 17 * each):
        with pytest.raises(BudgetReached):
            label(project(cap))
        check_cap(project(cap), biller, cap)
    assert {row["model"] for row in answers(project(1.0))} == {"stand-in", "second"}
    assert label(project(1000.0))["asked"] > 0
    assert biller.count == 24
    assert set(biller.answers.values()) == {6}


def test_batches_keep_to_the_cap_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cap is enough for the first question online and four in a batch; what they did not take
    lets a second, smaller batch go."""
    monkeypatch.setattr("pocketvlm.label.batch.FIRST_LOOK", 0.12)
    image = {"rule": "fixed", "tokens": 85 + 170 * 8}
    price = Price.model_validate(PRICE.model_dump() | {"image": image})
    config: Row = {"prices": {"stand-in": price.model_dump(mode="json")}}
    with serve(Settings(batch_seconds=0.1)) as (url, stats):

        def project(cap: float) -> Project:
            money = config | {"label": {"budget_usd": cap}}
            return priced(tmp_path, url, count=20, config=money, batch=True)

        each = worst(project(1))
        cap = each + 4.2 * each / 2
        with pytest.raises(BudgetReached):
            label(project(cap))
        ledger, told = Ledger(project(cap).workspace.answers), stats()
        assert told["batches"] > 1
        assert 5 < told["total"]["sent"] < 20
        bill = sum(
            price.usd(row["prompt_tokens"], row["completion_tokens"], row["batch"])
            for row in told["rows"]
        )
        assert bill == pytest.approx(ledger.spent, abs=DUST)
        assert cap - each / 2 < bill <= cap
        assert label(project(1000))["status"] == {"ok": 20}
        assert all(row["sent"] == 1 for row in stats()["rows"])


def kill_in_flight(project: Project, biller: Biller, wanted: int) -> None:
    """Label in a process of its own, and kill it once so many calls have come and some are out."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from pocketvlm.cli import main; main()", "label"],
        cwd=project.workspace.root,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ,
    )
    deadline = time.monotonic() + 30
    while len(biller.asked) < wanted and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_kills_leave_what_may_have_been_billed_reserved(tmp_path: Path, biller: Biller) -> None:
    biller.fate, biller.delay = lambda number: "full", 0.25
    each = worst(priced(tmp_path, biller.url))
    cap = 12.5 * each
    project = priced(tmp_path, biller.url, count=20, budget=cap, concurrency=3)
    for wanted in (4, 8):
        kill_in_flight(project, biller, wanted)
        assert check_cap(project, biller, cap).open
    lost = len(Ledger(project.workspace.answers).open)
    with pytest.raises(BudgetReached, match="calls that were cut off may have cost"):
        label(project)
    ledger = check_cap(project, biller, cap)
    assert len(ledger.open) == lost
    assert ledger.spent + ledger.reserved > cap - each

    biller.delay = 0.0
    more = priced(tmp_path, biller.url, count=20, budget=cap + 20 * each, concurrency=3)
    assert label(more)["status"] == {"ok": 20}
    assert biller.count - 20 <= lost
    check_cap(more, biller, cap + 20 * each)


def test_a_server_that_bills_more_than_it_was_allowed_is_found_out(
    tmp_path: Path, biller: Biller
) -> None:
    """It keeps to no `max_tokens`: the first answer shows it, the others reserve as much."""
    biller.fate, biller.times_over = lambda number: "full", 4
    each = worst(priced(tmp_path, biller.url))
    cap = 9 * each
    project = priced(tmp_path, biller.url, count=20, budget=cap)
    with pytest.raises(BudgetReached, match=r"an answer cost 2\.\d times what its request"):
        label(project)
    assert 1 < biller.count < 6
    check_cap(project, biller, cap)
    before = biller.count
    with pytest.raises(BudgetReached):  # it is remembered
        label(project)
    assert biller.count == before


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    """The next answer would be glued to it, and lost after it was paid."""
    ledger = Ledger(tmp_path / "answers.jsonl")
    rows: list[Row] = [{"kind": "answer", "key": str(at), "status": "ok"} for at in range(3)]
    asyncio.run(ledger.write(rows[0]))
    size = ledger.path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        with pytest.raises(OSError) as full:
            asyncio.run(ledger.write(rows[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert full.value.filename == str(ledger.path)
    assert ledger.path.stat().st_size == size
    asyncio.run(ledger.write(rows[2]))
    assert Ledger(ledger.path).places.keys() == {"0", "2"}


COSTS = st.integers(1, 50)
KINDS = st.sampled_from(["usage", "unknown", "nothing", "killed"])


@settings(deadline=None, max_examples=60)
@given(
    cap=st.integers(10, 200),
    calls=st.lists(st.tuples(COSTS, KINDS, st.floats(0, 1), st.integers(0, 3)), max_size=25),
)
def test_any_order_of_reserving_and_paying_stays_below_the_cap(
    tmp_path_factory: pytest.TempPathFactory,
    cap: int,
    calls: list[tuple[int, str, float, int]],
) -> None:
    """Calls overlap as they like, and the process is killed now and then."""
    path = tmp_path_factory.mktemp("ledger") / "answers.jsonl"
    ledger, bill = Ledger(path), 0.0
    budget, flying = Budget(cap / 100, ledger), []
    for cents, kind, share, late in calls:
        reserved = cents / 100
        if budget.allows(reserved):
            call = uuid4().hex
            bill += 0.0 if kind == "nothing" else reserved * share
            intent: Row = {"kind": "intent", "call": call, "key": call, "reserved_usd": reserved}
            asyncio.run(ledger.write(intent))
            flying.append((call, kind, reserved, share))
        while len(flying) > late:
            call, kind, reserved, share = flying.pop(0)
            if kind == "killed":
                ledger, flying = Ledger(path), []
                budget = Budget(cap / 100, ledger)
                break
            usd = {"usage": reserved * share, "unknown": reserved, "nothing": 0.0}[kind]
            row: Row = {"kind": "answer", "call": call, "key": call, "status": "ok", "usd": usd}
            asyncio.run(ledger.write(row))
        assert bill <= budget.used + DUST <= cap / 100 + 2 * DUST
    again = Ledger(path)
    assert (again.spent, again.reserved) == pytest.approx((ledger.spent, ledger.reserved))
