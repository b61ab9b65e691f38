"""The Batch API: the whole way, what it costs, and every way in which a batch can go wrong."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock
from llmock.routers import batch as llmock_batch
from llmock.scenarios import Fail, Match

from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.label import batch, label, provider
from pocketvlm.label.batchrows import open_batches
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.money import BudgetReached
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows

from .batching import PRICES, ask, bill, left_over, make_batched, rows_of, teacher
from .between import Between
from .conftest import KEY, answers
from .server import GOOD

OUTPUT = r"/files/file-\d+/content"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses: nobody here takes a day."""
    monkeypatch.setattr(batch, "FIRST_LOOK", 0.02)
    monkeypatch.setattr(provider, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(provider, "SETTLE", 0.2)
    monkeypatch.setattr(provider, "LOOK_AGAIN", 0.02)


def settled(project: Project) -> Ledger:
    """The ledger, in which nothing is open any more; nothing else is left either."""
    ledger = Ledger(project.workspace.answers)
    assert not ledger.open and not open_batches(ledger) and ledger.reserved == 0
    assert left_over(project) == []
    return ledger


def lines(change: Any) -> Any:
    """A change of a result file's lines; `change` gets and gives a list of objects or bytes."""

    def of_bytes(body: bytes) -> bytes:
        new = change([json.loads(line) for line in body.splitlines()])
        return b"".join(
            one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in new
        )

    return of_bytes


def test_the_whole_way_at_half_the_price(tmp_path: Path) -> None:
    with teacher() as (between, stats):
        project = make_batched(tmp_path, 12, between.url)
        figures = label(project)
        told = stats()
    assert figures["status"] == {"ok": 12} and figures["asked"] == 12
    first, *rest = answers(project)
    assert "batch" not in first and all("batch" in row for row in rest)
    assert {frozenset(row) for row in rest} == {frozenset({*first, "batch"})}
    assert [row["sent"] for row in told["rows"]] == [1] * 12
    for row, price in ((first, 1.0), (rest[0], 0.5)):
        usd = (row["tokens_in"] + 4 * row["tokens_out"]) / 1e6 * price
        assert row["usd"] == pytest.approx(usd) and row["billed"] == "usage"
    ledger = settled(project)
    assert figures["usd"] == pytest.approx(ledger.spent, abs=1e-6)
    assert label(project)["asked"] == 0


def test_what_is_billed_is_what_is_written_down(tmp_path: Path) -> None:
    trouble = {"errors": 0.05, "malformed": 0.1, "refused": 0.1, "none": 0.1}
    with teacher(**trouble) as (between, stats):
        project = make_batched(tmp_path, 60, between.url, retries=9, concurrency=8)
        ask(project)
        assert settled(project).spent == pytest.approx(bill(stats))
        assert stats()["batches"] == 1


def test_a_submission_stands_before_its_calls(tmp_path: Path) -> None:
    with teacher() as (between, _):
        project = make_batched(tmp_path, 4, between.url)
        ask(project)
    rows = list(read_rows(project.workspace.answers))[2:]
    kinds = [row.get("state", row["kind"]) for row in rows]
    assert kinds == ["submitting", *["intent"] * 3, "submitted", *["answer"] * 3, "done"]
    assert {row["batch"] for row in rows if "batch" in row} == {rows[0]["submission"]}


def test_the_first_question_shows_what_the_model_takes(tmp_path: Path) -> None:
    """Newer models of OpenAI refuse `max_tokens`: in a batch each request would, a day later."""
    with teacher() as (between, _):
        refusal = '{"error": {"message": "no", "param": "max_tokens"}}'
        between.on("POST", "/chat/completions", 400, body=refusal)
        ask(make_batched(tmp_path, 3, between.url))
    (form,) = between.bodies["/files"]
    sent = re.findall(rb'^\{"custom_id".*\}\}\r?$', form, re.MULTILINE)
    asked = [json.loads(line)["body"] for line in sent]
    assert len(asked) == 2
    assert all("max_completion_tokens" in one and "max_tokens" not in one for one in asked)


@pytest.mark.parametrize("status", [401, 404])
def test_a_wrong_key_or_model_is_found_before_anything_is_sent(tmp_path: Path, status: int) -> None:
    with teacher() as (between, stats):
        between.on("POST", "/chat/completions", status, times=9)
        with pytest.raises(PocketError, match=r"refused the key|knows no model"):
            ask(make_batched(tmp_path, 3, between.url))
        assert stats()["batches"] == 0 and "/files" not in between.bodies


def test_within_the_budget_in_several_batches(tmp_path: Path) -> None:
    cap = 0.03
    with teacher() as (between, stats):
        project = make_batched(tmp_path, 40, between.url, {"label": {"budget_usd": cap}})
        with pytest.raises(BudgetReached, match=r"budget_usd of 0.03 .* is reached.*are left"):
            ask(project)
        assert stats()["batches"] > 2
        assert 0.5 * cap < bill(stats) <= cap
        asked = stats()["total"]["asked"]
    assert settled(project).spent <= cap
    assert asked == len(answers(project)) < 40
    intents: dict[str, float] = {}
    spent = 0.0
    for row in read_rows(project.workspace.answers):  # at no moment more than the cap
        if row["kind"] == "intent":
            intents[row["call"]] = row["reserved_usd"]
        elif row["kind"] == "answer":
            del intents[row["call"]]
            spent += row["usd"]
        assert spent + sum(intents.values()) <= cap + 1e-9


def test_no_budget_for_a_single_question(tmp_path: Path) -> None:
    with teacher() as (between, stats):
        project = make_batched(tmp_path, 3, between.url, {"label": {"budget_usd": 1e-4}})
        with pytest.raises(BudgetReached):
            ask(project)
        assert stats()["total"]["asked"] == 0 and between.seen == []


def test_an_open_batch_frees_what_the_others_need(tmp_path: Path) -> None:
    budget = {"label": {"budget_usd": 0.025}}
    with teacher() as (between, stats):
        between.on("GET", r"/batches/\w+", 401)
        with pytest.raises(PocketError, match="refused the key"):
            ask(make_batched(tmp_path, 6, between.url, budget))
        project = make_batched(tmp_path, 9, between.url, budget)
        assert ask(project) == {"ok": 9}
        assert {row["sent"] for row in stats()["rows"]} == {1}
        assert stats()["total"]["sent"] == 9 and bill(stats) <= 0.025
    settled(project)


def test_half_the_price_may_fit_where_the_whole_does_not(tmp_path: Path) -> None:
    with teacher() as (between, stats):
        project = make_batched(tmp_path, 3, between.url, {"label": {"budget_usd": 5e-3}})
        with pytest.raises(BudgetReached):
            ask(project)
        assert {row["batch"] for row in stats()["rows"]} == {True}
    settled(project)


def test_a_model_without_a_price_for_batches(tmp_path: Path) -> None:
    price = dict(PRICES["stand-in"], batch=None)
    with teacher() as (between, stats):
        project = make_batched(tmp_path, 3, between.url, {"prices": {"stand-in": price}})
        with pytest.raises(ConfigError, match=r"batches of 'stand-in'.*batch: false"):
            ask(project)
        assert stats()["total"]["asked"] == 0 and between.seen == []


def test_a_server_of_ones_own_needs_no_price(tmp_path: Path) -> None:
    with teacher() as (between, _):
        project = make_batched(tmp_path, 3, between.url, {"prices": {}})
        assert ask(project) == {"ok": 3}
    assert settled(project).spent == 0


def test_many_questions_go_in_several_batches_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MOST_REQUESTS", 4)
    with teacher(batch_seconds=0.5) as (between, stats):
        project = make_batched(tmp_path, 12, between.url)
        assert ask(project) == {"ok": 12}
        assert stats()["batches"] == 3
        assert {row["sent"] for row in stats()["rows"]} == {1}
    looks = [path for method, path in between.seen if method == "GET"]
    first = between.seen.index(("GET", looks[0]))
    assert sum(one == ("POST", "/batches") for one in between.seen[:first]) == 3
    assert sorted(
        row["requests"] for row in rows_of(project, "batch") if row["state"] == "done"
    ) == [3, 4, 4]


def test_a_file_holds_no_more_bytes_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 20_000
    monkeypatch.setattr("pocketvlm.label.batchfile.MOST_BYTES", most)
    with teacher() as (between, _):
        assert ask(make_batched(tmp_path, 12, between.url)) == {"ok": 12}
    sizes = [len(form) for form in between.bodies["/files"]]
    assert len(sizes) > 1 and max(sizes) < most


def test_errors_are_asked_online(tmp_path: Path) -> None:
    with teacher(errors=0.3) as (between, stats):
        project = make_batched(tmp_path, 12, between.url, retries=9, concurrency=8)
        assert ask(project) == {"ok": 12}
        told = stats()
        total = bill(stats)
    assert {row["sent"] for row in told["rows"] if not row["batch"]} == {1}
    failures = [row for row in answers(project) if row["status"] == "failed" and "batch" in row]
    assert failures and {row["usd"] for row in failures} == {0.0}
    assert {row["error"] for row in failures} == {"batch: 500 - The server had an error."}
    assert settled(project).spent == pytest.approx(total)


def test_an_expired_batch_keeps_what_it_answered(tmp_path: Path, capfd: Any) -> None:
    with teacher(batch_end="expired") as (between, stats):
        project = make_batched(tmp_path, 11, between.url)
        assert ask(project) == {"ok": 11}
        told = stats()
    assert Counter(row["batch"] for row in told["rows"]) == {False: 6, True: 5}
    assert {row["sent"] for row in told["rows"]} == {1}
    assert "expired: 5 of 10 without an answer" in capfd.readouterr().err
    settled(project)


def test_a_batch_that_fails_as_a_whole(tmp_path: Path) -> None:
    with teacher(batch_end="failed") as (between, stats):
        project = make_batched(tmp_path, 5, between.url)
        with pytest.raises(
            PocketError, match=r"failed \(this batch was told to fail\).*batch: false"
        ) as no:
            ask(project)
        assert no.value.exit_code == 1
        assert stats()["total"]["sent"] == 1
        settled(project)
        assert ask(make_batched(tmp_path, 5, between.url, batch=False)) == {"ok": 5}


def test_a_cancelled_batch_keeps_what_it_answered(tmp_path: Path) -> None:
    def cancelled(body: bytes) -> bytes:
        return body.replace(b'"completed", "completed_at"', b'"cancelled", "cancelled_at"')

    half = lines(lambda rows: rows[:4])
    with teacher() as (between, _):
        between.on("GET", r"/batches/\w+", cancelled)
        between.on("GET", OUTPUT, half)
        project = make_batched(tmp_path, 11, between.url)
        with pytest.raises(PocketError, match=r"cancelled .* with 4 of 10 answers, which are kept"):
            ask(project)
        assert sum(row["status"] == "ok" for row in answers(project)) == 5
    settled(project)


GARBAGE = [
    b"",
    b"\n\n",
    b'null\n[]\n7\n"text"\n',
    b'{"custom_id": "half a line", "resp',
    b"\xff\xfe not UTF-8\n",
    b"[" * 100_000 + b"\n",
    b'{"custom_id": 7, "response": {"status_code": 200, "body": {}}}\n',
    b'{"custom_id": "nobody", "response": {"status_code": 200, "body": {}}}\n',
    b"<html>busy</html>\n",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda line: repr(line[:12]))
def test_lines_that_are_no_results(tmp_path: Path, garbage: bytes) -> None:
    """One of the answers is replaced: it is billed, so it counts as paid, and is asked for anew."""
    with teacher() as (between, stats):
        between.on("GET", OUTPUT, lines(lambda rows: [*rows[1:], garbage]))
        project = make_batched(tmp_path, 7, between.url)
        assert ask(project) == {"ok": 7}
        assert stats()["total"]["sent"] == 8
        lost = [row for row in answers(project) if row["status"] == "failed"]
        assert settled(project).spent >= bill(stats)
    assert [row["billed"] for row in lost] == ["unknown"] and lost[0]["usd"] > 0


STRANGE: list[Any] = [
    {"response": None, "error": None},
    {"response": "busy", "error": "a word"},
    {"response": [], "error": ["a", "list"]},
    {"response": {"status_code": 500, "body": "no object"}},
    {"response": {"status_code": 429, "body": {"error": {"message": f"slow down, {KEY}"}}}},
    {"error": {"code": "batch_expired", "message": None}},
    {"response": {"status_code": "200", "body": None}},
]


@pytest.mark.parametrize("strange", STRANGE, ids=range(len(STRANGE)))
def test_results_that_are_no_answers(tmp_path: Path, strange: Any) -> None:
    def change(rows: list[Row]) -> list[Any]:
        return [{"custom_id": rows[0]["custom_id"]} | strange, *rows[1:]]

    with teacher() as (between, _):
        between.on("GET", OUTPUT, lines(change))
        project = make_batched(tmp_path, 5, between.url)
        assert ask(project) == {"ok": 5}
    (bad,) = (row for row in answers(project) if row["status"] == "failed")
    assert (bad["usd"], bad["billed"]) == (0.0, "nothing") and bad["error"].startswith("batch: ")
    assert KEY not in project.workspace.answers.read_text()
    settled(project)


BODIES: list[Any] = [
    None,
    [],
    "text",
    {},
    {"choices": []},
    {"choices": [{"message": "\ud83d"}]},
    1e999,
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_answers_that_cannot_be_read_are_asked_again(tmp_path: Path, body: Any) -> None:
    def change(rows: list[Row]) -> list[Any]:
        return [rows[0] | {"response": {"status_code": 200, "body": body}}, *rows[1:]]

    with teacher() as (between, stats):
        between.on("GET", OUTPUT, lines(change))
        project = make_batched(tmp_path, 5, between.url)
        assert ask(project) == {"ok": 5}
        assert settled(project).spent >= bill(stats)
    (bad,) = (row for row in answers(project) if row["status"] == "malformed")
    assert bad["billed"] == "unknown" and bad["usd"] > 0  # nobody says what it cost


def test_a_result_that_comes_twice_counts_once(tmp_path: Path) -> None:
    def late(row: Row) -> Row:
        return row | {"response": None, "error": {"message": "too late"}}

    with teacher() as (between, stats):
        between.on("GET", OUTPUT, lines(lambda rows: [*rows, *rows[::-1], *map(late, rows)]))
        project = make_batched(tmp_path, 7, between.url)
        assert ask(project) == {"ok": 7}
        assert settled(project).spent == pytest.approx(bill(stats))
    assert len(answers(project)) == 7


def test_a_result_of_another_batch_is_left_alone(tmp_path: Path, monkeypatch: Any) -> None:
    """Also one that is open: only its own batch ends it."""
    monkeypatch.setattr(batch, "MOST_REQUESTS", 3)

    def foreign(rows: list[Row]) -> list[Any]:
        other = [row for row in rows_of(project, "intent") if "batch" in row]
        mine = rows[0]["custom_id"].split("-")[0]
        (first, *_) = (row["call"] for row in other if row["batch"] != mine)
        return [*rows, rows[0] | {"custom_id": first}]

    with teacher() as (between, stats):
        between.on("GET", OUTPUT, lines(foreign))
        project = make_batched(tmp_path, 7, between.url)
        assert ask(project) == {"ok": 7}
        assert settled(project).spent == pytest.approx(bill(stats))
    assert len(answers(project)) == 7


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_an_empty_output_file(tmp_path: Path, content: bytes) -> None:
    with teacher() as (between, stats):
        between.on("GET", OUTPUT, lambda body: content)
        project = make_batched(tmp_path, 4, between.url)
        assert ask(project) == {"ok": 4}
        lost = [row for row in answers(project) if row["status"] == "failed"]
        assert {row["billed"] for row in lost} == {"unknown"} and len(lost) == 3
        assert settled(project).spent >= bill(stats)


def test_an_error_file_alone(tmp_path: Path) -> None:
    with teacher(errors=1.0) as (between, stats):
        between.on("POST", "/chat/completions", 500, times=1, retry_after_ms="1")
        project = make_batched(tmp_path, 4, between.url, retries=0)
        assert ask(project) == {"failed": 4}
        assert stats()["total"]["sent"] == 0
    assert settled(project).spent == 0


@pytest.mark.parametrize(
    ("counts", "billed"),
    [({"total": 3, "completed": 0, "failed": 3}, "nothing"), (None, "unknown"), ({}, "unknown")],
)
def test_neither_file(tmp_path: Path, counts: Row | None, billed: str) -> None:
    def bare(body: bytes) -> bytes:
        told = json.loads(body)
        return json.dumps(told | {"output_file_id": "", "request_counts": counts}).encode()

    with teacher() as (between, _):
        between.on("GET", r"/batches/\w+", bare)
        project = make_batched(tmp_path, 4, between.url)
        assert ask(project) == {"ok": 4}
    lost = [row for row in answers(project) if row["status"] == "failed"]
    assert {row["billed"] for row in lost} == {billed} and len(lost) == 3
    settled(project)


def test_refused_and_malformed_are_asked_once_more_online(tmp_path: Path) -> None:
    with teacher(refused=0.2, malformed=0.2, seed=3) as (between, stats):
        project = make_batched(tmp_path, 20, between.url)
        statuses = ask(project)
        rows = [row for row in stats()["rows"] if not row["batch"]]
    asked: dict[str, list[Row]] = {}
    for row in answers(project):
        asked.setdefault(row["key"], []).append(row)
    bad = {"refused", "malformed"}
    batched = {key: found for key, found in asked.items() if "batch" in found[0]}
    again = {key: found for key, found in batched.items() if found[0]["status"] in bad}
    assert again and all(len(found) == 2 and "batch" not in found[1] for found in again.values())
    assert all(len(found) == 1 for key, found in batched.items() if key not in again)
    assert statuses["refused"] and len(rows) == len(again) + 1


def test_a_model_that_answers_in_no_form_is_not_paid_for_it(tmp_path: Path) -> None:
    with teacher(malformed=1.0) as (between, stats):
        with pytest.raises(PocketError, match=r"10 calls in a row failed"):
            ask(make_batched(tmp_path, 40, between.url))
        assert stats()["batches"] == 0


def test_a_batch_of_useless_answers_is_not_paid_for_again(tmp_path: Path, capfd: Any) -> None:
    def worse(rows: list[Row]) -> list[Any]:
        for row in rows[:16]:
            row["response"]["body"]["choices"][0]["message"]["content"] = "It is water."
        return rows

    with teacher() as (between, stats):
        between.on("GET", OUTPUT, lines(worse))
        project = make_batched(tmp_path, 31, between.url)
        assert ask(project) == {"ok": 15, "malformed": 16}
        assert sum(not row["batch"] for row in stats()["rows"]) == 1
        assert "are left to the next run" in capfd.readouterr().err
        assert ask(project) == {"ok": 31}


def test_a_picture_that_cannot_be_read_stays_out_of_the_batch(tmp_path: Path) -> None:
    with teacher() as (between, stats):
        project = make_batched(tmp_path, 7, between.url)
        (project.workspace.originals / "3.png").write_bytes(b"no picture")
        assert ask(project) == {"ok": 6, "failed": 1}
        assert stats()["pictures"] == 6
    (bad,) = (row for row in answers(project) if row["status"] == "failed")
    assert bad["error"].startswith("picture: ")
    settled(project)


def test_no_picture_can_be_read(tmp_path: Path) -> None:
    with teacher() as (between, _):
        project = make_batched(tmp_path, 3, between.url)
        for path in project.workspace.originals.glob("*.png"):
            path.write_bytes(b"no picture")
        assert ask(project) == {"failed": 3}
        assert between.seen == []
    settled(project)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/files", 403), ("/files", 404), ("/files", 405), ("/files", 501), ("/batches", 404)],
)
def test_a_server_without_a_batch_api(tmp_path: Path, path: str, status: int) -> None:
    with teacher() as (between, stats):
        between.on("POST", path, status, times=9)
        project = make_batched(tmp_path, 4, between.url)
        with pytest.raises(PocketError, match=rf"takes no batch \({status} - .*batch: false") as no:
            ask(project)
        assert no.value.exit_code == 1
        assert between.count("POST", path) == 1 and stats()["batches"] == 0
        settled(project)
        assert ask(make_batched(tmp_path, 4, between.url, batch=False)) == {"ok": 4}


def test_a_server_that_says_html_to_everything_else(tmp_path: Path) -> None:
    with teacher() as (between, _):
        between.on("POST", "/files", lambda body: b"<html>Welcome</html>")
        with pytest.raises(PocketError, match=r"takes no batch .*batch: false"):
            ask(make_batched(tmp_path, 4, between.url))


def test_the_key_is_in_no_file_and_no_message(tmp_path: Path, capfd: Any) -> None:
    def failed(body: bytes) -> bytes:
        problem = {"code": "x", "message": f"{KEY} is wrong"}
        told = {"status": "failed", "errors": {"data": [problem, problem]}}
        return json.dumps(json.loads(body) | told).encode()

    with teacher() as (between, _):
        between.on("POST", "/files", 400, body=json.dumps({"error": {"message": KEY}}))
        between.on("GET", r"/batches/\w+", failed)
        project = make_batched(tmp_path, 4, between.url)
        with pytest.raises(PocketError, match=r"takes no batch .*\*\*\*") as other:
            ask(project)
        with pytest.raises(PocketError, match=r"failed \(\*\*\* is wrong\)") as no:
            ask(project)
    assert between.keys == {f"Bearer {KEY}"}
    said = capfd.readouterr()
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    sent = [form for forms in between.bodies.values() for form in forms]
    assert not any(KEY.encode() in data for data in files + sent)
    assert not any(KEY in text for text in (said.out, said.err, str(no.value), str(other.value)))


def test_the_file_names_no_path_of_this_machine(tmp_path: Path) -> None:
    with teacher() as (between, _):
        ask(make_batched(tmp_path, 3, between.url))
    (form,) = between.bodies["/files"]
    head = form.split(b"{", 1)[0]
    assert b'filename="batch-' in head and str(tmp_path).encode() not in form


TROUBLE: list[Any] = [
    500,
    429,
    408,
    "cut",
    "half",
    "mute",
    lambda body: b"<html>",
    lambda body: b"{",
]
NAMES = ["500", "429", "408", "cut", "half", "mute", "html", "json"]


@pytest.mark.parametrize("trouble", TROUBLE, ids=NAMES)
def test_trouble_on_the_way_is_outlived(tmp_path: Path, trouble: Any) -> None:
    with teacher(batch_seconds=0.2) as (between, stats):
        for method, path in (("POST", "/files"), ("GET", r"/batches/\w+"), ("GET", OUTPUT)):
            if not (callable(trouble) and path != r"/batches/\w+"):
                times = 1 if trouble == "mute" else 3
                between.on(method, path, trouble, times, retry_after_ms="5")
        project = make_batched(tmp_path, 5, between.url, timeout=0.7 if trouble == "mute" else 20)
        assert ask(project) == {"ok": 5}
        assert stats()["batches"] == 1 and {row["sent"] for row in stats()["rows"]} == {1}
    settled(project)


@pytest.mark.parametrize("trouble", ["lose", "half"])
def test_a_reply_that_gets_lost_makes_no_second_batch(tmp_path: Path, trouble: Any) -> None:
    with teacher() as (between, stats):
        between.on("POST", "/batches", trouble)
        project = make_batched(tmp_path, 5, between.url)
        assert ask(project) == {"ok": 5}
        assert stats()["batches"] == between.count("POST", "/batches") == 1
    settled(project)


def test_the_setting_that_loses_the_first_reply(tmp_path: Path) -> None:
    with teacher(lose_first_batch=True) as (between, stats):
        assert ask(make_batched(tmp_path, 5, between.url)) == {"ok": 5}
        assert stats()["batches"] == 1


@pytest.mark.parametrize("trouble", ["cut", 500, 503, 429])
def test_a_batch_that_was_not_made_is_made_again(tmp_path: Path, trouble: Any) -> None:
    with teacher() as (between, stats):
        between.on("POST", "/batches", trouble, times=2)
        project = make_batched(tmp_path, 5, between.url)
        assert ask(project) == {"ok": 5}
        assert stats()["batches"] == 1 and between.count("POST", "/batches") == 3
        assert between.count("POST", "/files") == 1
    settled(project)


@pytest.mark.parametrize("lacks", ["metadata", "input_file_id"])
def test_a_lost_batch_is_found_by_either_mark_on_any_page(tmp_path: Path, lacks: str) -> None:
    def one_a_page(body: bytes) -> bytes:
        page = json.loads(body)
        data = [one | {lacks: None} for one in page["data"]][:1]
        return json.dumps(page | {"data": data, "has_more": len(page["data"]) > 1}).encode()

    with teacher() as (between, stats):
        for count in (3, 4, 5):
            ask(make_batched(tmp_path, count, between.url))
        between.on("POST", "/batches", "lose")
        between.on("GET", "/batches", one_a_page, times=99)
        assert ask(make_batched(tmp_path, 9, between.url)) == {"ok": 9}
        assert {row["sent"] for row in stats()["rows"]} == {1}


def test_a_list_without_an_end_is_left(tmp_path: Path) -> None:
    def same(body: bytes) -> bytes:
        told = {"id": "b", "status": "completed", "metadata": "x", "input_file_id": "y"}
        return json.dumps({"data": [told]}).encode()

    with teacher() as (between, stats):
        between.on("POST", "/batches", "cut")
        between.on("GET", "/batches", same, times=99)
        assert ask(make_batched(tmp_path, 4, between.url)) == {"ok": 4}
        assert stats()["batches"] == 1


def test_a_lost_reply_and_no_list(tmp_path: Path) -> None:
    """Nobody knows whether there is a batch: it is not taken for refused."""
    with teacher() as (between, stats):
        between.on("POST", "/batches", "lose")
        between.on("GET", "/batches", 404, times=99)
        project = make_batched(tmp_path, 4, between.url)
        with pytest.raises(PocketError, match="gives no usable reply"):
            ask(project)
        assert len(Ledger(project.workspace.answers).open) == 3
        with pytest.raises(PocketError, match="does not tell about a batch"):
            ask(project)
        assert stats()["batches"] == 1
        assert ask(Project.of(project.config, tmp_path, agreed=True)) == {"ok": 4}
        assert settled(project).spent >= bill(stats)


def test_a_dead_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "PATIENCE", 0.3)
    with teacher(batch_seconds=0.2) as (between, stats):
        between.on("GET", r"/batches/\w+", "cut", times=999)
        project = make_batched(tmp_path, 4, between.url)
        with pytest.raises(PocketError, match=r"gives no usable reply.*go on meanwhile"):
            ask(project)
        between.rules.clear()
        assert ask(project) == {"ok": 4}
        assert {row["sent"] for row in stats()["rows"]} == {1}
    settled(project)


