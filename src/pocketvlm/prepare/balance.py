"""How many pictures of each label the splits hold: for people, and what follows from it."""

from collections.abc import Iterable, Iterator, Mapping

Counts = Mapping[str, Mapping[str, int]]
"""Split -> label -> pictures."""

THIN = 10
"""Fewer pictures of a label in train than this are worth a word."""

LOPSIDED = 3
"""The most frequent label has so many times as many pictures in train as the rarest."""

CROWD, CROWD_SHARE = 20, 0.1
"""A group of near-duplicates with so many pictures and such a share of all is worth a word."""

WIDTH = 24
"""Characters of the longest bar."""


def table(counts: Counts, labels: Iterable[str]) -> Iterator[str]:
    """The balance for the terminal, a line a label."""
    names = [*counts]
    labels = list(labels)
    wide = max(len(label) for label in labels)
    yield f"  {'':{wide}} " + "".join(f"{name:>8}" for name in names)
    most = max([1, *(counts["train"].get(label, 0) for label in labels)])
    for label in labels:
        numbers = "".join(f"{counts[name].get(label, 0):>8,}" for name in names)
        bar = "#" * round(WIDTH * counts["train"].get(label, 0) / most)
        yield f"  {label:{wide}} {numbers}  {bar}".rstrip()


def notes(counts: Counts, labels: Iterable[str]) -> list[str]:
    """What the splits cannot hold, in sentences."""
    found = []
    labels = list(labels)
    if not counts["train"]:
        found.append("train is empty: collect more pictures or lower prepare.min_confidence")
    for name in ("val", "test"):
        if not counts[name]:
            found.append(f"{name} is empty: the split follows each picture's hash; collect more")
    for label in labels:
        have = counts["train"].get(label, 0)
        if have < THIN:
            found.append(f"train holds only {have} of '{label}': collect more of it")
        if counts["test"] and label not in counts["test"]:
            found.append(f"test holds no '{label}': its accuracy stays unknown")
    return found + lopsided(counts["train"], labels)


def crowded(groups: Mapping[str, int]) -> list[str]:
    """A group of near-duplicates (first picture -> pictures) that is much of the whole."""
    first, most = max(groups.items(), key=lambda group: group[1])
    if most < CROWD or most < CROWD_SHARE * sum(groups.values()):
        return []
    return [
        f"{most:,} pictures look like one ({first[:12]}) and are in one split: of a series, "
        "collect a few"
    ]


def lopsided(train: Mapping[str, int], labels: Iterable[str]) -> list[str]:
    """The rarest label against the most frequent one, where they lie far apart."""
    have = {label: train.get(label, 0) for label in labels}
    rare, often = min(have, key=lambda one: have[one]), max(have, key=lambda one: have[one])
    if have[often] < LOPSIDED * max(have[rare], 1):
        return []
    return [
        f"train holds {have[often]:,} of '{often}' and {have[rare]:,} of '{rare}': `pocketvlm "
        "collect --top-up` fetches more of what is rare, train.balanced shows it more often"
    ]
