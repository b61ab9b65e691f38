"""A provider's Files and Batch API, with patience: what costs nothing is tried again while server
or connection are in trouble, and what may cost twice is looked for before it is tried again."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import openai
from openai.pagination import AsyncCursorPage
from openai.types import Batch, FileObject

from pocketvlm.errors import PocketError
from pocketvlm.label.batchfile import ENDPOINT, fields
from pocketvlm.label.calls import read_status
from pocketvlm.label.client import LONGEST_SAID, Client
from pocketvlm.limits import retry_after
from pocketvlm.progress import say

T = TypeVar("T")

MARK = "pocketvlm"
"""Key of the metadata that names the submission."""

TRANSFER = 3600.0
"""Seconds that fetching a batch's results may take."""

SLOWEST = 50_000
"""Bytes a second at which a batch's file is sent at least."""

PATIENCE = 600.0
"""Seconds without a usable reply before it is given up for this run."""

FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
"""Seconds between two tries: doubled each time."""

LONGEST_PAUSE = 3600.0
"""Seconds: a server that asks to wait longer means a daily limit, and somebody should know."""

SETTLE = 30.0
"""Seconds after which a list of batches shows every one that was made."""

LOOK_AGAIN = 5.0
"""Seconds between two looks into that list."""

NOTICE = 3
"""Tries in a row that fail before people are told."""

NOT_IMPLEMENTED = 501

FULL = "token_limit_exceeded"
"""Code of a batch that failed because too many tokens of the account wait to be worked on."""


class Refused(PocketError):
    """The server said no, and would say so again."""


class Unreadable(Exception):
    """A reply that is not what was asked for: proxies send HTML with status 200."""


TROUBLE = (
    openai.APIConnectionError,
    openai.APIStatusError,
    httpx2.HTTPError,  # a file that breaks off on its way
    json.JSONDecodeError,
    TimeoutError,
    Unreadable,
)


class Provider:
    """One teacher's Files and Batch API."""

    def __init__(self, client: Client) -> None:
        self.client, self.api = client, client.client
        self.url = client.teacher.base_url

    async def upload(self, path: Path) -> str:
        """Send a batch's file; its id. Refused by a server without a Batch API."""
        seconds = self.client.teacher.timeout
        whole = seconds + path.stat().st_size / SLOWEST
        slow = self.api.with_options(timeout=httpx2.Timeout(whole, connect=seconds))

        async def once() -> str:
            with path.open("rb") as data:
                return sound(await slow.files.create(file=data, purpose="batch"), FileObject).id

        try:
            return await self._patiently(once, strict=True)
        except Refused as no:
            raise self._no_batch(no) from None

    async def create(self, file: str, mark: str) -> str:
        """Start the batch of a file; its id. Where the reply is lost the batch is looked for, so
        that there is never a second one."""

        async def once() -> str:
            try:
                batch = await self.api.batches.create(
                    input_file_id=file,
                    endpoint=ENDPOINT,
                    completion_window="24h",
                    metadata={MARK: mark},
                )
                return sound(batch, Batch).id
            except TROUBLE as error:
                if self._no(error) or never_arrived(error):
                    raise
                found = await self._find_made(file, mark)
                if found is None:
                    raise
                return found

        try:
            return await self._patiently(once)
        except Refused as no:
            raise self._no_batch(no) from None

    async def _find_made(self, file: str, mark: str) -> str | None:
        """As `find`; where the server shows no list, nobody knows, and that is no refusal."""
        try:
            return await self.find(file, mark)
        except Refused as no:
            raise self._given_up(no) from None

    async def find(self, file: str, mark: str, age: float = 0.0) -> str | None:
        """The id of the batch of a submission that was sent `age` seconds ago; None when none was
        made, which shows only after some time."""
        until = time.monotonic() + min(SETTLE, SETTLE - age)
        while True:
            found = await self._patiently(lambda: self._listed(file, mark))
            left = until - time.monotonic()
            if found or left <= 0:
                return found
            await asyncio.sleep(min(left, LOOK_AGAIN))

    async def look(self, batch: str) -> Batch:
        """How a batch stands. Refused when the server does not know it."""

        async def once() -> Batch:
            return sound(await self.api.batches.retrieve(batch), Batch)

        return await self._patiently(once)

    async def download(self, file: str, path: Path) -> None:
        """Fetch a file. Refused when the server does not have it."""

        async def once() -> None:
            async with (
                asyncio.timeout(TRANSFER),
                self.api.files.with_streaming_response.content(file) as response,
            ):
                await response.stream_to_file(path)

        await self._patiently(once)

    async def _listed(self, file: str, mark: str) -> str | None:
        """Look through the account's batches, page by page."""
        seen: set[str] = set()
        after: Any = openai.omit
        while True:
            page = await self.api.batches.list(limit=100, after=after)
            if not isinstance(page, AsyncCursorPage):
                raise Unreadable("no list of batches")
            batches = [sound(batch, Batch) for batch in page.data or []]
            new = [batch for batch in batches if batch.id not in seen]
            for batch in new:
                if batch.input_file_id == file or fields(batch.metadata).get(MARK) == mark:
                    return batch.id
            if not new or not page.has_next_page():  # some servers give the same page for ever
                return None
            seen.update(batch.id for batch in new)
            after = new[-1].id

    async def _patiently(self, step: Callable[[], Awaitable[T]], strict: bool = False) -> T:
        """Do a step, again while that may help; Refused or another PocketError when it does not.
        With `strict` a reply of another kind is a no."""
        until, failures = time.monotonic() + PATIENCE, 0
        while True:
            try:
                return await step()
            except TROUBLE as error:
                if no := self._no(error, strict):
                    raise no from None
                trouble: Exception = error
            pause = FIRST_PAUSE * 2.0**failures * random.uniform(0.75, 1.25)
            told = told_pause(trouble)
            pause, until = max(min(pause, LAST_PAUSE), told), until + told
            if told > LONGEST_PAUSE or time.monotonic() + pause > until:
                raise self._given_up(trouble)
            failures += 1
            if failures == NOTICE:
                say(f"{self.url}: {self._words(trouble)}; it is tried again")
            await asyncio.sleep(pause)

    def _no(self, error: Exception, strict: bool = False) -> PocketError | None:
        """What an error means that another try would meet too; None for any other."""
        if isinstance(error, openai.APIStatusError):
            outcome = read_status(error, self.client.said(error), self.client.teacher, True)
            if outcome.fatal:
                return outcome.fatal
            lasting = outcome.kind == "answered" or error.status_code == NOT_IMPLEMENTED
        else:
            lasting = strict and isinstance(error, Unreadable)
        return Refused(self._words(error)) if lasting else None

    def _no_batch(self, no: Refused) -> Refused:
        return Refused(f"{self.url} takes no batch ({no}): set batch: false for that teacher")

    def _given_up(self, trouble: Exception) -> PocketError:
        return PocketError(
            f"{self.url} gives no usable reply ({self._words(trouble)}): run the same command "
            "later; batches under way go on meanwhile, and are looked for first"
        )

    def _words(self, error: Exception) -> str:
        """An error in one short line for people, without the key."""
        if isinstance(error, openai.APIStatusError):
            return self.client.said(error)
        cause = error.__cause__ if isinstance(error, openai.APIConnectionError) else None
        said = str(cause or error) or type(cause or error).__name__
        return self.client.hide(" ".join(said.split()))[:LONGEST_SAID]