def test_a_limit_of_a_day_is_told(tmp_path: Path) -> None:
    with teacher() as (between, _):
        between.on("POST", "/files", 429, retry_after="7200")
        with pytest.raises(PocketError, match=r"gives no usable reply.*429"):
            ask(make_batched(tmp_path, 4, between.url))


def test_an_account_without_credit(tmp_path: Path) -> None:
    broke = '{"error": {"message": "quota", "code": "insufficient_quota"}}'
    with teacher() as (between, _):
        between.on("POST", "/batches", 429, body=broke)
        with pytest.raises(PocketError, match="no credit left"):
            ask(make_batched(tmp_path, 4, between.url))


@pytest.mark.parametrize("path", [r"/batches/\w+", OUTPUT])
def test_a_batch_that_the_server_does_not_know(tmp_path: Path, path: str) -> None:
    """Another key, or too late: its answers may be paid for, so the user decides."""
    with teacher() as (between, stats):
        between.on("GET", path, 404, times=2)
        project = make_batched(tmp_path, 4, between.url)
        with pytest.raises(
            PocketError, match=r"does not tell about a batch of 20.*--yes gives it up"
        ):
            ask(project)
        assert len(Ledger(project.workspace.answers).open) == 3
        agreed = Project.of(project.config, tmp_path, agreed=True)
        assert ask(agreed) == {"ok": 4}
        given_up = [row for row in answers(project) if row["status"] == "failed"]
        assert {row["billed"] for row in given_up} == {"unknown"} and len(given_up) == 3
        assert settled(project).spent >= bill(stats)


