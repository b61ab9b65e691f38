"""The soak's own judgement: it finds what was paid twice, lost or made otherwise, and says nothing
of what a kill explains."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import chaos_kills
from chaos_audit import (
    Finding,
    Kill,
    audit_answers,
    audit_files,
    audit_leftovers,
    audit_payments,
)
from chaos_episodes import clear
from chaos_kills import NAMES, SHARES, Aim, Marksman, Running, strays
from pocketvlm.workspace import Row

SECONDS = dict.fromkeys(NAMES, 10.0)


def call(picture: str, number: int = 1, label: str | None = "water") -> list[Row]:
    """One call's rows; without a label a kill has cut it off."""
    common = {"key": f"key-{picture}", "picture": picture, "call": f"{picture}-{number}"}
    intent: Row = common | {"kind": "intent", "at": f"{number}"}
    if label is None:
        return [intent]
    answer = {"kind": "answer", "status": "ok", "label": label, "billed": "usage"}
    return [intent, common | answer | {"at": f"{number}", "seconds": 0.1 * number}]


def kill(cut: Sequence[str] = (), answered: Sequence[str] = (), **asked: int) -> Kill:
    """A kill in the middle of labelling: first calls about `cut` are in flight."""
    in_flight = {f"{picture}-1": picture for picture in cut}
    return Kill("label", True, 1.0, "", in_flight, frozenset(answered), asked)


def wrong(findings: Sequence[Finding]) -> list[str]:
    """What is not as it must be."""
    return [what for what, sound in findings if not sound]


def test_a_call_cut_off_by_a_kill_may_be_paid_again() -> None:
    rows = call("a") + call("b", label=None) + call("b", 2)
    kills = [kill(["b"], ["a"], a=1, b=1)]
    assert not wrong(audit_payments(rows, {"a": 1, "b": 2}, {"a": 1, "b": 2}, kills))
    assert not wrong(audit_answers(call("a") + call("b"), rows, kills))


def test_paid_twice_without_a_kill() -> None:
    rows = call("a") + call("b") + call("b", 2)
    found = wrong(audit_payments(rows, {"a": 1, "b": 2}, {"a": 1, "b": 2}, [kill(["a"])]))
    assert len(found) == 1
    assert "1 more often than kills explain (b)" in found[0]
    assert "1 with more (key-b)" in wrong(audit_answers(rows, rows, []))[0]


def test_paid_more_often_than_it_was_cut_off() -> None:
    rows = call("a", label=None) + call("a", 2)
    kills = [kill(["a"], a=1)]
    assert not wrong(audit_payments(rows, {"a": 2}, {"a": 2}, kills))
    assert len(wrong(audit_payments(rows, {"a": 3}, {"a": 3}, kills))) == 2  # one is lost, too


def test_asked_again_with_the_answer_in_the_ledger() -> None:
    """Also where the second reply did not arrive, so that nothing was paid."""
    kills = [kill(answered=["a"], a=1)]
    found = wrong(audit_payments(call("a"), {"a": 2}, {"a": 1}, kills))
    assert found == ["pictures: 1 asked about again with an answer in the ledger (a)"]


def test_a_paid_answer_that_is_not_in_the_ledger() -> None:
    found = wrong(audit_payments(call("a"), {"a": 1, "b": 1}, {"a": 1, "b": 1}, [kill(["a"])]))
    assert found == ["paid answers: 1 missing from the ledger without a kill (b)"]


def test_an_answer_that_nobody_gave() -> None:
    assert "1 never sent (a)" in wrong(audit_payments(call("a"), {}, {}, []))[0]


@pytest.mark.parametrize(
    ("killed", "said"),
    [
        (call("a"), "1 lost (key-b)"),
        (call("a") + call("b") + call("c"), "1 too many (key-c)"),
        (call("a") + call("b", label="fire"), "1 other than undisturbed (key-b)"),
    ],
)
def test_another_set_of_answers(killed: list[Row], said: str) -> None:
    found = wrong(audit_answers(call("a") + call("b"), killed, []))
    assert len(found) == 1
    assert said in found[0]


def test_an_intent_that_no_kill_explains() -> None:
    rows = call("a") + call("b", 7, label=None)
    assert "1 of no call that a kill cut off" in wrong(audit_answers(call("a"), rows, [kill()]))[0]


def alter(path: Path) -> None:
    path.write_text("other")


def remove(path: Path) -> None:
    path.unlink()


def add(path: Path) -> None:
    path.with_name("new").touch()


