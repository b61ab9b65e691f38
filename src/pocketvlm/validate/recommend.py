"""Which of the exported pairs of files to ship: the smallest that is as good as the best.

Every pair answered the same pictures, so two of them are compared picture by picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pocketvlm.intervals import NORMAL, paired
from pocketvlm.workspace import Row

MARGIN = 0.01
"""A smaller file may be so much less often right than the best: one point."""

RULE = (
    "the smallest of these pairs of files whose paired 95% interval against the best stays above "
    "-1 point of accuracy; a vision file of another type than the first only where it gives the "
    "same answers"
)

MOST = 1_000_000
"""More pictures than this nobody collects for a verdict."""


@dataclass(frozen=True)
class Candidate:
    """One exported pair of files."""

    step: str
    """Its name in the ladder."""
    mib: float
    """Both files together."""
    right: Sequence[bool]
    """Whether its answer to each picture was right, in the pictures' order."""

    def __str__(self) -> str:
        return f"{self.step} ({self.mib:,.1f} MiB)"


def recommend(files: Sequence[Candidate], n: int) -> Row:
    """The `recommendation` of metrics.json; at least one file, each with n answers.

    The best is the one most often right, of equals the largest; a file as large as the best, or
    larger, is no choice. The best is the luckiest as well: that makes the rule stricter to smaller
    files, and where it is itself the smallest, `words` say whether a larger one may be better.
    `recommended` is None where a smaller file is open and none is safe; `open` names the files that
    may still turn out to be a smaller choice, smallest first. ValueError where a file has not n
    answers."""
    best = max(files, key=lambda file: (sum(file.right), file.mib))
    smaller = sorted((f for f in files if f.mib < best.mib), key=lambda file: file.mib)
    chosen = next((file for file in smaller if _low(file, best, n) > -MARGIN), None)
    below = (chosen or best).mib
    undecided = [f for f in smaller if f.mib < below and _high(f, best, n) >= -MARGIN]
    if not undecided:
        chosen = chosen or best
    enough = pictures_needed(*_changes(undecided[0], best, n), n) if undecided else None
    words = _choice(files, best, chosen, n)
    if undecided:
        words += " " + _outlook(undecided[0], best, chosen, n, enough)
    return {
        "rule": RULE,
        "best": best.step,
        "recommended": chosen.step if chosen else None,
        "open": [file.step for file in undecided],
        "needed": enough,
        "words": words,
    }


def pictures_needed(gained: int, lost: int, n: int) -> int | None:
    """About how many pictures would settle an open file, if both went on to differ as often and as
    unevenly as on these n; None where that is more than MOST.

    `paired`'s half-width at N pictures is z·sqrt((v + 2/M) / M), with M = N + 2, v = s - d², the
    difference d and the discordance s (share gained + share lost) seen. It has to come down to
    m = |d + 1 point|, the distance from the rule's limit: m²M² = z²(vM + 2), solved for M. Where
    the two never differed, that is 276 pictures. It is a rough guide: d and s are measured
    themselves, and were they exact, so many pictures would tell in half of all cases."""
    difference, discordance = (gained - lost) / n, (gained + lost) / n
    limit = abs(difference + MARGIN)
    if limit < 1e-9:
        return None
    spread = NORMAL**2 * (discordance - difference**2)
    root = math.sqrt(spread**2 + 8 * NORMAL**2 * limit**2)
    return about((spread + root) / (2 * limit**2) - 2, more_than=n)


def about(count: float, more_than: int) -> int | None:
    """A number of pictures rounded up to two digits, above `more_than`; None above MOST."""
    count = max(math.ceil(count), more_than + 1)
    unit = 10 ** max(0, len(str(count)) - 2)
    rounded = math.ceil(count / unit) * unit
    return rounded if rounded <= MOST else None


def _changes(file: Candidate, best: Candidate, n: int) -> tuple[int, int]:
    """Pictures that only `file` has right, and those that only `best` has."""
    pairs = list(zip(file.right, best.right, strict=True))
    if len(pairs) != n:
        raise ValueError(f"{file.step} has {len(pairs)} answers to {n} pictures")
    return (
        sum(own and not other for own, other in pairs),
        sum(other and not own for own, other in pairs),
    )


def _low(file: Candidate, best: Candidate, n: int) -> float:
    return paired(*_changes(file, best, n), n)[1]


def _high(file: Candidate, best: Candidate, n: int) -> float:
    return paired(*_changes(file, best, n), n)[2]


def _choice(files: Sequence[Candidate], best: Candidate, chosen: Candidate | None, n: int) -> str:
    """What to ship, for someone who does not train models."""
    if len(files) == 1:
        return f"{best} is the only file judged: there is nothing to choose between."
    if chosen is None:
        return (
            f"Not enough pictures to tell: no file is right more often than {best}, which is safe "
            "meanwhile."
        )
    if chosen is not best:
        return (
            f"Ship {chosen}: the smallest file that is surely no more than 1 point less often "
            f"right than the best, {best}."
        )
    if any(file.mib < best.mib for file in files):
        return f"Ship {best}: every smaller file is surely more than 1 point less often right."
    told = f"Ship {best}: no file is smaller, and none is right more often."
    if all(_low(best, file, n) > -MARGIN for file in files if file.mib > best.mib):
        return told
    return f"{told} With only {n:,} pictures, a larger one may still be more than 1 point better."


def _outlook(
    smallest: Candidate, best: Candidate, chosen: Candidate | None, n: int, enough: int | None
) -> str:
    """What is open about the smallest of the open files, and what would settle it."""
    still = "" if chosen is None else " still"
    would = (
        f"about {enough:,} would tell."
        if enough
        else "the difference lies so near 1 point that hardly any number of them would tell."
    )
    return (
        f"{smallest} is smaller{still}, but {n:,} pictures are too few to say whether it is within "
        f"1 point of {best.step}: {would}"
    )
