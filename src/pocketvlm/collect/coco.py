"""Pictures of a COCO data set, chosen by their categories; only the chosen ones are fetched."""

import hashlib
from collections import deque
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import httpx
from PIL import Image

from pocketvlm.collect.annotations import MB, Offer, read_offers, web_host
from pocketvlm.collect.candidate import Candidate, Skipped
from pocketvlm.collect.download import DownloadError, Downloads
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.pictures import BROKEN, FORMATS
from pocketvlm.progress import progress_bar, say
from pocketvlm.project import Project

HOST = "images.cocodataset.org"
"""Where the official pictures lie; it has no certificate of its own, so they come over http."""

LARGEST = 2 << 30
"""Bytes of the annotations' file."""

THREADS, AHEAD = 8, 16
"""Pictures fetched at a time, and begun before their turn."""

HOPELESS = 16
"""Pictures in a row that could not be fetched: no more are tried."""


class Choice:
    """What to fetch next: the labels in turn, each label's categories in turn, and of a category
    first what belongs to no other label, then what takes more of the picture."""

    def __init__(
        self,
        offers: Sequence[Offer],
        categories: Mapping[str, Sequence[str]],
        wanted: Mapping[str, int],
    ) -> None:
        self.missing = {label: count for label, count in wanted.items() if label in categories}
        """Label -> pictures that are still to be begun."""
        self._turn = deque(self.missing)
        self._taken: set[str] = set()
        self._queues = {
            label: self._in_turn([ranked(offers, label, name, categories) for name in names])
            for label, names in categories.items()
        }

    def next(self) -> tuple[str, Offer] | None:
        """The next picture and its label; None when nothing is wanted or left."""
        for _ in range(len(self._turn)):
            label = self._turn[0]
            self._turn.rotate(-1)
            if self.missing[label] > 0 and (one := next(self._queues[label], None)):
                self.missing[label] -= 1
                return label, one
        return None

    def _in_turn(self, queues: list[list[Offer]]) -> Iterator[Offer]:
        """One of each queue in turn, those taken left out."""
        waiting = deque(iter(queue) for queue in queues)
        while waiting:
            queue = waiting.popleft()
            fresh = next((one for one in queue if one.origin not in self._taken), None)
            if fresh:
                self._taken.add(fresh.origin)
                waiting.append(queue)
                yield fresh


def ranked(
    offers: Sequence[Offer], label: str, category: str, categories: Mapping[str, Sequence[str]]
) -> list[Offer]:
    """The pictures with a category, best first."""
    others = {name for other, names in categories.items() if other != label for name in names}

    def rank(one: Offer) -> tuple[bool, float, str]:
        return not others.isdisjoint(one.shares), -one.shares[category], one.origin

    return sorted((one for one in offers if category in one.shares), key=rank)


def from_coco(
    project: Project, wanted: Mapping[str, int], seen: Container[str]
) -> Iterator[Candidate | Skipped]:
    """Up to `wanted[label]` pictures for each label, none whose origin is in `seen`, in a stable
    order; for each that turns out not to be had another one is taken. The author stays None: COCO's
    annotations name none.

    ConfigError when the configuration names what does not exist; PocketError when the annotations
    are broken or no picture at all could be fetched."""
    settings = project.config.collect.coco
    if settings is None:
        return
    host = web_host(settings.annotations)
    folder = project.workspace.root / "state" / "downloads"
    path = project.path(Path(settings.annotations))
    if host:
        path = downloaded(folder, settings.annotations, host)
    elif not path.is_file():
        raise ConfigError(f"collect.coco.annotations: {path} does not exist: check the path")
    named = frozenset(name for names in settings.categories.values() for name in names)
    stamp = (path.stat().st_mtime_ns, path.stat().st_size)
    offers = read_offers(path, stamp, named, frozenset({HOST, host or HOST}))
    fresh = [one for one in offers if one.origin not in seen]
    choice = Choice(fresh, settings.categories, wanted)
    hosts = {host for one in fresh if (host := web_host(one.url))}
    yield from fetch_all(Downloads(folder, hosts), choice)


def downloaded(folder: Path, url: str, host: str) -> Path:
    """The annotations from an address, kept for the next run."""
    name = PurePosixPath(httpx.URL(url).path).name
    own = folder / hashlib.sha256(url.encode()).hexdigest()[:16]
    shown = not (own / name).is_file()
    with progress_bar(shown) as progress, Downloads(own, {host}) as downloads:
        task = progress.add_task("Fetching annotations, MB", total=None, note="")

        def tell(have: int, size: int | None) -> None:
            progress.update(task, completed=have // MB, total=size and size // MB)

        try:
            return downloads.fetch(url, name, largest=LARGEST, tell=tell)
        except DownloadError as error:
            mend = "check the address" if error.lasting else "run the same command again to go on"
            kind = ConfigError if error.lasting else PocketError
            raise kind(f"collect.coco.annotations: {error}: {mend}") from None


def fetch_all(downloads: Downloads, choice: Choice) -> Iterator[Candidate | Skipped]:
    """The chosen pictures, several at a time, in the order in which they were chosen."""
    waiting: deque[tuple[str, Offer, Future[Path | Skipped]]] = deque()
    reached, left, in_a_row = False, 0, 0
    with ThreadPoolExecutor(THREADS) as pool, downloads:
        while in_a_row < HOPELESS:
            while len(waiting) < AHEAD and (chosen := choice.next()):
                waiting.append((*chosen, pool.submit(fetch, downloads, chosen[1])))
            if not waiting:
                break
            label, one, future = waiting.popleft()
            try:
                found = future.result()
            except DownloadError as error:
                left, in_a_row, reason = left + 1, in_a_row + 1, str(error)
                continue
            reached, in_a_row = True, 0
            if isinstance(found, Skipped):
                choice.missing[label] += 1
                yield found
            else:
                yield Candidate(
                    found, one.origin, "coco", one.licence, None, one.credit, label, fetched=True
                )
    if left and not reached:
        raise PocketError(f"no picture could be fetched ({reason}): run the same command to go on")
    if left:
        say(f"  coco: left for another run: {left}, the last because of {reason}")


def fetch(downloads: Downloads, one: Offer) -> Path | Skipped:
    """A picture's file, or why there is none; DownloadError when another run may have it."""
    try:
        path = downloads.fetch(one.url, one.name)
    except DownloadError as error:
        if not error.lasting:
            raise
        return Skipped(one.origin, error.reason)
    try:
        with Image.open(path, formats=FORMATS) as picture:
            size = picture.size
    except BROKEN:
        reason = "not a picture that can be read"
    else:
        if size == one.size:
            return path
        reason = "{}x{} pixels, but annotated as {}x{}".format(*size, *one.size)
    path.unlink()
    return Skipped(one.origin, reason)
