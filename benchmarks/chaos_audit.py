"""What must hold after a run that was killed again and again, judged from the files it left and
from the teacher's accounts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketvlm.label.ledger import FINAL
from pocketvlm.workspace import Row, sha256_file

Finding = tuple[str, bool]
"""What was looked at, and whether it is as it must be."""

TIMES = frozenset({"call", "at", "seconds"})
"""Fields of an answer that no two calls have in common."""

SHOWN = 3
"""Names that a finding lists."""


@dataclass(frozen=True)
class Kill:
    """One kill, and how things stood then."""

    stage: str
    """The stage that was at work, or that was to come next."""
    within: bool
    """Whether it was at work."""
    seconds: float
    """Since the process began."""
    aim: str
    in_flight: Mapping[str, str]
    """Calls that it cut off, with their pictures: an intent in the ledger and no answer."""
    answered: frozenset[str]
    """Pictures with a usable answer in the ledger."""
    asked: Mapping[str, int]
    """How often the teacher had been asked about each picture."""


def usable(rows: Iterable[Row]) -> list[Row]:
    """Answers after which nobody asks again."""
    return [row for row in rows if row["kind"] == "answer" and row["status"] in FINAL]


def open_calls(rows: Iterable[Row]) -> dict[str, str]:
    """Calls with an intent and no answer, with their pictures."""
    calls: dict[str, str] = {}
    for row in rows:
        if row["kind"] == "intent":
            calls[row["call"]] = row["picture"]
        elif row["kind"] == "answer":
            calls.pop(row.get("call", ""), None)
    return calls


def audit_answers(
    calm: Sequence[Row], killed: Sequence[Row], kills: Sequence[Kill]
) -> list[Finding]:
    """The ledger of the killed run against the undisturbed one."""
    wanted, found = keyed(calm), keyed(killed)
    lost, new = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    other = [key for key in wanted.keys() & found.keys() if wanted[key] != found[key]]
    many = [key for key, n in Counter(row["key"] for row in usable(killed)).items() if n > 1]
    cut = {call for kill in kills for call in kill.in_flight}
    left = open_calls(killed).keys() - cut
    return [
        (
            f"ledger: {len(wanted)} answers; {named('lost', lost)}, {named('too many', new)}, "
            f"{named('other than undisturbed', other)}",
            not (lost or new or other),
        ),
        (f"each question has one usable answer; {named('with more', many)}", not many),
        (
            f"{len(open_calls(killed))} intents without an answer; "
            f"{named('of no call that a kill cut off', left)}",
            not left,
        ),
    ]


def keyed(rows: Iterable[Row]) -> dict[str, Row]:
    """Usable answers by key, without what differs from call to call."""
    return {
        row["key"]: {name: value for name, value in row.items() if name not in TIMES}
        for row in usable(rows)
    }


def audit_payments(
    rows: Sequence[Row], asked: Mapping[str, int], sent: Mapping[str, int], kills: Sequence[Kill]
) -> list[Finding]:
    """The teacher's accounts, by the picture's SHA-256, against the ledger of the killed run. Every
    reply that was handed over is paid; only what was in flight at a kill may be paid again."""
    written = Counter(
        row["picture"] for row in rows if row["kind"] == "answer" and row.get("billed") == "usage"
    )
    cut = Counter(picture for kill in kills for picture in kill.in_flight.values())
    twice = {picture: n for picture, n in sent.items() if n > 1}
    unasked = [picture for picture, n in twice.items() if n > 1 + cut[picture]]
    lost = [picture for picture, n in sent.items() if n - written[picture] > cut[picture]]
    made_up = [picture for picture, n in written.items() if n > sent.get(picture, 0)]
    again = {
        picture
        for kill in kills
        for picture in kill.answered
        if asked[picture] > kill.asked.get(picture, 0)
    }
    return [
        (
            f"{sum(sent.values())} replies paid for {len(sent)} pictures, {cut.total()} calls in "
            f"flight at the kills; {len(twice)} pictures paid again, "
            f"{named('more often than kills explain', unasked)}",
            not unasked,
        ),
        (f"paid answers: {named('missing from the ledger without a kill', lost)}", not lost),
        (f"answers of the ledger: {named('never sent', made_up)}", not made_up),
        (f"pictures: {named('asked about again with an answer in the ledger', again)}", not again),
    ]


def audit_files(what: str, calm: Path, killed: Path) -> Finding:
    """Whether two folders hold the same files with the same bytes; at least one."""
    wanted, found = contents(calm), contents(killed)
    differing = [n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n)]
    text = f"{what}: {len(wanted)} files; {named('missing, new or other bytes', differing)}"
    return text, bool(wanted) and not differing


def contents(path: Path) -> dict[str, str]:
    """The SHA-256 of every file of a folder, or of the one file, by name."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return {one.relative_to(path).as_posix(): sha256_file(one) for one in files}


def leftovers(root: Path) -> list[str]:
    """What only a killed run leaves in a workspace: temporary files and folders, which all begin
    with a dot here, and checkpoints of a training that has ended."""
    hidden = [path for path in root.rglob(".*") if path.name != ".gitignore"]
    checkpoints = (root / "state" / "checkpoints").glob("*")
    return sorted(path.relative_to(root).as_posix() for path in {*hidden, *checkpoints})


def audit_leftovers(root: Path) -> Finding:
    """Nothing half-made is left."""
    left = leftovers(root)
    return f"temporary files and checkpoints: {named('left behind', left)}", not left


def named(what: str, names: Iterable[str]) -> str:
    """How many, and the first of them."""
    listed = sorted(names)
    some = f" ({', '.join(listed[:SHOWN])}{', ...' if len(listed) > SHOWN else ''})"
    return f"{len(listed)} {what}{some if listed else ''}"
