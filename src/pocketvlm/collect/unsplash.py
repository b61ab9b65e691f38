"""Photographs of Unsplash, through its official API at the pace that it allows.

The API allows 50 requests an hour to an app in demo mode and 5,000 after approval, says in
X-Ratelimit-Limit and X-Ratelimit-Remaining what is left, and answers 403 "Rate Limit Exceeded" when
nothing is (https://unsplash.com/documentation#rate-limiting). A search gives at most 30 photographs
a page. Each that is taken must be reported by a request to its `download_location`, which counts
(https://help.unsplash.com/api-guidelines/more-on-each-guideline/guideline-triggering-a-download);
fetching the picture from images.unsplash.com does not. So 50 requests bring about 48 photographs.

Unsplash does not want this use without its permission: its API guidelines name training AI models
among what apps should stay away from
(https://help.unsplash.com/en/articles/2511256-guideline-high-quality-authentic-experiences), use
for machine learning is "restricted"
(https://help.unsplash.com/en/articles/2612332-what-do-you-mean-by-compiling-photos-to-replicate-a-similar-or-competing-service)
and forbidden for Unsplash+ (https://unsplash.com/plus/license), whose photographs are left out
here; and pictures are to be shown from its own addresses. https://unsplash.com/data is the data set
that it publishes for research. Every run says so in one line; the decision is the user's.

Credit is "Photo by NAME on Unsplash", with links that name the app
(https://help.unsplash.com/api-guidelines/more-on-each-guideline/guideline-attribution)."""

from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import TypeVar

import httpx

from pocketvlm.collect.candidate import Candidate, Skipped
from pocketvlm.collect.download import DownloadError, Downloads, place
from pocketvlm.collect.hourly import HOUR
from pocketvlm.collect.unsplash_api import Api, Photo
from pocketvlm.errors import ConfigError
from pocketvlm.keys import LOOPBACK, check_address, read_key
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.sources import Unsplash

T = TypeVar("T")

OFFICIAL = "api.unsplash.com"

PICTURES, PLUS = "images.unsplash.com", "plus.unsplash.com"
"""Where the official API's pictures lie, and those of Unsplash+."""

CREDIT = {"utm_source": "pocketvlm", "utm_medium": "referral"}
"""Of every link back to Unsplash."""

LARGEST = 50 << 20
"""Bytes of a picture's file."""

TERMS = (
    "  Unsplash asks apps to stay away from training AI models "
    "(https://help.unsplash.com/en/articles/2511256): go on only if it has permitted your use"
)


def from_unsplash(
    project: Project, wanted: Mapping[str, int], seen: Container[str], window: float = HOUR
) -> Iterator[Candidate | Skipped]:
    """Up to `wanted[label]` further photographs for each label, in turn over the labels and over
    what is searched for each (`collect.unsplash.queries`): none whose origin is in `seen`, each
    once. It waits whenever the hour's requests are used up; `window` is the hour, seconds.

    `state/unsplash.jsonl` remembers searches, reported photographs and the pace: after a kill no
    request is made twice, but for one that was under way. Without that file it is searched anew.

    ConfigError when the key is missing or refused; PocketError when the API or a picture's server
    cannot be used now: the next run goes on."""
    settings = project.config.collect.unsplash
    if settings is None:
        raise ConfigError("collect.unsplash: name what is searched for (queries)")
    host = check_address(settings.base_url)
    if host not in LOOPBACK and not settings.base_url.startswith("https:"):
        raise ConfigError(
            "collect.unsplash.base_url: without https the key could be read on its way"
        )
    key = read_key(settings.api_key_env, project.workspace.root)
    if not key:
        raise ConfigError(
            f"{settings.api_key_env} is not set: make an app at https://unsplash.com/oauth/"
            "applications and put its access key into the environment or into .env"
        )
    tell_terms()
    return _candidates(project, settings, key, wanted, seen, window)


@cache
def tell_terms() -> None:
    """Say once a run what Unsplash asks."""
    say(TERMS)


def _candidates(
    project: Project,
    settings: Unsplash,
    key: str,
    wanted: Mapping[str, int],
    seen: Container[str],
    window: float,
) -> Iterator[Candidate | Skipped]:
    """What `from_unsplash` gives, while the connections are open."""
    state = project.workspace.root / "state"
    base = httpx.URL(settings.base_url)
    host = PICTURES if base.host == OFFICIAL else base.netloc.decode()
    count = sum(wanted.values())
    with (
        Api(settings.base_url, key, state / "unsplash.jsonl", window, count) as api,
        Downloads(state / "unsplash", [host]) as downloads,
    ):
        taker = Taker(api, downloads, settings, seen)
        yield from in_turn([taker.label(name, count) for name, count in wanted.items()])


def in_turn(sources: Iterable[Iterator[T]]) -> Iterator[T]:
    """One item of each source, then the next one of each, until all are empty."""
    waiting = deque(sources)
    while waiting:
        source = waiting.popleft()
        for item in islice(source, 1):
            waiting.append(source)
            yield item


class Taker:
    """Takes photographs that the API finds, each once."""

    def __init__(
        self, api: Api, downloads: Downloads, settings: Unsplash, seen: Container[str]
    ) -> None:
        self.api, self.downloads, self.settings, self.seen = api, downloads, settings, seen
        self.taken: set[str] = set()
        """Origins of this run."""

    def label(self, label: str, count: int) -> Iterator[Candidate | Skipped]:
        """Candidates of a label until there are `count`, with what had to be skipped among them."""
        queries = self.settings.queries.get(label, ())
        found = in_turn([self.api.photos(query) for query in queries])
        while count > 0:
            photo = next(found, None)
            if photo is None:
                return
            name = photo.origin if isinstance(photo, Skipped) else f"unsplash:{photo.id}"
            if name in self.taken or name in self.seen:
                continue
            self.taken.add(name)
            one = photo if isinstance(photo, Skipped) else self._take(photo, name, label)
            if isinstance(one, Candidate):
                count -= 1
                self.api.done += 1
            yield one

    def _take(self, photo: Photo, name: str, label: str) -> Candidate | Skipped:
        """Report a photograph and fetch it."""
        reason = self._unusable(photo) or self.api.report(photo)
        if reason:
            return Skipped(name, reason)
        width = self.settings.width
        form = {"w": str(width), "fm": "jpg", "q": "85", "fit": "max"}
        url = str(httpx.URL(photo.raw).copy_merge_params(form))
        try:
            path = self.downloads.fetch(url, f"{photo.id}-{width}.jpg", largest=LARGEST)
        except DownloadError as error:
            if error.lasting:
                return Skipped(name, str(error))
            raise
        return Candidate(
            path, name, "unsplash", "Unsplash", photo.author, credit(photo.page), label, True
        )

    def _unusable(self, photo: Photo) -> str | None:
        """Why no request is spent on a photograph; None when it may be taken."""
        picture = place(photo.raw)
        if photo.premium or photo.plus or (picture and picture.host == PLUS):
            return "a photograph of Unsplash+, which may not be used for this"
        if picture is None or picture.netloc.decode() not in self.downloads.hosts:
            return "its picture does not lie where Unsplash's pictures lie"
        if not self.api.owns(photo.report):
            return "its download_location is not the API's"
        return None


def credit(page: str) -> str | None:
    """The photograph's page with the parameters that name the app; None when it is no address."""
    return str(httpx.URL(page).copy_merge_params(CREDIT)) if place(page) else None
