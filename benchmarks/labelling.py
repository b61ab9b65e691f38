"""How fast a limited teacher is asked, against a fixed loop and against the limit itself.

    python benchmarks/labelling.py [QUESTIONS]

A simulated teacher takes 2 s an answer (1.5 to 2.5) and lets a limited number of calls in, each
time enforced and told in another way; `pocketvlm label` asks it as a process of its own, QUESTIONS
(default 5000) each. The fixed loop is what hand-written scripts do: five workers, one request a
second. Rates are of calls let in from the first to the last; wasted are those refused with 429.
Prints a Markdown table; exit code 1 when a target is missed. About nine minutes.
"""

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

from pocketvlm.label.client import encode_picture
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_rows
from simulated import Settings, serve
from workshop import labelling, make_workspace

SECONDS, JITTER = 2.0, 0.5
A_MINUTE = 3000.0
"""Requests a minute that every server allows."""

RATE, WASTE = 0.95, 0.02
LOOP_SECONDS, WORKERS = 30.0, 5


@dataclass(frozen=True)
class Case:
    """One server."""

    name: str
    limit: dict[str, Any]
    told: bool = True
    """Whether the limit is known from the first answer on."""


REQUESTS = {"requests_per_minute": A_MINUTE}
SILENT = {"headers": "none", "retry_after": False}
CASES = (
    Case("bucket of a second, told in headers", REQUESTS | {"limit": "bucket"}),
    Case("tokens a minute, told in headers", {"limit": "bucket", "tokens_per_minute": 0.0}),
    Case(
        "window of 10 s, only Retry-After",
        REQUESTS | {"limit": "window", "limit_seconds": 10.0, "headers": "none"},
        told=False,
    ),
    Case("bucket of a second, silent", REQUESTS | {"limit": "bucket"} | SILENT, told=False),
)


def main() -> None:
    """Measure every case in turns and judge it."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tokens = measure_tokens(root)
        loop = fixed_loop(root, tokens)
        rows = [measure(case, root, count, tokens) for case in CASES]
    print(f"The limit is {A_MINUTE / 60:g} calls a second; an answer takes {SECONDS:g} s.\n")
    print("| server | a second | of the limit | of all, with start | wasted | against the loop |")
    print("|---|---:|---:|---:|---:|---:|")
    print(f"| fixed loop, {WORKERS} workers | {loop:.2f} | {loop / (A_MINUTE / 60):.1%} | | | 1 |")
    for row in rows:
        print(
            f"| {row['name']} | {row['rate']:.2f} | {row['share']:.1%} | {row['whole']:.1%} | "
            f"{row['waste']:.2%} | {row['rate'] / loop:.0f} |"
        )
    missed = [row["name"] for row in rows if row["share"] < RATE or row["waste"] >= WASTE]
    print(f"\nTargets: at least {RATE:.0%} of the limit, under {WASTE:.0%} wasted.")
    print(f"MISSED: {', '.join(missed)}" if missed else "All targets met.")
    sys.exit(1 if missed else 0)


def settings(case: Case, tokens: float) -> Settings:
    """The server of a case."""
    limit = dict(case.limit)
    if "tokens_per_minute" in limit:
        limit["tokens_per_minute"] = A_MINUTE * tokens
    return Settings(seconds=SECONDS, jitter=JITTER, **limit)


def measure_tokens(root: Path) -> float:
    """Tokens a call takes here."""
    with serve(Settings()) as (url, stats):
        make_workspace(root / "few", 50, url)
        with labelling(root / "few") as running:
            list(running.events())
        total = stats()["total"]
    return float(total["prompt_tokens"] + total["completion_tokens"]) / float(total["sent"])


def fixed_loop(root: Path, tokens: float) -> float:
    """Calls a second of five workers that share one request a second."""
    with serve(settings(CASES[0], tokens)) as (url, stats):
        project = make_workspace(root / "loop", 50, url)
        asyncio.run(ask_in_a_loop(project, url))
        return rates(stats())[0]


async def ask_in_a_loop(project: Project, url: str) -> None:
    """What scripts do by hand: workers, and a pause between two requests."""
    client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    pictures = iter(list(read_rows(project.workspace.index)) * 10)
    until = time.monotonic() + LOOP_SECONDS
    turn = asyncio.Lock()

    async def work() -> None:
        for picture in pictures:
            image, _ = encode_picture(project.workspace.originals / picture["file"], 1024)
            content: Any = [{"type": "image_url", "image_url": {"url": image}}]
            async with turn:
                await asyncio.sleep(1.0)
            if time.monotonic() > until:
                return
            await client.chat.completions.create(
                model="loop", messages=[{"role": "user", "content": content}]
            )

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    await client.close()


def measure(case: Case, root: Path, count: int, tokens: float) -> Row:
    """One case: rate and waste by the server's own accounts."""
    say(case.name)
    folder = root / case.name.replace(" ", "-")
    with serve(settings(case, tokens)) as (url, stats):
        make_workspace(folder, count, url, concurrency=512)
        with labelling(folder) as running:
            done = [event for event, _ in running.events() if event["event"] == "done"]
        told = stats()
    assert done and done[0]["status"] == {"ok": count}, done
    rate, _ = rates(told)
    unit = "tokens" if "tokens_per_minute" in case.limit else "requests"
    allowed = A_MINUTE / 60 * (tokens if unit == "tokens" else 1.0)
    waste = told["total"]["limited"] / told["total"]["asked"]
    return {
        "name": case.name,
        "rate": rate,
        "share": rates(told, unit)[0] / allowed,
        "whole": rates(told, unit)[1] / allowed,
        "waste": waste,
    }


def rates(told: Row, unit: str = "requests") -> tuple[float, float]:
    """Requests or tokens let in a second: from the moment that half the steady rate is reached, and
    in all."""
    seconds = [second[unit] for second in told["timeline"]]
    steady = sorted(seconds)[len(seconds) // 2]
    start = next(at for at, calls in enumerate(seconds) if calls >= steady / 2)
    body = seconds[start:-1] or seconds
    return sum(body) / len(body), sum(seconds) / len(seconds)


if __name__ == "__main__":
    main()
