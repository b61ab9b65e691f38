"""Unsplash's API: requests at its pace, and a journal of those that were made.

What requests, replies and the limit look like: https://unsplash.com/documentation#search-photos,
https://unsplash.com/documentation#track-a-photo-download and
https://unsplash.com/documentation#rate-limiting. A limit that is used up is a 403 with the text
"Rate Limit Exceeded" (https://github.com/varietywalls/variety/issues/457); Unsplash's developers
name 429 too (https://github.com/unsplash/unsplash-js/issues/199)."""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import httpx
from pydantic import AliasPath, BaseModel, ConfigDict, Field, ValidationError

from pocketvlm import __version__
from pocketvlm.collect.candidate import Skipped
from pocketvlm.collect.download import place, set_location_aside
from pocketvlm.collect.hourly import Pace
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.journal import duration
from pocketvlm.keys import LOOPBACK, hide
from pocketvlm.progress import console, say
from pocketvlm.workspace import Row, append_row

T = TypeVar("T")

PAGE = 30
"""Photographs of a search page, the most that the API gives."""

MOST_PAGES = 1000
"""Pages of a search that are asked for."""

COST = 1 + 1 / PAGE
"""Requests that a photograph takes: its report, and its share of a search."""

TIMEOUT, LONGEST = 30.0, 120.0
"""Seconds without a byte, and of a whole call."""

LARGEST = 8 << 20
"""Bytes of a reply; a search page has about 100,000."""

PAUSES = (1.0, 4.0, 15.0)
"""Seconds before each further try; after the last one the rest is left for another run."""

NOTICE = 2.0
"""Seconds of a wait that is worth showing."""

PATIENCE = 40
"""Refusals in a row: three hours without a request that is allowed."""

BUSY = (408, 425)
"""Statuses, besides 5xx, that may be others soon."""


class Photo(BaseModel):
    """What is needed of a photograph, from the API's nested object or from the journal's flat one.
    Nothing of it is to be trusted."""

    model_config = ConfigDict(
        frozen=True, strict=True, validate_by_name=True, validate_by_alias=True
    )

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    author: str | None = Field(None, max_length=500, validation_alias=AliasPath("user", "name"))
    page: str = Field(max_length=2000, validation_alias=AliasPath("links", "html"))
    report: str = Field(max_length=2000, validation_alias=AliasPath("links", "download_location"))
    raw: str = Field(max_length=2000, validation_alias=AliasPath("urls", "raw"))
    premium: bool | None = None
    plus: bool | None = None


class Page(NamedTuple):
    """One page of a search."""

    found: list[Photo | Skipped]
    pages: int
    """How many the search has; none, when this one is empty."""


class Answer(NamedTuple):
    """One HTTP reply, its text without the key."""

    status: int
    text: str
    at: float
    """When it was there, seconds since 1970."""
    limit: int | None
    remaining: int | None
    """Requests an hour, and what is left of them; None where the server does not say."""

    @property
    def used_up(self) -> bool:
        """Whether it was refused because none is left."""
        said = self.remaining == 0 or "rate limit" in self.text[:1000].lower()
        return self.status == 429 or (self.status == 403 and said)

    def stamp(self) -> Row:
        """Its line in the journal, without what it was about."""
        return {"at": round(self.at, 3), "limit": self.limit, "remaining": self.remaining}


class Unreadable(Exception):
    """A reply that is not what was asked for."""


