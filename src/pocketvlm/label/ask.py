"""One teacher asked about all its questions: paced, within the budget, written down before and
after, tried again where that helps."""

import asyncio
import math
import time
from collections.abc import Container, Sequence
from contextlib import suppress

from pocketvlm.label.books import Books
from pocketvlm.label.calls import Outcome, failed
from pocketvlm.label.client import Client
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.live import Live
from pocketvlm.label.money import Budget, Tariff
from pocketvlm.label.pace import Call, Pace
from pocketvlm.label.plan import Question
from pocketvlm.label.queue import Encoder, Job, Queue, Unread
from pocketvlm.label.signals import on_signals
from pocketvlm.label.streak import Streak
from pocketvlm.label.tries import next_try
from pocketvlm.limits import retry_after
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.workspace import Row

TICK = 0.5
"""Seconds between two looks at the progress, at most."""

WAITING = 8
"""Questions that may wait for another try while others are begun; the calls in flight if that is
more."""

UNSENT = Outcome(failed("not sent", "asking stopped first"), "answered", "nothing")


class Asker:
    """Asks one teacher. Every way a call can end leaves an answer row."""

    def __init__(
        self,
        project: Project,
        client: Client,
        tariff: Tariff,
        ledger: Ledger,
        budget: Budget,
        prompt: str,
        asked: Container[str] = (),
    ) -> None:
        """`asked`: keys of questions that a batch has asked, without a usable answer: these are
        asked only once more."""
        teacher = client.teacher
        self.client = client
        self.books = Books(ledger, budget, tariff, prompt)
        self.encode = Encoder(project.workspace.originals, tariff, ledger, asked)
        self.pace = Pace(
            most=teacher.concurrency,
            requests_per_minute=teacher.requests_per_minute,
            tokens_per_minute=teacher.tokens_per_minute,
        )
        self.streak = Streak(teacher, time.monotonic())
        self.tasks: set[asyncio.Task[None]] = set()
        self.wake = asyncio.Event()
        self.stop: BaseException | None = None
        self.queue: Queue
        self.live: Live

    async def run(self, questions: Sequence[Question]) -> None:
        """Ask all questions; PocketError when it makes no sense to go on.

        However it ends, calls in flight are waited for: they are paid."""
        self.queue = Queue(questions, self.encode)
        name, budget = self.client.teacher.model, self.books.budget

        def terminate(name: str) -> None:
            self._interrupt(KeyboardInterrupt(f"stopped by {name}"), name)

        with Live(name, len(questions), self.pace, budget) as self.live, on_signals(terminate):
            try:
                await self._dispatch()
            except asyncio.CancelledError as interrupt:
                self._interrupt(interrupt, "Ctrl-C")
            finally:
                self.queue.close()
                await self._finish()
        if self.stop:
            raise self.stop

    async def _dispatch(self) -> None:
        while self.stop is None:
            match await self._next():
                case Job() as job:
                    await self._start(job)
                case Unread() as unread:
                    self.live.saw(await self.books.unread(unread))
                case None if self.tasks or self.queue:
                    pause = self.queue.pause
                    await self._wait(TICK if pause is None else pause)
                case None:
                    return

    async def _next(self) -> Job | Unread | None:
        """What comes next; None while there is nothing. Nothing is asked anew while many questions
        wait for another try: what a server in trouble has not answered does not pile up."""
        job = self.queue.due()
        if job or len(self.queue) >= max(WAITING, self.pace.window):
            return job
        return await self.queue.fresh()

    async def _start(self, job: Job) -> None:
        """Begin a call as soon as pace and budget allow it; nothing happens once asking stops."""
        while self.stop is None:
            wait = self.pace.wait(time.monotonic(), job.tokens)
            if self.books.budget.cap and not self.client.answered and self.tasks:
                wait = math.inf  # the first answer shows whether this server keeps to its limits
            if not self.books.allows(job):
                if not self.tasks:
                    left = self.live.total - self.live.done
                    self.stop = self.books.budget.reached(job.worst, left)
                    return
                wait = math.inf  # an answer that comes back frees what it had reserved
            if wait <= 0:
                break
            await self._wait(wait)
        else:
            return
        self.books.claim(job)
        task = asyncio.create_task(self._ask(job, self.pace.start(time.monotonic(), job.tokens)))
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    async def _wait(self, seconds: float) -> None:
        """Until a call ends, a pause is over, or the progress is due."""
        self.wake.clear()
        try:
            async with asyncio.timeout(min(max(seconds, 0.0), TICK)):
                await self.wake.wait()
        except TimeoutError:
            pass
        self.live.tick()

    async def _finish(self) -> None:
        while self.tasks:
            await asyncio.wait(self.tasks, timeout=TICK)
            with suppress(BrokenPipeError):  # a script that has stopped listening
                self.live.tick("stopping; ")
        await self.books.ledger.settle()

    def _interrupt(self, reason: BaseException, signal_name: str) -> None:
        """Start nothing new: the first signal was given, and the second ends it at once."""
        self.stop = self.stop or reason
        self.wake.set()
        if self.tasks:
            waiting = f"waiting for {len(self.tasks)} answers that are paid"
            say(f"stopping: {waiting}; {signal_name} again stops at once")

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.wake.set()
        if not task.cancelled() and (error := task.exception()):
            self.stop = self.stop or error

    async def _ask(self, job: Job, call: Call) -> None:
        """One call between its two rows."""
        name = await self.books.begin(job)
        if await self._may_go():
            outcome = await self.client.ask(job.image)
            self._learn(call, outcome)
            row = await self.books.end(job, name, outcome)
            self.live.called()
            self._conclude(job, row, outcome)
        else:
            self.pace.ended(call, time.monotonic())
            await self.books.end(job, name, UNSENT)

    async def _may_go(self) -> bool:
        """Whether the call may be sent: a pause or a stop may have come while its intent was
        written down."""
        while self.stop is None:
            rest = self.pace.paused_until - time.monotonic()
            if rest <= 0:
                return True
            await asyncio.sleep(min(rest, TICK))
        return False

    def _learn(self, call: Call, outcome: Outcome) -> None:
        """Tell the pace what became of a call. A pause that the server asks for is everyone's."""
        now = time.monotonic()
        match outcome.kind:
            case "limited":
                self.pace.limited(call, now, outcome.headers)
            case "troubled":
                self.pace.troubled(call, now)
                pause = retry_after(outcome.headers) or 0.0
                self.pace.paused_until = max(self.pace.paused_until, now + pause)
            case "answered":
                self.pace.answered(call, now, outcome.headers, outcome.tokens)

    def _conclude(self, job: Job, row: Row, outcome: Outcome) -> None:
        """Once more, later, or done with it; PocketError when asking makes no sense any more."""
        now = time.monotonic()
        if outcome.kind == "answered":
            self.streak.answered(now)
        retries = self.client.teacher.retries
        again = next_try(job, row, outcome, retries, self.streak.answers)
        if again:
            self.queue.put(*again)
        else:
            self.live.saw(row)
        if outcome.fatal:
            raise outcome.fatal
        self.streak.paused(now, self.pace.paused_until)
        if not again:
            expected = job.before and outcome.kind == "answered"
            self.streak.see(row, self.pace.in_flight, expected)