def full(body: bytes) -> bytes:
    """As OpenAI says that too many tokens of the account are waiting."""
    problem = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
    told = {"status": "failed", "errors": {"data": [problem]}, "output_file_id": None}
    return json.dumps(json.loads(body) | told).encode()


def test_a_full_queue_makes_smaller_batches(tmp_path: Path) -> None:
    with teacher() as (between, stats):
        between.on("GET", r"/batches/batch_00000[12]", full, times=2)
        project = make_batched(tmp_path, 13, between.url)
        assert ask(project) == {"ok": 13}
        sizes = [row["requests"] for row in rows_of(project, "batch") if row["state"] == "done"]
        assert sizes == [12, 6, 6, 6]  # the third goes again when the second has ended
        assert sum(not row["batch"] for row in stats()["rows"]) == 1
    settled(project)


def test_a_full_queue_waits_for_another_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MOST_REQUESTS", 4)
    with teacher(batch_seconds=1.0) as (between, _):
        between.on("GET", r"/batches/batch_000002", full)
        project = make_batched(tmp_path, 9, between.url)
        assert ask(project) == {"ok": 9}
        sizes = [row["requests"] for row in rows_of(project, "batch") if row["state"] == "done"]
        assert sizes == [4, 4, 4]
    settled(project)


def test_a_queue_that_stays_full(tmp_path: Path) -> None:
    with teacher() as (between, _):
        between.on("GET", r"/batches/\w+", full, times=99)
        with pytest.raises(PocketError, match=r"Enqueued token limit.*batch: false"):
            ask(make_batched(tmp_path, 6, between.url))


