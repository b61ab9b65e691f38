"""A training that is killed or told to stop goes on, and ends as if nothing had happened: equal to
the bit."""

import signal
import time
from pathlib import Path

import pytest

from pocketvlm.project import Project
from pocketvlm.student.cache import KEY
from pocketvlm.student.checkpoints import ECHO
from pocketvlm.student.student import BATCH
from pocketvlm.workspace import Row
from tests.student.children import (
    EVALUATION,
    LOOK,
    PAUSED,
    SAVE,
    SEAL,
    STEP,
    Child,
    finish,
    history,
    left,
    prepare,
    sealed,
    undisturbed,
)

OFTEN = 1e-9
"""Seconds between checkpoints: one a step."""

NEVER = 300.0
"""One an epoch."""

PRUNING = "transformers.trainer:rotate_checkpoints:4"
SAVING = "transformers.trainer:Trainer._save_checkpoint:{} > torch:save:{}"


@pytest.fixture
def whole(tiny_base: Path) -> Row:
    """What the same training learns when nothing happens to it."""
    return undisturbed(tiny_base)


@pytest.fixture
def hard(tmp_path: Path, tiny_base: Path) -> Project:
    """Dropout, mirrored and balanced pictures; not trained."""
    return prepare(tmp_path / "project", tiny_base)


def goes_on(project: Project, whole: Row, at: int | None) -> str:
    """Run it again: from the checkpoint of step `at`, to the same end, and nothing is left over;
    what it said."""
    code, said = finish(project)
    assert code == 0, said
    assert ("Going on" in said) == (at is not None), said
    if at is not None:
        assert f"Going on from checkpoint-{at} " in said, said
    assert history(project) == whole
    assert not left(project)
    assert list(project.workspace.root.glob("state/features/*/*/*.rows"))
    return said


def test_killed_it_ends_as_if_nothing_had_happened(hard: Project, whole: Row) -> None:
    code, said = finish(hard, at=f"{STEP}:9", act="SIGKILL", every=OFTEN)
    assert code == -signal.SIGKILL, said
    goes_on(hard, whole, at=8)


def test_told_to_stop_it_keeps_that_very_step(hard: Project, whole: Row) -> None:
    child = Child(hard, at=f"{STEP}:9", act="SIGTERM", every=NEVER)
    assert child.wait() == 1
    assert len(child.errors) == 1
    assert "stopped by SIGTERM after step 9 of 12" in child.errors[0]
    assert "Traceback" not in child.said
    goes_on(hard, whole, at=9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "every", "then"),
    [
        (f"{STEP}:1", OFTEN, None),
        (f"{STEP}:7", NEVER, 6),  # the first of an epoch
        (f"{EVALUATION}:2", OFTEN, 11),
        (SAVING.format(4, 1), OFTEN, 3),  # weights are there, the rest is not
        (SAVING.format(6, 4), OFTEN, 5),  # the epoch's own
        (f"{SEAL}:4", OFTEN, 3),
        (f"{PRUNING} > os:unlink:3", OFTEN, 3),  # one that goes is half gone
        (f"{SAVE}:1", NEVER, 12),
        ("pocketvlm.student.history:plot:1", NEVER, 12),  # the adapter is half written
        ("pocketvlm.pipeline.run:discard:1 > os:unlink:2", NEVER, None),
    ],
)
def test_killed_at_any_moment(hard: Project, whole: Row, at: str, every: float, then: int) -> None:
    code, said = finish(hard, at=at, act="SIGKILL", every=every)
    assert code == -signal.SIGKILL, said
    goes_on(hard, whole, then)


@pytest.mark.slow
def test_killed_again_and_again(hard: Project, whole: Row) -> None:
    """Every life takes two steps and dies in the third."""
    deaths = 0
    while finish(hard, at=f"{STEP}:3", act="SIGKILL", every=OFTEN)[0]:
        deaths += 1
    assert deaths == 5  # the sixth has only two steps left
    assert history(hard) == whole
    assert not left(hard)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.1, 0.7])
def test_killed_from_outside_at_some_time(hard: Project, whole: Row, seconds: float) -> None:
    child = Child(hard, every=OFTEN)
    child.until(lambda: list(left(hard)))
    time.sleep(seconds)
    child.tell(signal.SIGKILL)
    child.wait()
    kept = [int(path.name.split("-")[1]) for path in sealed(hard)]
    finished = (hard.workspace.adapter / "history.json").exists()
    goes_on(hard, whole, kept[-1] if kept and not finished else None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "act", "step"),
    [
        (f"{STEP}:1", "SIGINT", 1),
        (f"{STEP}:6", "SIGTERM", 6),  # the last of an epoch
        (f"{EVALUATION}:1", "SIGTERM", 6),
        (SAVING.format(4, 2), "SIGTERM", 4),
        (f"{EVALUATION}:2", "SIGINT", 12),  # the last of all
    ],
)
def test_told_to_stop_at_any_moment(
    hard: Project, whole: Row, at: str, act: str, step: int
) -> None:
    child = Child(hard, at=at, act=act, every=OFTEN)
    assert child.wait() == 1
    assert len(child.errors) == 1, child.said
    assert f"stopped by {act} after step {step} of 12" in child.errors[0]
    goes_on(hard, whole, step)


@pytest.mark.slow
@pytest.mark.parametrize("act", ["SIGTERM", "SIGINT"])
def test_told_to_stop_before_the_first_step_or_after_the_last(
    hard: Project, whole: Row, act: str
) -> None:
    """Nothing has to be waited for."""
    for at in (f"{LOOK}:2", "pocketvlm.student.history:plot:1"):
        child = Child(hard, at=at, act=act)
        assert child.wait() == 1
        assert len(child.errors) == 1, child.said
        assert child.errors[0].endswith(f"stopped by {act}: run the same command to go on")
        assert "Traceback" not in child.said
    goes_on(hard, whole, at=12)


@pytest.mark.slow
def test_killed_while_looking(hard: Project, whole: Row) -> None:
    """Rows on the disk are not computed again, torn ones are cut off."""
    code, said = finish(hard, at=f"{LOOK}:3", act="SIGKILL", every=OFTEN)
    assert code == -signal.SIGKILL, said
    [rows] = hard.workspace.root.glob("state/features/features/*/000.rows")
    keys = rows.with_suffix(".keys")
    known, kept = keys.read_bytes(), rows.read_bytes()
    assert len(known) == 2 * BATCH * KEY  # two of the three batches of 24 pictures in two views
    for file, torn in ((rows, b"row"), (keys, b"key")):
        with file.open("ab") as end:
            end.write(torn)
    said = goes_on(hard, whole, at=None)
    assert "Looking at train" in said and " 1/1 " in said
    assert " 3/3 " not in said
    assert keys.read_bytes()[: len(known)] == known
    assert rows.read_bytes()[: len(kept)] == kept
    pictures = keys.stat().st_size // KEY
    assert pictures == 24 * 2 + 8
    assert rows.stat().st_size == pictures * len(kept) // (2 * BATCH)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(hard: Project, whole: Row, number: int) -> None:
    """But not one that follows on the heels, as from a terminal and a launcher."""
    child = Child(hard, at=f"{STEP}:9", act="pause 60", every=NEVER)
    child.until(lambda: PAUSED in child.said)
    child.tell(number)
    child.until(lambda: "a checkpoint is written after this step" in child.said)
    child.tell(number)
    time.sleep(ECHO + 0.5)
    assert child.process.is_alive()
    child.tell(number)
    assert child.wait(20) == 1
    assert len(child.errors) == 1, child.said
    goes_on(hard, whole, at=6)
