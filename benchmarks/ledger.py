"""10,000 pictures, a faulty teacher, five kill -9: is anything paid twice, or lost?

    python benchmarks/ledger.py [PICTURES]

A simulated teacher with a limit of 6,000 requests a minute takes 2 s an answer; some answers are
malformed, refused, errors or cut in the middle. `pocketvlm label` is killed five times at random
moments and run again until it is done. Then the ledger is audited against the server's own
accounts. Prints what was found; exit code 1 when something is not as it must be. About 4 minutes.
"""

import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pocketvlm.label.client import encode_picture
from pocketvlm.label.ledger import FINAL
from pocketvlm.prices import Price
from pocketvlm.progress import say, track
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows
from simulated import Settings, serve
from workshop import PRICE, labelling, make_workspace

KILLS = 5
TOKENS = ("tokens_in", "tokens_out")
FLAT = 40.0
"""MiB by which the resident memory may grow from a tenth of a run to its end; ten thousand
answers in memory would be more."""

SERVER = Settings(
    seconds=2.0,
    jitter=0.5,
    limit="bucket",
    requests_per_minute=6000.0,
    malformed=0.005,
    refused=0.005,
    none=0.02,
    errors=0.005,
    cut=0.002,
)


@dataclass
class Run:
    """One start of `pocketvlm label`."""

    answered: int = 0
    killed: bool = False
    in_flight: int = 0
    """By the last event before it was killed."""
    memory: tuple[float, float] = (0.0, 0.0)
    """Resident MiB after a tenth of its questions, and at its end."""
    seconds: float = 0.0