def test_an_answer_is_read_with_the_labels_it_was_asked_with(tmp_path: Path) -> None:
    with teacher(batch_seconds=0.3) as (between, _):
        between.on("GET", r"/batches/\w+", 401)
        project = make_batched(tmp_path, 6, between.url)
        with pytest.raises(PocketError, match="refused the key"):
            ask(project)
        labels = {"yes": "it is", "no": "it is not"}
        other = {"task": {"question": "Is it a lake?", "labels": labels}}
        changed = make_batched(tmp_path, 6, between.url, other, batch=False)
        assert ask(changed) == {"rejected": 6}
        assert ask(project) == {"ok": 6}  # the change is taken back


def test_a_batch_of_a_teacher_that_is_gone(tmp_path: Path, capfd: Any) -> None:
    with teacher() as (between, stats):
        between.on("GET", r"/batches/\w+", 401)
        project = make_batched(tmp_path, 4, between.url)
        with pytest.raises(PocketError, match="refused the key"):
            ask(project)
        ask(make_batched(tmp_path, 4, between.url, model="other", config={"prices": {}}))
        assert "a batch of stand-in at" in capfd.readouterr().err
        assert ask(project) == {"ok": 4}
        rows = [row for row in stats()["rows"] if row["model"] == "stand-in"]
        assert {row["sent"] for row in rows} == {1}
    settled(project)


