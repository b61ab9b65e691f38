"""From every source that is named into originals/: each picture once, checked, with its credits."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from PIL import Image

from pocketvlm.collect.candidate import Candidate, Skipped
from pocketvlm.collect.check import check
from pocketvlm.collect.folder import from_folder
from pocketvlm.collect.index import Index, shelf
from pocketvlm.duplicates import near_groups
from pocketvlm.errors import PocketError
from pocketvlm.parallel import in_order
from pocketvlm.progress import say, track
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows

SHOWN = 5
"""Skipped files that are named on the terminal."""


SLOW = ("unsplash",)
"""Sources that give a picture a minute: each is looked at when it comes, and not some ahead."""

ANY = ""
"""Stands for the label of pictures that are sought for none."""


class Collection:
    """One run: what came, and what did not."""

    def __init__(self, project: Project) -> None:
        self.project, self.index = project, Index(project)
        self.skipped: list[Skipped] = []
        self.new = self.twice = 0
        self.came: Counter[str] = Counter()
        """New pictures for each label that was sought."""

    def take(self, source: str, offered: Iterable[Candidate | Skipped], count: int) -> int:
        """Look at what a source offers, with all cores; how many new pictures there were."""
        before = self.new
        settings = self.project.config.collect

        def look(one: Candidate | Skipped) -> Row | str:
            return one.reason if isinstance(one, Skipped) else check(one.path, settings)

        one_by_one = ((one, look(one)) for one in offered)
        looked = one_by_one if source in SLOW else in_order(look, offered)
        for one, found in track(looked, f"Collecting: {source}", count):
            if isinstance(one, Skipped) or isinstance(found, str):
                self._skip(source, one, str(found))
            elif self.index.add(one, found):
                self.new += 1
                self.came[one.sought or ANY] += 1
            else:
                self._again(one, self.index.known[found["sha256"]].origin)
        self.index.flush()
        return self.new - before

    def _again(self, one: Candidate, first: str) -> None:
        self.twice += first != one.origin
        if one.source != "folder" and first != one.origin:
            self.index.skipped[one.origin] = f"the same file as {first}"

    def _skip(self, source: str, one: Candidate | Skipped, reason: str) -> None:
        self.skipped.append(Skipped(one.origin, reason))
        if isinstance(one, Candidate) and one.fetched:
            one.path.unlink(missing_ok=True)
        known = self.index.of_folder if source == "folder" else self.index.skipped
        known[one.origin] = reason

    def fill(self, source: str, target: Mapping[str, int]) -> None:
        """Ask a source until it has given `target` pictures a label in all, or gives no more:
        what turns out broken or known is replaced."""
        while wanted := self._missing(source, target):
            count = sum(wanted.values())
            if not self.take(source, offered(source, self.project, wanted, self.index), count):
                say(f"  {source} has no more: {described(wanted)} not found")
                return

    def fill_more(self, source: str, more: Mapping[str, int]) -> None:
        """Ask a source for what of `more` no source before it has given in this run."""
        have, of = self.index.sought, self._shelf(source)
        left = {label: count - self.came[label] for label, count in more.items()}
        self.fill(source, {label: have[of, label] + count for label, count in left.items()})

    def _missing(self, source: str, target: Mapping[str, int]) -> dict[str, int]:
        have, of = self.index.sought, self._shelf(source)
        missing = {label: count - have[of, label] for label, count in target.items()}
        return {label: count for label, count in missing.items() if count > 0}

    def _shelf(self, source: str) -> str:
        """Another data set of the Hub starts from nothing."""
        hub = self.project.config.collect.hub
        return shelf(source, f"hub:{hub.dataset}/{hub.split}/0" if hub else source)

    def finish(self) -> Row:
        """Write what is left to write; the figures."""
        self.index.finish()
        for one in self.skipped[:SHOWN]:
            say(f"  skipped {printable(one.origin)}: {one.reason}")
        if len(self.skipped) > SHOWN:
            more = len(self.skipped) - SHOWN
            say(f"  and {more} more: {self.project.workspace.originals / 'skipped.jsonl'}")
        return {
            "pictures": len(self.index.known),
            "new": self.new,
            "duplicates": self.twice,
            "near_duplicates": near_duplicates(self.project) if self.index.known else 0,
            "skipped": len(self.skipped),
        }


def collect(project: Project, more: Mapping[str, int] | None = None) -> Row:
    """Gather pictures of all sources into originals/ under their hash; list the others with a
    reason. With `more` (label -> pictures) only candidates of those labels are fetched, beyond what
    the sources were asked for (`--top-up`).

    Pictures collected before are kept, also when their source is gone; those of the folder that are
    found again get the licence of the present configuration."""
    run = Collection(project)
    try:
        with warnings.catch_warnings():  # collect.max_megapixels decides
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            gather(run, more)
    finally:
        figures = run.finish()
    if not figures["pictures"]:
        raise PocketError(
            f"no source holds a picture that can be read, only {figures['skipped']} files: see "
            "collect: in the configuration"
        )
    return figures


def gather(run: Collection, more: Mapping[str, int] | None) -> None:
    """Ask each source: all for what the configuration says, or those that can for `more`."""
    if more is None:
        files = from_folder(run.project)
        run.index.of_folder.clear()
        if files:
            run.take("folder", files, len(files))
    for source, (searched, pictures) in run.project.config.collect.searched().items():
        if more is None:
            run.fill(source, shares(list(searched), pictures))
        else:
            known = {label: count for label, count in more.items() if label in searched}
            run.fill_more(source, known)


def offered(
    source: str, project: Project, wanted: Mapping[str, int], index: Index
) -> Iterator[Candidate | Skipped]:
    """What a source has of `wanted` that is not in the index; each is loaded when it is used."""
    match source:
        case "coco":
            from pocketvlm.collect.coco import from_coco as candidates
        case "unsplash":
            from pocketvlm.collect.unsplash import from_unsplash as candidates
        case _:
            from pocketvlm.collect.hub import from_hub as candidates
    return candidates(project, wanted, index)


def shares(labels: Sequence[str], pictures: int) -> dict[str, int]:
    """So many pictures a label, as equal as can be; without labels all as they come."""
    each, rest = divmod(pictures, len(labels) or 1)
    return {label: each + (at < rest) for at, label in enumerate(labels or [ANY])}


def described(wanted: Mapping[str, int]) -> str:
    """How many of what, in words."""
    return ", ".join(
        f"{count} for {label}" if label else f"{count} pictures" for label, count in wanted.items()
    )


def printable(name: str) -> str:
    """A file's name without what would steer the terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in name)


def near_duplicates(project: Project) -> int:
    """Pictures that are like one before them; `prepare` keeps them in its split."""
    first = near_groups([row.get("phash") for row in read_rows(project.workspace.index)])
    return sum(at != leader for at, leader in enumerate(first))