@pytest.mark.parametrize(("change", "name"), [(alter, "a.png"), (remove, "a.png"), (add, "new")])
def test_a_dataset_that_differs(tmp_path: Path, change: Callable[[Path], None], name: str) -> None:
    for folder in ("calm", "killed"):
        (tmp_path / folder / "images").mkdir(parents=True)
        (tmp_path / folder / "images" / "a.png").write_text("same")
    same = audit_files("dataset", tmp_path / "calm", tmp_path / "killed")
    assert same == ("dataset: 1 files; 0 missing, new or other bytes", True)
    change(tmp_path / "killed" / "images" / "a.png")
    said, sound = audit_files("dataset", tmp_path / "calm", tmp_path / "killed")
    assert not sound
    assert f"(images/{name})" in said


def test_no_dataset_is_no_equal_dataset(tmp_path: Path) -> None:
    assert not audit_files("dataset", tmp_path / "calm", tmp_path / "killed")[1]


@pytest.mark.parametrize(
    "left",
    [
        ".dataset.pocketvlm-x1/images/a.png",
        "state/.train.json.x1",
        "gguf/.made.x1/model.gguf",
        "state/checkpoints/abc/checkpoint-3/model",
    ],
)
def test_what_is_left_behind(tmp_path: Path, left: str) -> None:
    (tmp_path / "state" / "checkpoints").mkdir(parents=True)
    assert audit_leftovers(tmp_path)[1]
    (tmp_path / left).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / left).touch()
    assert not audit_leftovers(tmp_path)[1]


@pytest.mark.parametrize(
    ("said", "well"),
    [
        ("label: first run\nerror: No space left on device: /tmp/answers.jsonl", True),
        ("error: /tmp/gguf will take 5 GB, and 0.00 GB are free: make room there", True),
        ("error: No space left on device: no file named", False),
        ("Traceback (most recent call last)\nerror: make room in /tmp", False),
        ("bundle: first run", False),
    ],
)
def test_what_is_said_of_a_full_disk(said: str, well: bool) -> None:
    assert clear(said) == well


def test_every_stage_is_aimed_at() -> None:
    """Each is hit as often as it is meant to be, in every way, and is over after that."""
    marksman, ways, ahead = Marksman(0, SECONDS), set(), NAMES[0]
    for _ in range(sum(SHARES.values())):
        aim = marksman.aim(ahead)
        ahead = max(ahead, aim.stage, key=NAMES.index)
        marksman.hit[ahead] += 1
        ways.add(aim.way)
    assert marksman.hit == SHARES
    assert ways == {"clock", "inside", "output", "done"}


def test_a_stage_that_is_over_is_not_aimed_at() -> None:
    assert {Marksman(seed, SECONDS).aim("merge").stage for seed in range(20)} == {"merge"}


def test_the_same_seed_draws_the_same_moments() -> None:
    first, second = (Marksman(5, SECONDS).aim("collect") for _ in range(2))
    assert first == second != Marksman(6, SECONDS).aim("collect")


STAGE = """
import json, pathlib, subprocess, sys, time
log = open("logs/stages.jsonl", "a")
print(json.dumps({"stage": "collect", "event": "started"}), file=log, flush=True)
if sys.argv[1:] == ["output"]:
    pathlib.Path("originals").mkdir()
    pathlib.Path("originals/index.jsonl").touch()
if sys.argv[1:] == ["child"]:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print("ready", flush=True)
time.sleep(60)
"""


def begin(root: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Running:
    """A process that is in its first stage for a minute."""
    (root / "logs").mkdir()
    monkeypatch.setattr(chaos_kills, "COMMAND", ("-c", STAGE, *arguments))
    return Running(root, root / "said", root)


def test_it_strikes_in_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = begin(tmp_path, monkeypatch)
    assert running.strike(Aim("inside", "collect", 0.0))
    assert running.at == "collect"
    assert running.process.returncode == -signal.SIGKILL
    assert not strays(tmp_path)


def test_a_stage_that_was_not_hit_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = begin(tmp_path, monkeypatch, "output")
    assert running.strike(Aim("inside", "label", 0.0, frozenset({"collect"})))
    assert running.at == "collect"


def test_who_leaves_the_session_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = begin(tmp_path, monkeypatch, "child")
    while "ready" not in running.log.read_text():
        assert running.process.poll() is None
    running.kill()
    (left,) = strays(tmp_path, 0.2)
    os.kill(int(left.split()[0]), signal.SIGKILL)
    assert not strays(tmp_path)


def test_it_tells_what_ended_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaos_kills, "COMMAND", ("-c", "print('broken'); raise SystemExit(1)"))
    running = Running(tmp_path, tmp_path / "said", tmp_path)
    assert not running.strike(Aim("inside", "collect", 0.0))
    assert (running.finish(), running.last_words) == (1, "broken")