def test_the_same_teacher_at_another_address(tmp_path: Path) -> None:
    with teacher() as (between, stats), Between(f"http://{between.teacher.netloc}/v1") as other:
        between.on("GET", r"/batches/\w+", 401)
        with pytest.raises(PocketError, match="refused the key"):
            ask(make_batched(tmp_path, 4, between.url))
        moved = make_batched(tmp_path, 4, other.url)
        with pytest.raises(ConfigError, match=r"put that teacher back .* or give --yes"):
            ask(moved)
        assert stats()["batches"] == 1 and other.seen == []
        assert ask(Project.of(moved.config, tmp_path, agreed=True)) == {"ok": 4}


def test_a_model_that_has_lost_its_price_for_batches(tmp_path: Path) -> None:
    """Its answers are fetched when there is one again, not before."""
    with teacher() as (between, stats):
        between.on("GET", r"/batches/\w+", 401)
        project = make_batched(tmp_path, 4, between.url)
        with pytest.raises(PocketError, match="refused the key"):
            ask(project)
        prices = {"prices": {"stand-in": dict(PRICES["stand-in"], batch=None)}}
        with pytest.raises(ConfigError, match="set `batch` in prices"):
            ask(make_batched(tmp_path, 4, between.url, prices, batch=False))
        assert ask(make_batched(tmp_path, 4, between.url, batch=False)) == {"ok": 4}
        assert settled(project).spent == pytest.approx(bill(stats))


