"""What is to be asked: questions in order, encoded a little ahead, and those to be asked again."""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from pocketvlm.errors import PocketError
from pocketvlm.label.client import encode_picture
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.money import Tariff
from pocketvlm.label.plan import Question

AHEAD = 4
"""Pictures encoded before their turn, so that encoding never holds up the pace."""


@dataclass(frozen=True)
class Job:
    """A question on its way."""

    question: Question
    image: str
    """Data URL."""
    worst: float
    """USD that a call may cost at most."""
    tokens: int
    """In and out, probably."""
    failures: int = 0
    """Calls that found no answer and count against the teacher's retries."""
    answers: int = -1
    """How many calls had been answered, of whatever question, when this one last was not."""
    again: bool = False
    """Whether it has been asked once more after a refusal or an answer that cannot be read."""
    before: bool = False
    """Whether an earlier run or a batch has asked, without a usable answer."""


@dataclass(frozen=True)
class Unread:
    """A question whose picture cannot be read."""

    question: Question
    error: str


Encode = Callable[[Question], Job | Unread]


class Encoder:
    """Makes a question ready to be asked."""

    def __init__(
        self, originals: Path, tariff: Tariff, ledger: Ledger, asked: Container[str]
    ) -> None:
        """`asked`: keys of questions that have had their first try elsewhere."""
        self.originals, self.tariff, self.ledger, self.asked = originals, tariff, ledger, asked

    def __call__(self, question: Question) -> Job | Unread:
        """Read the picture and price the call."""
        path = self.originals / question.picture["file"]
        try:
            image, size = encode_picture(path, self.tariff.teacher.max_side)
        except PocketError as error:
            return Unread(question, str(error))
        return Job(
            question,
            image,
            worst=self.tariff.worst(size),
            tokens=sum(self.tariff.tokens(size)),
            again=question.key in self.asked,
            before=self.ledger.status(question.key) is not None,
        )


class Queue:
    """Its length is the number of questions that wait to be asked again."""

    def __init__(self, questions: Iterable[Question], encode: Encode) -> None:
        self._fresh, self._encode = iter(questions), encode
        self._ahead: deque[asyncio.Task[Job | Unread]] = deque()
        self._again: list[tuple[float, int, Job]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._again)

    def put(self, job: Job, pause: float) -> None:
        """Ask again in so many seconds; who came first goes first."""
        heapq.heappush(self._again, (time.monotonic() + pause, next(self._order), job))

    @property
    def pause(self) -> float | None:
        """Seconds until the first of those is due; None when there are none."""
        return self._again[0][0] - time.monotonic() if self._again else None

    def due(self) -> Job | None:
        """A question whose pause is over."""
        pause = self.pause
        return heapq.heappop(self._again)[2] if pause is not None and pause <= 0 else None

    async def fresh(self) -> Job | Unread | None:
        """The next question that has not been asked; None after the last."""
        for question in islice(self._fresh, AHEAD - len(self._ahead)):
            work = asyncio.to_thread(self._encode, question)
            self._ahead.append(asyncio.create_task(work))
        return await self._ahead.popleft() if self._ahead else None

    def close(self) -> None:
        """Encode no more."""
        for task in self._ahead:
            task.cancel()
