"""Labelling: every picture without an answer is asked about, a bounded number at a time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator

from pocketvlm.errors import PocketError
from pocketvlm.label.client import Teacher, Unreachable, failed
from pocketvlm.label.ledger import Ledger, answers_of, now, question_key
from pocketvlm.progress import bar, say
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows

PATIENCE = 3
"""Unreachable calls in a row, with no answer between, before the run stops."""

AGAIN = "run `pocketvlm label` again to ask once more"
MENDS = {
    "none": "no label fits, left out",
    "refused": "the teacher declined, left out",
    "rejected": "a label outside the set, left out; sharpen the definitions in task.labels",
    "picture": "the file in originals/ cannot be read, left out",
    "malformed": f"no answer of the form asked for; {AGAIN}, or try another teacher.model",
}
"""What each kind of shortfall means for the user; the others are failed calls."""

ENDURANCE = 10
"""Calls failed otherwise in a row before it stops, or twice the calls in flight if that is more."""


def label(project: Project) -> Row:
    """Ask the teacher about every collected picture that has no answer under the present prompt,
    model and sampling; the figures count all of them."""
    ledger = Ledger(project.workspace.answers)
    waiting = [
        row
        for row in read_rows(project.workspace.index)
        if not ledger.answered(question_key(project.config, row["sha256"]))
    ]
    if waiting:
        say(f"{project.config.teacher.model} at {project.config.teacher.base_url}")
        try:
            asyncio.run(_ask_all(project, ledger, waiting))
        except BaseExceptionGroup as group:
            known = [e for e in group.exceptions if isinstance(e, PocketError | OSError)]
            if not known:
                raise
            raise known[0] from None
    return _figures(project, asked=len(waiting))


async def _ask_all(project: Project, ledger: Ledger, waiting: list[Row]) -> None:
    teacher = Teacher(project.config, project.workspace.root)
    pictures = iter(waiting)
    counts: Counter[str] = Counter()
    streak = Streak(max(ENDURANCE, 2 * project.config.teacher.concurrency))
    workers = min(project.config.teacher.concurrency, len(waiting))
    with bar("Labelling", len(waiting)) as advance:
        tell = _tell(counts, advance)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(_work(project, ledger, teacher, pictures, streak, tell))
        finally:
            await teacher.close()


class Streak:
    """Failed calls in a row, each after its retries: where nothing comes back, asking stops."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.failed = self.unreachable = 0

    def missed(self, error: Unreachable) -> None:
        """Count a call without connection; `error` is raised when nobody is there."""
        self.unreachable += 1
        if self.unreachable >= PATIENCE:
            raise error

    def see(self, answer: Row) -> None:
        """Count an answer; PocketError when too many calls in a row gave none that can be used:
        a malformed one may have been paid for."""
        if answer["status"] != "failed":
            self.unreachable = 0
        if answer["status"] not in ("failed", "malformed"):
            self.failed = 0
            return
        if "seconds" not in answer:  # the picture cannot be read, or the call was never made
            return
        self.failed += 1
        if self.failed >= self.limit:
            raise PocketError(
                f"{self.failed} calls in a row failed, the last with {answer['error']}; "
                "what is answered is kept, run the same command to go on"
            )


async def _work(
    project: Project,
    ledger: Ledger,
    teacher: Teacher,
    pictures: Iterator[Row],
    streak: Streak,
    tell: Callable[[str], None],
) -> None:
    """One of several workers that share the iterator: ask, write down, go on."""
    for picture in pictures:
        answer = await _ask(project, ledger, teacher, picture, streak)
        if answer["status"] == "malformed":
            answer = await _ask(project, ledger, teacher, picture, streak)
        tell(str(answer["status"]))
        streak.see(answer)


async def _ask(
    project: Project, ledger: Ledger, teacher: Teacher, picture: Row, streak: Streak
) -> Row:
    """One call between its two ledger rows."""
    key = question_key(project.config, picture["sha256"])
    ledger.intend(key, picture["sha256"], project.config)
    try:
        answer = await teacher.ask(project.workspace.originals / picture["file"])
    except Unreachable as error:
        streak.missed(error)
        answer = failed("unreachable", "no connection")
    row = {"kind": "answer", "key": key, "picture": picture["sha256"]}
    ledger.record(row | answer | {"at": now()})
    return answer


def _tell(counts: Counter[str], advance: Callable[[str], None]) -> Callable[[str], None]:
    def tell(status: str) -> None:
        counts[status] += 1
        advance(", ".join(f"{name} {count}" for name, count in counts.most_common()))

    return tell


def shortfalls(answers: list[Row]) -> list[str]:
    """What gave no label: how many of each kind, what can be done, and the last one in full."""
    kinds: dict[str, list[Row]] = {}
    for row in answers:
        if row["status"] != "ok":
            kind = row["status"]
            if kind == "failed":
                kind = str(row["error"]).split(":")[0]
            kinds.setdefault(kind, []).append(row)
    lines = []
    for kind, rows in kinds.items():
        last = rows[-1]
        detail = last.get("error") or last.get("reason") or last.get("label") or "no reason given"
        lines.append(f"{len(rows)} x {kind}: {MENDS.get(kind, AGAIN)}. The last: {detail}")
    return lines


def _figures(project: Project, asked: int) -> Row:
    answers = [answer for _, answer in answers_of(project)]
    status = Counter(row["status"] for row in answers)
    for line in shortfalls(answers):
        say(f"  {line}")
    if answers and not status["ok"]:
        raise PocketError(
            f"no picture got a label ({dict(status)}): see {project.workspace.answers}"
        )
    unread = sum(str(row.get("error")).startswith("picture") for row in answers)
    return {
        "asked": asked,
        "status": dict(status),
        "unanswered": status["failed"] + status["malformed"] - unread,
        "labels": dict(Counter(row["label"] for row in answers if row["status"] == "ok")),
        "tokens_in": sum(row.get("tokens_in") or 0 for row in answers),
        "tokens_out": sum(row.get("tokens_out") or 0 for row in answers),
    }
