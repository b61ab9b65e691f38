"""The simulated teacher behind HTTP: chat completions, files, batches, and GET /stats."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from simulated.answers import Question, Said, Settings, read_question, say
from simulated.batches import Batches
from simulated.files import Files
from simulated.limits import Account, Accounts, Gate
from simulated.loopback import Answerer, Reply, Request, error, fetch, reply
from simulated.loopback import serve as serve_process

MODEL = "simulated"

Stats = Callable[[], dict[str, Any]]


@contextmanager
def serve(settings: Settings) -> Iterator[tuple[str, Stats]]:
    """A simulated teacher in a process of its own while the block runs: its base URL, and a
    function that fetches its accounts.

    Accounts: `total` (asked, limited, admitted, errors, sent, lost, prompt_tokens,
    completion_tokens; only what was sent is billed), `pictures` (how many different ones), `rows`
    (the same figures by `picture` (SHA-256 of the data URL), `model` and `batch`), `timeline`
    (`requests` and `tokens` admitted in each second since the first), `busiest` (most calls at a
    time) and `batches` (how many were made)."""
    with serve_process(partial(answerer, settings)) as address:
        yield f"{address}/v1", partial(fetch, f"{address}/stats")


def answerer(settings: Settings) -> Answerer:
    """What the process serves."""
    return Teacher(settings).answer


class Teacher:
    """Everything that one server knows."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.accounts = Accounts()
        self.files = Files()
        self.batches = Batches(settings, self.accounts, self.files)
        self.gates: dict[str, Gate] = {}
        self.slots = asyncio.Semaphore(settings.slots) if settings.slots else None

    async def answer(self, request: Request) -> Reply:
        """One request's reply."""
        path = request.path
        if path == "/v1/chat/completions" and request.method == "POST":
            return await self.chat(request)
        match path.split("/")[1:]:
            case ["v1", "files", *rest]:
                return self.files.answer(request.method, rest, request)
            case ["v1", "batches", *rest]:
                return self.batches.answer(request.method, rest, request)
        if path == "/stats":
            self.batches.settle()
            return reply(self.accounts.report() | {"batches": len(self.batches.batches)})
        if path == "/v1/models":
            return reply({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        return error(404, f"nothing answers at {path}")

    async def chat(self, request: Request) -> Reply:
        """One chat completion."""
        try:
            question, _ = read_question(request.body, look=self.settings.image is not None)
        except (ValueError, KeyError, TypeError, AttributeError) as wrong:
            return error(400, f"no question that can be read: {wrong!r}")
        account = self.accounts.rows[question.picture, question.model, False]
        account.asked += 1
        said = say(self.settings, question, account.admitted)
        headers, refusal = self.admit(question, said)
        if refusal:
            account.limited += 1
            return refusal
        self.accounts.admit(account, sum(said.tokens), time.monotonic())
        try:
            async with self.slots or nullcontext():
                if said.seconds:
                    await asyncio.sleep(said.seconds)
        finally:
            self.accounts.inside -= 1
        return self.conclude(account, said, headers)

    def admit(self, question: Question, said: Said) -> tuple[dict[str, str], Reply | None]:
        """The limits' headers, and the 429 where a limit is reached."""
        settings, now = self.settings, time.monotonic()
        gate = self.gates.get(question.model)
        if gate is None:
            limits = {
                "requests": settings.requests_per_minute,
                "tokens": settings.tokens_per_minute,
            }
            gate = Gate(settings.limit, settings.limit_seconds, limits, now)
            self.gates[question.model] = gate
        amounts = {"requests": 1.0, "tokens": float(sum(said.tokens))}
        wait, which = gate.admit(amounts, now)
        headers = gate.headers(now) if settings.headers == "openai" else {}
        if not which:
            return headers, None
        if settings.retry_after:
            milliseconds = math.ceil(wait * 1000)
            headers |= {"retry-after": str(math.ceil(wait)), "retry-after-ms": str(milliseconds)}
        message = f"Rate limit reached for {question.model} on {which} per min. Try again later."
        refusal = error(429, message, which, "rate_limit_exceeded")
        return headers, Reply(429, refusal.body, headers)

    def conclude(self, account: Account, said: Said, headers: dict[str, str]) -> Reply:
        """The reply to a call that was let in."""
        if said.fate == "error":
            account.errors += 1
            return error(500, "The server had an error while processing your request.")

        def tell(arrived: bool) -> None:
            if arrived:
                self.accounts.bill(account, said.tokens)
            else:
                account.lost += 1

        body = reply(said.completion).body
        return Reply(200, body, headers, cut=said.fate == "cut", tell=tell)
