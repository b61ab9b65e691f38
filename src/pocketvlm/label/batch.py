"""The Batch API: the same questions at about half the price, answered within a day. A submission is
in the ledger before its batch is made, so that a run killed at any moment finds its batch again."""

import asyncio
import json
import tempfile
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from openai.types import Batch

from pocketvlm.errors import PocketError
from pocketvlm.label.batchfile import PREFIX, Draft, Request, read_results
from pocketvlm.label.batchrows import (
    answer_row,
    failed_row,
    intent_row,
    intents_of,
    is_to,
    open_batches,
    submission_row,
)
from pocketvlm.label.client import LONGEST_SAID, Client, encode_picture
from pocketvlm.label.ledger import Ledger, now
from pocketvlm.label.live import Live
from pocketvlm.label.money import Budget, Tariff, sizes_of
from pocketvlm.label.plan import Question
from pocketvlm.label.provider import (
    Provider,
    Refused,
    count_of,
    queue_is_full,
    reasons,
    standing,
    status_of,
)
from pocketvlm.label.streak import ENDURANCE
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.workspace import Row

MOST_REQUESTS = 50_000
"""Requests a batch (OpenAI's limit)."""

FIRST_LOOK, LAST_LOOK = 1.0, 60.0
"""Seconds between two looks at the batches: short at first, for small ones."""

TOGETHER = 8
"""Pictures encoded at a time."""

GROUP = 500
"""Answers written down at a time."""

DONE = frozenset({"completed", "failed", "expired", "cancelled"})
"""Statuses after which a batch does not change any more (API reference)."""