class Api:
    """The API with its key, its pace and its journal. Context manager. `wanted` photographs are
    what the outlook on the terminal is reckoned from; `done` counts them.

    ConfigError when the key is refused, PocketError when there is no usable reply."""

    def __init__(self, base_url: str, key: str, journal: Path, window: float, wanted: int) -> None:
        self.base, self.key, self.journal = httpx.URL(base_url.rstrip("/")), key, journal
        self.wanted, self.done = wanted, 0
        self.pace = Pace(window)
        self.pages: dict[tuple[str, int], Page] = {}
        """By query and number."""
        self.reported: dict[str, str | None] = {}
        """Photographs of which the API was told, with why it refused."""
        for row in read_journal(journal):
            with suppress(KeyError, TypeError, ValueError):  # a line that is none of ours
                self._remember(row)
        try:
            self._client = httpx.Client(
                timeout=TIMEOUT,
                trust_env=self.base.host not in LOOPBACK,
                headers={
                    "Authorization": f"Client-ID {key}",
                    "Accept-Version": "v1",
                    "Accept-Encoding": "identity",
                    "User-Agent": f"PocketVLM/{__version__}",
                },
                event_hooks={"response": [set_location_aside]},
            )
        except (ValueError, ImportError, OSError) as error:
            raise ConfigError(
                f"no connection to {base_url} can be set up ({error}): check ALL_PROXY, "
                "HTTPS_PROXY, HTTP_PROXY and SSL_CERT_FILE of the environment"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def photos(self, query: str) -> Iterator[Photo | Skipped]:
        """What a search finds, best first, page by page as they are needed. It ends with a page of
        which all came before, and after MOST_PAGES: a server's number of pages may be wrong."""
        number = pages = 1
        known: set[str] = set()
        while number <= min(pages, MOST_PAGES):
            page = self.pages.get((query, number)) or self._search(query, number)
            names = {one.id if isinstance(one, Photo) else one.origin for one in page.found}
            if names and names <= known:  # none: all were unusable, and the journal leaves them out
                return
            known |= names
            yield from page.found
            number, pages = number + 1, page.pages

    def report(self, photo: Photo) -> str | None:
        """Tell the API, once, that a photograph is downloaded; why it refuses, if it does."""
        if photo.id not in self.reported:
            answer, _ = self._ask(httpx.URL(photo.report), lambda _: None)
            refused = None if answer.status < 300 else f"its report is refused ({said(answer)})"
            self._record({"kind": "report", "id": photo.id, "refused": refused} | answer.stamp())
        return self.reported[photo.id]

    def owns(self, address: str) -> bool:
        """Whether an address is the API's, so that it may be sent the key."""
        url, base = place(address), self.base
        return url is not None and (url.scheme, url.netloc) == (base.scheme, base.netloc)

    def _search(self, query: str, number: int) -> Page:
        asked = {
            "query": query,
            "page": str(number),
            "per_page": str(PAGE),
            "content_filter": "high",
        }
        url = self.base.copy_with(path=f"{self.base.path.rstrip('/')}/search/photos", params=asked)
        answer, page = self._ask(url, read_page)
        if page is None:
            raise PocketError(
                f"{self.base} refuses the search for {query!r} ({said(answer)}): check "
                "collect.unsplash.queries and base_url"
            )
        photos = [one.model_dump(exclude_none=True) for one in page.found if isinstance(one, Photo)]
        about = {"kind": "page", "query": query, "page": number, "pages": page.pages}
        self._record(about | answer.stamp() | {"photos": photos})
        return page

    def _record(self, row: Row) -> None:
        """On the disk before anything goes on."""
        append_row(self.journal, row)
        self._remember(row)

    def _remember(self, row: Row) -> None:
        """Take a row of the journal in; KeyError, TypeError or ValueError for what is none."""
        at, limit, remaining = float(row["at"]), row["limit"], row["remaining"]
        whole = all(isinstance(one, int | None) for one in (limit, remaining))
        if not whole or not math.isfinite(at):
            raise ValueError("no time or no limit")
        match row["kind"]:
            case "page":
                found: list[Photo | Skipped] = [Photo.model_validate(one) for one in row["photos"]]
                self.pages[str(row["query"]), int(row["page"])] = Page(found, int(row["pages"]))
            case "report":
                self.reported[str(row["id"])] = row["refused"] and str(row["refused"])
            case _:
                self.pace.refused(at, limit)
                return
        self.pace.answered(at, limit, remaining)

    def _ask(self, url: httpx.URL, read: Callable[[str], T]) -> tuple[Answer, T | None]:
        """An answer that another try would not change, and what is read from it when it is good."""
        trouble = ""
        for pause in (0.0, *PAUSES):
            time.sleep(pause)
            try:
                answer = self._when_allowed(url)
                if answer.status < 300:
                    return answer, read(answer.text)
                if answer.status < 500 and answer.status not in BUSY:
                    return answer, None
                trouble = said(answer)
            except (httpx.RequestError, Unreadable) as error:
                trouble = hide(str(error), self.key) or type(error).__name__
        raise PocketError(
            f"{self.base} gives no usable reply ({trouble}): run the same command to go on"
        )

    def _when_allowed(self, url: httpx.URL) -> Answer:
        """One request when the hour has one left; again where the server says that it had none."""
        for _ in range(PATIENCE):
            self._wait()
            answer = self._once(url)
            if not answer.used_up:
                self._check(answer)
                return answer
            self._record({"kind": "closed"} | answer.stamp())
        raise PocketError(
            f"{self.base} has allowed no request for hours: another program may use the key; run "
            "the same command later to go on"
        )

    def _check(self, answer: Answer) -> None:
        """Errors that end the run."""
        if answer.status == 401 or (answer.status == 403 and answer.remaining is None):
            raise ConfigError(
                f"{self.base} refuses the key ({said(answer)}): is it the access key of an app at "
                "https://unsplash.com/oauth/applications?"
            )
        if 300 <= answer.status < 400:
            raise PocketError(
                f"{self.base} sends elsewhere ({answer.status}), where the key does not go: check "
                "collect.unsplash.base_url"
            )

    def _once(self, url: httpx.URL) -> Answer:
        """One HTTP call. Redirects are not followed: the key is for this host."""
        body, until = bytearray(), time.monotonic() + LONGEST
        with self._client.stream("GET", url) as reply:
            for part in reply.iter_raw():
                body += part
                if len(body) > LARGEST or time.monotonic() > until:
                    raise Unreadable("its reply is too long")
        numbers = [number(reply.headers.get(f"x-ratelimit-{of}")) for of in ("limit", "remaining")]
        text = hide(body.decode(errors="replace"), self.key)
        return Answer(reply.status_code, text, time.time(), *numbers)

    def _wait(self) -> None:
        """Until the next request may be made, with the outlook."""
        left = self.pace.wait(time.time())
        if left > NOTICE and not self.pace.refusals:
            say(f"  {self._outlook()}")
        with console.status(self._outlook()) if left > NOTICE else nullcontext() as status:
            while left > 0:
                if status:
                    status.update(self._outlook())
                time.sleep(min(left, 1.0))
                left = self.pace.wait(time.time())

    def _outlook(self) -> str:
        """How far it is, when it goes on, and how long the rest takes."""
        now = time.time()
        rest = self.pace.seconds_for(COST * (self.wanted - self.done), now)
        next_one = f"next within {duration(self.pace.opens_within(now))}"
        parts = [f"Unsplash: {self.done:,} of {self.wanted:,}", next_one]
        if rest:
            parts.append(f"about {duration(rest)} left at {self.pace.limit:,} requests an hour")
        return "; ".join(parts)


def read_journal(path: Path) -> Iterator[Row]:
    """Its lines that are whole; a kill may have torn off the last one."""
    if path.is_file():
        with path.open("rb") as file:
            for line in file:
                with suppress(ValueError, RecursionError):
                    row = json.loads(line)
                    if isinstance(row, dict):
                        yield row


def read_page(text: str) -> Page:
    """A search page's body. Unreadable when it is none; single photographs that cannot be right are
    Skipped."""
    try:
        body = json.loads(text)
        found, pages = [read_photo(one) for one in body["results"]], int(body["total_pages"])
        return Page(found, pages if found else 0)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Unreadable(f"no search page: {type(error).__name__}") from None


def read_photo(result: Row) -> Photo | Skipped:
    """One result of a search."""
    try:
        return Photo.model_validate(result)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        name = result.get("id") if isinstance(result, dict) else result
        return Skipped(
            f"unsplash:{ascii(name)[:60]}", f"no usable photograph: {where} {first['msg']}"
        )


def said(answer: Answer) -> str:
    """Status and message of an answer, in one short line."""
    words = " ".join(answer.text.split())[:200]
    return f"{answer.status} {words}".strip()


def number(text: str | None) -> int | None:
    """A header's whole number; None for anything else."""
    return int(text) if text and text.isdecimal() and len(text) < 12 else None