def test_two_teachers_with_batches(tmp_path: Path) -> None:
    with teacher() as (between, stats):
        one = make_batched(tmp_path, 40, between.url).config.teachers[0].model_dump()
        both = {"teachers": [one, one | {"model": "strong"}], "prices": {}}
        project = make_batched(tmp_path, 40, between.url, both)
        ask(project)
        told = stats()
    assert told["batches"] == 2
    assert {row["sent"] for row in told["rows"]} == {1}
    assert 40 < len(told["rows"]) < 80
    settled(project)


def test_progress_is_shown(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.setattr("pocketvlm.progress.LINE", 0.0)
    with teacher(batch_seconds=0.4) as (between, _):
        ask(make_batched(tmp_path, 9, between.url))
    said = capfd.readouterr().err
    for words in (
        "8 are written for a batch",
        "a batch of 8 is sent",
        "batch_000001 is submitted",
        "batch in_progress, ",
        "of 8 done",
    ):
        assert words in said


def fails(path: str, status: int, times: int = 1) -> Fail:
    """A failure of llmock's, with the pause it asks for."""
    return Fail(status, retry_after=0.05, times=times, match=Match(path=path))


def test_against_another_server(
    tmp_path: Path, llmock: LLMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llmock's own Files and Batch API, with trouble everywhere."""
    monkeypatch.setattr(llmock_batch, "_BATCH_DELAY", 0.2)
    monkeypatch.setattr(llmock_batch, "build_mock_text", lambda **_: json.dumps(GOOD))
    llmock.reply(json.dumps(GOOD), times=None)
    llmock.add(fails("/v1/files", 429), fails("/v1/batches/*", 500, 2))
    llmock.add(fails("/v1/batches/*", 429, 2), fails("/v1/files/*/content", 503))
    project = make_batched(tmp_path, 9, llmock.base_url())
    assert ask(project) == {"ok": 9}
    assert sum("batch" in row for row in answers(project)) == 8
    assert settled(project).spent > 0
    llmock.assert_resilient()


def test_what_another_server_cannot_answer_is_asked_online(
    tmp_path: Path, llmock: LLMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llmock_batch, "_BATCH_DELAY", 0.1)  # its words are no JSON
    llmock.reply(json.dumps(GOOD), times=None)
    project = make_batched(tmp_path, 5, llmock.base_url())
    assert ask(project) == {"ok": 5}
    assert Counter(row["status"] for row in answers(project)) == {"malformed": 4, "ok": 5}
    settled(project)


def test_another_server_loses_the_reply(
    tmp_path: Path, llmock: LLMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llmock_batch, "_BATCH_DELAY", 0.1)
    monkeypatch.setattr(llmock_batch, "build_mock_text", lambda **_: json.dumps(GOOD))
    llmock.reply(json.dumps(GOOD), times=None)
    llmock_batch._batches.clear()
    with Between(llmock.base_url()) as between:
        between.on("POST", "/batches", "lose")
        project = make_batched(tmp_path, 5, between.url)
        assert ask(project) == {"ok": 5}
    assert len(llmock_batch._batches) == 1
    settled(project)
