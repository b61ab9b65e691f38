"""Each call stands between two rows of the ledger: what it may cost, and what came of it."""

from uuid import uuid4

from pocketvlm.label.calls import Outcome, failed
from pocketvlm.label.ledger import Ledger, now
from pocketvlm.label.money import Budget, Tariff
from pocketvlm.label.plan import Question
from pocketvlm.label.queue import Job, Unread
from pocketvlm.workspace import Row


class Books:
    """One teacher's calls, as they are written down."""

    def __init__(self, ledger: Ledger, budget: Budget, tariff: Tariff, prompt: str) -> None:
        self.ledger, self.budget, self.tariff, self.prompt = ledger, budget, tariff, prompt

    def allows(self, job: Job) -> bool:
        """Whether a call stays within the budget."""
        return self.budget.allows(job.worst)

    def claim(self, job: Job) -> None:
        """Reserve what a call may cost until its intent is in the ledger."""
        self.budget.claimed += job.worst

    async def begin(self, job: Job) -> str:
        """Write the intent of a claimed call; its name."""
        call = uuid4().hex[:16]
        intent = {"call": call, "prompt": self.prompt, "at": now(), "reserved_usd": job.worst}
        try:
            await self.ledger.write(self._row("intent", job.question) | intent)
        finally:
            self.budget.claimed -= job.worst
        return call

    async def end(self, job: Job, call: str, outcome: Outcome) -> Row:
        """Write the answer row of a call; what it holds."""
        row = self._row("answer", job.question) | {"call": call} | outcome.row
        row |= {"usd": self._usd(job, outcome), "billed": outcome.billed, "at": now()}
        await self.ledger.write(row)
        return row

    async def unread(self, unread: Unread) -> Row:
        """Write that a picture cannot be read; what the row holds."""
        row = self._row("answer", unread.question) | failed("picture", unread.error)
        row |= {"at": now()}
        await self.ledger.write(row)
        return row

    def _row(self, kind: str, question: Question) -> Row:
        model, sha256 = self.tariff.teacher.model, question.picture["sha256"]
        return {"kind": kind, "key": question.key, "picture": sha256, "model": model}

    def _usd(self, job: Job, outcome: Outcome) -> float:
        """What the call cost; the worst where nobody says, so that the cap holds."""
        match outcome.billed:
            case "nothing":
                return 0.0
            case "usage":
                return self.tariff.paid(outcome.row, job.worst)
        return job.worst
