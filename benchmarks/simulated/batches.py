"""OpenAI's Batch API. A batch has no task of its own: what it has come to is a matter of the time
since it was made, and worked out when somebody asks."""

import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

from simulated.answers import Question, Said, Settings, read_question, say
from simulated.files import Files, page
from simulated.limits import Accounts
from simulated.loopback import Reply, Request, error, reply

ENDPOINT = "/v1/chat/completions"
DAY = 86400

MOST_REQUESTS = 50_000
"""OpenAI's limit of one batch."""

VALIDATED, WORKED = 0.25, 0.75
"""Shares of a batch's time after which it is in progress, and finalizing."""

LEFT = {
    "expired": "This request could not be executed before the completion window expired.",
    "cancelled": "This request was not executed because the batch was cancelled.",
}


class Refused(ValueError):
    """The input file is not what a batch takes."""


@dataclass
class Batch:
    """One batch; `told` is what of OpenAI's batch object changes no more by itself."""

    told: dict[str, Any]
    lines: list[tuple[str, Question]]
    """custom_id and question of each request."""
    begun: float = field(default_factory=time.monotonic)
    cancelled_after: int | None = None
    """How many requests had been answered when it was cancelled."""
    ended: bool = False


class Batches:
    """All batches of a server."""

    def __init__(self, settings: Settings, accounts: Accounts, files: Files) -> None:
        self.settings, self.accounts, self.files = settings, accounts, files
        self.batches: dict[str, Batch] = {}

    def answer(self, method: str, rest: list[str], request: Request) -> Reply:
        """One request's reply; `rest` is the path below /v1/batches."""
        self.settle()
        match method, rest:
            case "POST", []:
                return self.create(json.loads(request.body))
            case "GET", []:
                told = [self.describe(batch) for batch in self.batches.values()]
                return reply(page(told, request.query))
            case _, [id, *_] if id not in self.batches:
                return error(404, f"No batch found with id '{id}'.")
            case "GET", [id]:
                return reply(self.describe(self.batches[id]))
            case "POST", [id, "cancel"]:
                return self.cancel(self.batches[id])
        return error(404, f"nothing answers at {request.path}")

    def create(self, asked: dict[str, Any]) -> Reply:
        """A new batch."""
        file = self.files.files.get(asked.get("input_file_id", ""))
        if file is None or file.purpose != "batch" or asked.get("endpoint") != ENDPOINT:
            return error(400, "no such input file of purpose batch, or another endpoint")
        now = int(time.time())
        told = {
            "id": f"batch_{len(self.batches) + 1:06}",
            "object": "batch",
            "endpoint": ENDPOINT,
            "input_file_id": file.id,
            "completion_window": asked.get("completion_window", "24h"),
            "created_at": now,
            "expires_at": now + DAY,
            "metadata": asked.get("metadata"),
        }
        try:
            batch = Batch(told, read_lines(file.content, self.settings.image is not None))
        except Refused as wrong:
            batch = Batch(told, [])
            fail(batch, str(wrong))
        self.batches[told["id"]] = batch
        made = reply(self.describe(batch))
        lost = self.settings.lose_first_batch and len(self.batches) == 1
        return Reply(200, made.body, cut=lost)

    def cancel(self, batch: Batch) -> Reply:
        """Stop a batch: what has been answered by now is kept and billed."""
        if batch.ended:
            return error(409, f"Cannot cancel a batch with status '{batch.told['status']}'.")
        batch.cancelled_after = self.answered(batch)
        return reply(self.describe(batch))

    def settle(self) -> None:
        """End the batches that were cancelled, or whose time is over."""
        for batch in self.batches.values():
            if batch.ended:
                continue
            if batch.cancelled_after is not None:
                self.finish(batch, "cancelled", batch.cancelled_after)
            elif self.share(batch) >= 1:
                self.end(batch)

    def end(self, batch: Batch) -> None:
        """The end that the settings want."""
        match self.settings.batch_end:
            case "failed":
                fail(batch, "this batch was told to fail")
            case "expired":
                self.finish(batch, "expired", (len(batch.lines) + 1) // 2)
            case "completed":
                self.finish(batch, "completed", len(batch.lines))

    def share(self, batch: Batch) -> float:
        """How much of a batch's time is over."""
        return (time.monotonic() - batch.begun) / max(self.settings.batch_seconds, 1e-9)

    def answered(self, batch: Batch) -> int:
        """How many of its requests have been answered while it is at work."""
        within = (self.share(batch) - VALIDATED) / (WORKED - VALIDATED)
        return int(len(batch.lines) * min(1.0, max(0.0, within)))

    def describe(self, batch: Batch) -> dict[str, Any]:
        """OpenAI's batch object as of now."""
        if batch.ended:
            return batch.told
        share = self.share(batch)
        status = "in_progress" if share < WORKED else "finalizing"
        if share < VALIDATED:
            status = "validating"
        if batch.cancelled_after is not None:
            status = "cancelling"
        counts = {"total": len(batch.lines), "completed": self.answered(batch), "failed": 0}
        return batch.told | {"status": status, "request_counts": counts}

    def finish(self, batch: Batch, status: str, count: int) -> None:
        """Answer the first `count` requests, bill them, and write both files, shuffled."""
        good: list[dict[str, Any]] = []
        bad: list[dict[str, Any]] = []
        for custom_id, question in batch.lines[:count]:
            said = self.ask(question)
            failed = said.fate in ("error", "cut")
            (bad if failed else good).append(answered(custom_id, said, failed))
        for custom_id, _ in batch.lines[count:]:
            why = {"code": f"batch_{status}", "message": LEFT[status]}
            bad.append(line(custom_id, None, why))
        total = len(batch.lines)
        counts = {"total": total, "completed": len(good), "failed": total - len(good)}
        batch.told |= {"status": status, f"{status}_at": int(time.time()), "request_counts": counts}
        for kind, rows in (("output", good), ("error", bad)):
            if rows:
                random.Random(batch.told["id"]).shuffle(rows)
                content = "".join(json.dumps(row) + "\n" for row in rows).encode()
                file = self.files.keep(f"{kind}.jsonl", "batch_output", content)
                batch.told[f"{kind}_file_id"] = file.id
        batch.ended = True

    def ask(self, question: Question) -> Said:
        """Answer one request and count it."""
        account = self.accounts.rows[question.picture, question.model, True]
        said = say(self.settings, question, account.asked)
        account.asked += 1
        account.admitted += 1
        if said.fate in ("error", "cut"):
            account.errors += 1
        else:
            self.accounts.bill(account, said.tokens)
        return said


def fail(batch: Batch, why: str) -> None:
    """The whole batch is refused: nothing is answered or billed."""
    problem = {"code": "invalid_request", "message": why, "line": None, "param": None}
    batch.told |= {
        "status": "failed",
        "failed_at": int(time.time()),
        "errors": {"object": "list", "data": [problem]},
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
    }
    batch.ended = True


def read_lines(content: bytes, look: bool) -> list[tuple[str, Question]]:
    """The requests of an input file; Refused when a line is none, or named as another is."""
    lines: dict[str, Question] = {}
    for number, raw in enumerate(content.splitlines(), 1):
        try:
            question, request = read_question(raw, look)
            custom_id = str(request["custom_id"])
        except (ValueError, KeyError, TypeError, AttributeError) as wrong:
            raise Refused(f"line {number} is no request: {wrong!r}") from None
        if request.get("method") != "POST" or request.get("url") != ENDPOINT:
            raise Refused(f"line {number} does not go to {ENDPOINT}")
        if custom_id in lines:
            raise Refused(f"line {number}: the custom_id {custom_id} occurs twice")
        lines[custom_id] = question
    if not 0 < len(lines) <= MOST_REQUESTS:
        raise Refused(f"{len(lines)} requests: a batch takes 1 to {MOST_REQUESTS}")
    return list(lines.items())


def answered(custom_id: str, said: Said, failed: bool) -> dict[str, Any]:
    """A line about a request that was executed."""
    trouble = {"message": "The server had an error.", "type": "server_error", "code": None}
    body = {"error": trouble} if failed else said.completion
    response = {"status_code": 500 if failed else 200, "request_id": custom_id, "body": body}
    return line(custom_id, response, None)


def line(
    custom_id: str, response: dict[str, Any] | None, wrong: dict[str, str] | None
) -> dict[str, Any]:
    """A line of an output or error file."""
    made = {"id": f"batch_req_{custom_id}", "custom_id": custom_id}
    return made | {"response": response, "error": wrong}