def sound(reply: object, kind: type[T]) -> T:
    """A reply, if it is what was asked for."""
    if not isinstance(reply, kind) or not isinstance(getattr(reply, "id", None), str):
        raise Unreadable("the reply is of another kind")
    return reply


def never_arrived(error: Exception) -> bool:
    """Whether the server has certainly done nothing."""
    no_way = isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
    return no_way or isinstance(error, openai.RateLimitError)


def told_pause(error: Exception) -> float:
    """Seconds that a limit asks to wait; 0 where nothing is asked."""
    if not isinstance(error, openai.RateLimitError):
        return 0.0
    return retry_after(error.response.headers) or 0.0


def status_of(batch: Batch) -> str:
    """A batch's status; some providers write it in capitals."""
    return str(batch.status).lower()


def count_of(batch: Batch, name: str) -> int | None:
    """How many requests are completed, failed or there in total; None where it is not told."""
    value = getattr(batch.request_counts, name, None)
    return value if isinstance(value, int) else None


def problems(batch: Batch) -> list[Any]:
    """What was wrong with the batch as a whole."""
    found = getattr(batch.errors, "data", None)
    return found if isinstance(found, list) else []


def reasons(batch: Batch) -> str:
    """Why a batch failed, in the provider's words."""
    said = [str(getattr(one, "message", None) or one) for one in problems(batch)]
    return "; ".join(dict.fromkeys(said)) or "no reason given"


def queue_is_full(batch: Batch) -> bool:
    """Whether a batch failed because too many tokens of the account wait to be worked on."""
    codes = {getattr(one, "code", None) for one in problems(batch)}
    return status_of(batch) == "failed" and FULL in codes


def standing(batches: Sequence[Batch]) -> str:
    """How open batches stand, for people."""
    done = sum((count_of(one, name) or 0) for one in batches for name in ("completed", "failed"))
    total = sum(count_of(one, "total") or 0 for one in batches)
    name = f"batch {status_of(batches[0])}" if len(batches) == 1 else f"{len(batches)} batches"
    return f"{name}, {done} of {total} done"