def main() -> None:
    """Label, kill, go on, audit."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder, serve(SERVER) as (url, stats):
        project = make_workspace(Path(folder), count, url, concurrency=512)
        runs = label_with_kills(project, count)
        told = stats()
        findings = audit(project, told, runs)
    print_runs(runs, told, count)
    wrong = [what for what, sound in findings if not sound]
    for what, sound in findings:
        print(f"{'ok   ' if sound else 'WRONG'}  {what}")
    sys.exit(1 if wrong else 0)


def label_with_kills(project: Project, count: int) -> list[Run]:
    """Runs until everything is answered; the first ones are killed at random moments."""
    moments = random.Random(0)
    ends = sorted(moments.uniform(0.05, 0.9) for _ in range(KILLS))
    runs = [one_run(project, round(end * count)) for end in ends]
    while not runs[-1].answered or runs[-1].killed:
        runs.append(one_run(project, None))
    return runs


def one_run(project: Project, kill_at: int | None) -> Run:
    """Label until the ledger holds `kill_at` answers, or to the end."""
    run, resident, started = Run(), [], time.monotonic()
    before = answers_in(project)
    with labelling(project.workspace.root) as running:
        for event, memory in running.events():
            if event["event"] == "progress":
                run.answered, run.in_flight = event["done"], event["in_flight"] or 0
                resident.append(memory)
                if kill_at is not None and before + event["done"] >= kill_at:
                    time.sleep(random.uniform(0, 1))  # events come once a second
                    running.kill()
                    run.killed = True
                    break
    middle = [memory for memory in resident if memory]
    run.memory = (middle[len(middle) // 10], middle[-1]) if middle else (0.0, 0.0)
    run.seconds = time.monotonic() - started
    say(f"{'killed' if run.killed else 'done'} after {run.seconds:.0f} s")
    return run


def answers_in(project: Project) -> int:
    """Final answers so far."""
    path = project.workspace.answers
    return path.read_bytes().count(b'"billed": "usage"') if path.is_file() else 0


def audit(project: Project, told: Row, runs: Sequence[Run]) -> list[tuple[str, bool]]:
    """What must hold, and whether it does."""
    rows = list(read_rows(project.workspace.answers))  # raises at a line that is torn
    answers = [row for row in rows if row["kind"] == "answer"]
    final = Counter(row["key"] for row in answers if row["status"] in FINAL)
    pictures = len(list(read_rows(project.workspace.index)))
    retried = {row["key"] for row in answers if row["status"] in ("refused", "malformed")}
    twice = {key for key, n in final.items() if n > 1} - retried
    return [
        (f"each of {pictures} pictures has an answer", len(final) == pictures),
        (f"{len(twice)} asked again after an answer had arrived", not twice),
        *money(project, told, answers, rows, runs),
        *memory(runs),
    ]


def money(
    project: Project, told: Row, answers: Sequence[Row], rows: Sequence[Row], runs: Sequence[Run]
) -> list[tuple[str, bool]]:
    """The ledger's cost against the server's accounts."""
    price = Price.model_validate(PRICE)
    total = told["total"]
    billed = price.usd(total["prompt_tokens"], total["completion_tokens"])
    by_usage = [row for row in answers if row["billed"] == "usage"]
    ledger = sum(row["usd"] for row in by_usage)
    lost = total["sent"] - len(by_usage)
    unknown = sum(row["usd"] for row in answers if row["billed"] == "unknown")
    closed = {row["call"] for row in answers if "call" in row}
    intents = [row for row in rows if row["kind"] == "intent" and row["call"] not in closed]
    possible = ledger + unknown + sum(row["reserved_usd"] for row in intents)
    in_flight = sum(run.in_flight for run in runs if run.killed)
    pictures, apart = compare_pictures(project, told, by_usage)
    return [
        (
            f"{lost} paid answers were lost with {in_flight} calls in flight at {KILLS} kills "
            f"({len(intents)} intents without an answer)",
            0 <= lost <= len(intents),
        ),
        (
            f"tokens of {pictures} pictures of which every answer arrived: {apart} differ between "
            "ledger and server",
            apart == 0 and pictures > 0,
        ),
        (
            f"the server billed {billed:.4f} USD in all, the ledger holds {possible:.4f} against "
            "the budget",
            billed <= possible + 1e-9,
        ),
    ]


def compare_pictures(project: Project, told: Row, by_usage: Sequence[Row]) -> tuple[int, int]:
    """Pictures whose answers all arrived, and how many of them have other tokens in the ledger than
    the server billed. The ledger's USD are these tokens at the price."""
    mine: dict[str, list[Row]] = {}
    for row in by_usage:
        mine.setdefault(row["picture"], []).append(row)
    theirs = {row["picture"]: row for row in told["rows"]}
    price, compared, apart = Price.model_validate(PRICE), 0, 0
    index = list(read_rows(project.workspace.index))
    for picture in track(index, "Auditing", len(index)):
        image, _ = encode_picture(project.workspace.originals / picture["file"], 1024)
        billed = theirs[sha256(image.encode()).hexdigest()]
        rows = mine[picture["sha256"]]
        if billed["sent"] != len(rows):
            continue  # an answer was lost at a kill
        compared += 1
        tokens = (billed["prompt_tokens"], billed["completion_tokens"])
        same = tokens == tuple(sum(row[name] for row in rows) for name in TOKENS)
        usd = sum(row["usd"] for row in rows)
        apart += not (same and abs(usd - price.usd(*tokens)) < 1e-12)
    return compared, apart


def memory(runs: Sequence[Run]) -> list[tuple[str, bool]]:
    """Flat in the longest run, and from the first run to the last, which reads the whole ledger."""
    longest = max(runs, key=lambda run: run.answered)
    begin, end = longest.memory
    return [
        (
            f"resident memory in the longest run: {begin:.0f} MiB after a tenth of its "
            f"{longest.answered} questions, {end:.0f} at the end",
            end - begin < FLAT,
        )
    ]


def print_runs(runs: Sequence[Run], told: Row, count: int) -> None:
    """The runs, rate and waste."""
    total, seconds = told["total"], [second["requests"] for second in told["timeline"]]
    steady = sorted(seconds)[len(seconds) // 2]
    print(f"{count} pictures, {len(runs)} runs: ", end="")
    print(", ".join(f"{run.answered} in {run.seconds:.0f} s" for run in runs))
    limited = total["limited"] / total["asked"]
    print(
        f"{total['asked']} requests, {total['limited']} refused by the limit ({limited:.2%}), "
        f"{total['errors']} errors, {total['lost']} cut; "
        f"{steady} a second in the middle of 100 allowed"
    )


if __name__ == "__main__":
    main()
