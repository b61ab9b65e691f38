"""The rule teacher with accounts: how often it was asked about each picture, and how often the
whole reply was handed over. In a process of its own: nothing that is killed takes it along."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from pocketvlm.demo.teacher import MODEL, answer, completion, find_picture
from simulated.answers import read_question
from simulated.loopback import Answerer, Reply, Request, error, fetch, reply
from simulated.loopback import serve as serve_process

Accounts = dict[str, dict[str, int]]
"""`asked` and `sent`: how often, by the SHA-256 of a picture's data URL."""


class Teacher:
    """Judges pictures and keeps the accounts. What was handed over whole counts as paid."""

    def __init__(self) -> None:
        self.asked, self.sent = Counter[str](), Counter[str]()

    async def answer(self, request: Request) -> Reply:
        """One request's reply."""
        match request.method, request.path:
            case "POST", "/v1/chat/completions":
                return await self.judge(request)
            case "GET", "/v1/models":
                return reply({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
            case "GET", "/accounts":
                return reply({"asked": self.asked, "sent": self.sent})
        return error(404, f"nothing answers at {request.path}")

    async def judge(self, request: Request) -> Reply:
        """What the rules say, in a thread: others may ask meanwhile."""
        question, _ = read_question(request.body)
        self.asked[question.picture] += 1
        asked = json.loads(request.body)
        said = await asyncio.to_thread(lambda: answer(find_picture(asked)))
        whole = completion(asked, json.dumps(said))

        def tell(handed_over: bool) -> None:
            self.sent[question.picture] += handed_over

        return Reply(200, json.dumps(whole).encode(), tell=tell)


def answerer() -> Answerer:
    """What the process serves."""
    return Teacher().answer


@contextmanager
def serve() -> Iterator[tuple[str, Callable[[], Accounts]]]:
    """Serve while the block runs: the base URL, and a function that fetches the accounts."""
    with serve_process(answerer) as address:
        yield f"{address}/v1", partial(fetch, f"{address}/accounts")