class Batches:
    """One teacher's batches."""

    def __init__(
        self,
        project: Project,
        client: Client,
        tariff: Tariff,
        ledger: Ledger,
        budget: Budget,
        prompt: str,
    ) -> None:
        self.workspace, self.agreed = project.workspace, project.agreed
        self.client, self.tariff, self.ledger, self.budget = client, tariff, ledger, budget
        self.prompt = prompt
        self.provider = Provider(client)
        self.again: set[str] = set()
        """Keys of the questions that were declined, or not answered in the form asked for: they
        are asked once more, online."""
        self.replies = 0
        """Answers of any kind."""
        self.questions: dict[str, Question] = {}
        self.most = MOST_REQUESTS
        """Requests a batch; fewer where the account's queue takes no more."""
        self.held = False
        """Whether nothing is submitted before a batch ends, for the queue is full."""
        self.live: Live | None = None

    def open(self) -> list[Row]:
        """Submissions to this teacher whose answers are not in the ledger yet."""
        return [row for row in open_batches(self.ledger) if is_to(row, self.client.teacher)]

    def waiting(self) -> set[str]:
        """Keys of the questions in those."""
        return {one["key"] for row in self.open() for one in intents_of(row, self.ledger)}

    def useless(self) -> bool:
        """Whether most answers cannot be used: asking again would be paid for in vain."""
        return len(self.again) > max(ENDURANCE, self.replies / 2)

    def worst(self, questions: Sequence[Question]) -> float:
        """USD that questions may cost online."""
        sizes = sizes_of(question.picture for question in questions)
        return sum(self.tariff.worst(size) for size in sizes)

    async def adopt(self) -> None:
        """Find the batches of runs that ended before they knew what became of them: where none was
        made, its questions are due again."""
        for row in self.open():
            if "id" in row:
                continue
            say(f"a batch was sent at {row['at']} and no reply is known: it is looked for")
            age = (datetime.now(UTC) - datetime.fromisoformat(row["at"])).total_seconds()
            try:
                found = await self.provider.find(row["file"], row["submission"], age)
            except Refused as no:
                await self._give_up(row, no)
                continue
            if found:
                await self.ledger.write(row | {"state": "submitted", "id": found, "at": now()})
            else:
                await self._close(row, "the batch was never made", "nothing")

    async def run(self, questions: Sequence[Question]) -> None:
        """Submit the questions without an answer that are in no batch yet, wait for all open
        batches and fetch them. What failed is left to be asked online; PocketError when it makes no
        sense to go on."""
        self.questions = {question.key: question for question in questions}
        waiting = self.waiting()
        pending = deque(
            question
            for question in questions
            if question.key not in waiting and not self.ledger.answered(question.key)
        )
        if not pending and not self.open():
            return
        total = len(pending) + len(waiting)
        try:
            with Live(self.client.teacher.model, total, None, self.budget) as self.live:
                await self._go(pending)
        except asyncio.CancelledError:
            if self.open():
                say("stopping: batches under way go on at the provider, the next run fetches them")
            raise
        finally:
            self.live = None
            await self.ledger.settle()

    async def _go(self, pending: deque[Question]) -> None:
        while pending or self.open():
            while pending and not self.held and await self._submit(pending):
                pass
            if self.open():
                pending.extend(await self._look())
            elif pending:
                (size,) = sizes_of([pending[0].picture])
                raise self.budget.reached(self.tariff.worst(size, batch=True), len(pending))

    async def _submit(self, pending: deque[Question]) -> bool:
        """Send as many questions as a batch and the budget take; whether there were any."""
        with Draft(self.workspace) as draft:
            await self._fill(draft, pending)
            if not draft.intents:
                return False
            self._tick(f"a batch of {len(draft.intents)} is sent")
            file = await self.provider.upload(draft.close())
        row = submission_row(self.client, draft.submission, file, len(draft.intents))
        await self.ledger.write(row | {"at": now()}, *draft.intents)
        try:
            batch = await self.provider.create(file, draft.submission)
        except Refused:
            await self._close(row, "the batch was refused", "nothing")
            raise
        await self.ledger.write(row | {"state": "submitted", "id": batch, "at": now()})
        say(
            f"batch {batch} is submitted (questions: {len(draft.intents)}); this command may be "
            "stopped and run again later"
        )
        return True

    async def _fill(self, draft: Draft, pending: deque[Question]) -> None:
        """Write the file of the next batch. What is taken leaves `pending`, and so do pictures
        that cannot be read: that is told online."""
        model = self.client.teacher.model
        while pending and len(draft.intents) < self.most:
            group = list(islice(pending, min(TOGETHER, self.most - len(draft.intents))))
            made = await asyncio.gather(*(asyncio.to_thread(self._request, one) for one in group))
            for question, request in zip(group, made, strict=True):
                if request is not None:
                    worst = draft.usd + request.worst
                    if not draft.fits(request) or not self.budget.allows(worst):
                        return
                    draft.add(request, intent_row(question, model, self.prompt))
                pending.popleft()
            self._tick(f"{len(draft.intents)} are written for a batch")

    def _request(self, question: Question) -> Request | None:
        path = self.workspace.originals / question.picture["file"]
        try:
            image, size = encode_picture(path, self.client.teacher.max_side)
        except PocketError:
            return None
        body = json.dumps(self.client.body(image))
        return Request(body, self.tariff.worst(size, batch=True))

    async def _look(self) -> list[Question]:
        """Wait for a batch to end and fetch it; the questions that are to be submitted again."""
        pause = FIRST_LOOK
        while True:
            seen: list[Batch] = []
            for row in self.open():
                try:
                    batch = await self.provider.look(row["id"])
                    if status_of(batch) in DONE:
                        return await self._fetch(row, batch)
                except Refused as no:
                    await self._give_up(row, no)
                    return []
                seen.append(batch)
            self._tick(standing(seen))
            await asyncio.sleep(pause)
            pause = min(LAST_LOOK, pause * 1.5)

    async def _fetch(self, row: Row, batch: Batch) -> list[Question]:
        """Write down every answer of a batch that has ended, and close it; the questions that are
        to be submitted again. PocketError when the batch failed as a whole or was cancelled."""
        answered: set[str] = set()
        state = self.workspace.root / "state"
        state.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=state) as folder:
            for number, file in enumerate((batch.output_file_id, batch.error_file_id)):
                if file:
                    path = Path(folder) / f"{number}.jsonl"
                    await self.provider.download(file, path)
                    answered |= await self._record(row, path)
        if queue_is_full(batch) and not answered:
            return await self._hold(row, batch)
        await self._end(row, batch, len(answered))
        return []

    async def _record(self, row: Row, path: Path) -> set[str]:
        """The results of a file, a group at a time, for it may be large; the calls with an
        answer."""
        answered: set[str] = set()
        group: dict[str, Row] = {}
        for result in read_results(path):
            if not result.call.startswith(row["submission"]):
                continue
            if result.reply is not None:
                answered.add(result.call)
            intent = self.ledger.open.get(result.call)
            if intent is None or result.call in group:  # by a run before, or named twice
                continue
            labels = row["labels"]
            group[result.call] = answer_row(intent, result, labels, self.client, self.tariff)
            if len(group) == GROUP:
                await self._write(group)
                group = {}
        await self._write(group)
        return answered

    async def _write(self, group: dict[str, Row]) -> None:
        await self.ledger.write(*group.values())
        self._saw(list(group.values()))
        self._tick("fetching")

    async def _end(self, row: Row, batch: Batch, answered: int) -> None:
        """Close a batch whose results are written down. What it does not tell about counts as
        paid where the provider counts more answers than it gave."""
        status, said = status_of(batch), self._why(batch)
        claimed, missing = count_of(batch, "completed"), row["requests"] - answered
        paid = status != "failed" if claimed is None else claimed > answered
        why = f"the batch is {status}, with no word about this question"
        await self._close(row, why, "unknown" if paid else "nothing")
        if status in ("failed", "cancelled"):
            raise PocketError(
                f"batch {batch.id} {status} ({said}) with {answered} of {row['requests']} answers, "
                "which are kept: mend the cause and run the same command, or set batch: false for "
                "that teacher to ask online"
            )
        if missing:
            say(f"batch {batch.id} {status}: {missing} of {row['requests']} without an answer")

    async def _hold(self, row: Row, batch: Batch) -> list[Question]:
        """Too many tokens wait in the account's queue: the questions of a batch that was not let in
        go again when another one has ended, or in smaller ones where there is no other."""
        keys = [intent["key"] for intent in intents_of(row, self.ledger)]
        await self._close(row, "the account's queue is full", "nothing", again=True)
        self.held = bool(self.open())
        if not self.held and len(keys) < 2:
            raise PocketError(
                f"batch {batch.id} failed ({self._why(batch)}): run the same "
                "command later, or set batch: false for that teacher to ask online"
            )
        self.most = self.most if self.held else len(keys) // 2
        then = "when another has ended" if self.held else f"at most {self.most} at a time"
        say(f"batch {batch.id} was not let in, the account's queue is full: again, {then}")
        return [self.questions[key] for key in keys if key in self.questions]

    def _why(self, batch: Batch) -> str:
        return self.client.hide(reasons(batch))[:LONGEST_SAID]

    async def _give_up(self, row: Row, no: Refused) -> None:
        """A batch that the server does not know: PocketError, unless the user has agreed to pay
        again."""
        if not self.agreed:
            raise PocketError(
                f"{self.client.teacher.base_url} does not tell about a batch of {row['at']} "
                f"({no}), which may be paid for: run the same command with the key it was "
                "submitted with; --yes gives it up and asks its questions again"
            )
        await self._close(row, f"given up ({no})", "unknown")

    async def _close(self, row: Row, why: str, billed: str, again: bool = False) -> None:
        """Answer what a batch has left open, and close it: those questions are due again."""
        rows = [failed_row(intent, why, billed) for intent in intents_of(row, self.ledger)]
        await self.ledger.write(*rows, row | {"state": "done", "at": now()})
        self.held = False
        if not again:
            self._saw(rows)

    def _saw(self, rows: Sequence[Row]) -> None:
        self.again.update(row["key"] for row in rows if row["status"] in ("refused", "malformed"))
        self.replies += sum(row["status"] != "failed" for row in rows)
        if self.live:
            for row in rows:
                self.live.called()
                self.live.saw(row)

    def _tick(self, what: str) -> None:
        if self.live:
            self.live.tick(what)
