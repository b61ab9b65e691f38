"""Killed 40 times at random moments: is the result as undisturbed, and is nothing paid twice?

    python benchmarks/chaos.py [FOLDER] [PICTURES] [SEED]    # FOLDER: one that is empty

The demo (its scenes, its settings) goes the whole way twice against one rule teacher that keeps
accounts: once undisturbed, once killed with SIGKILL 40 times, from the first imports to the last
stage, and started again each time with the same command. Then datasets, ledgers, models and bundles
are compared, and the ledger with the accounts. After that, few pictures meet a full disk in each
stage, and too little memory. Prints what was found; exit code 1 when something is not as it must
be. About 25 minutes on 2 quiet cores.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path

from chaos_audit import (
    Finding,
    Kill,
    audit_answers,
    audit_files,
    audit_leftovers,
    audit_payments,
    named,
    open_calls,
    usable,
)
from chaos_episodes import Unavailable, full_disk, out_of_memory, small_disk
from chaos_kills import NAMES, SHARES, Aim, Marksman, Running, strays, unfinished
from chaos_teacher import serve
from pocketvlm.config import commented_yaml
from pocketvlm.demo.demo import PICTURES, TRUTH, demo_config
from pocketvlm.demo.scenes import write_scenes
from pocketvlm.errors import PocketError
from pocketvlm.label.client import encode_picture
from pocketvlm.label.ledger import as_row
from pocketvlm.progress import say
from pocketvlm.workspace import Row, Workspace, read_json, sha256_file, write_text

KILLS = sum(SHARES.values())
END = "the end"
"""What comes next when all stages are up to date, which is looked through again."""

CALM, KILLED, TEMPORARY = "undisturbed", "killed", "temporary"

FEW = 100
"""Scenes that a full disk and too little memory are tried with."""

BYTES = (
    "adapter/adapter_model.safetensors",
    "merged/model.safetensors",
    "gguf",
    "report/predictions.jsonl",
)
"""Compared to the bit, and told; what is demanded is the accuracy."""


def main(folder: Path, pictures: int, seed: int) -> int:
    """Run undisturbed, run and kill, compare; the exit code."""
    print(f"{pictures} pictures, {KILLS} kills, seed {seed}", flush=True)
    calm, killed = folder / CALM, folder / KILLED
    try:
        names = make_workspaces(folder, pictures)
        seconds = run_calm(calm)
        soak = run_killed(killed, Marksman(seed, seconds), names)
    except PocketError as error:
        say(f"error: {error}")
        return 1
    print_kills(soak, seconds)
    for fact in facts(calm, killed, folder / TEMPORARY):
        print(f"       {fact}")
    findings = [*compare(calm, killed, soak), *soak.findings, *episodes(folder)]
    for what, sound in findings:
        print(f"{'ok   ' if sound else 'WRONG'}  {what}")
    return 0 if all(sound for _, sound in findings) else 1


def make_workspaces(folder: Path, pictures: int) -> dict[str, str]:
    """Two projects of the same scenes, and a temporary folder for all that is killed. The value:
    each picture's SHA-256 by that of the data URL which the teacher sees."""
    scenes = folder / "scenes"
    write_scenes(scenes / "pictures", scenes / TRUTH, pictures, 0)
    (folder / TEMPORARY).mkdir()
    for name in (CALM, KILLED):
        shutil.copytree(scenes, folder / name, copy_function=os.link)
    side = demo_config("http://127.0.0.1", 0).teachers[0].max_side
    files = sorted((scenes / "pictures").iterdir())
    urls = ((path, encode_picture(path, side)[0]) for path in files)
    return {sha256(url.encode()).hexdigest(): sha256_file(path) for path, url in urls}


def configure(root: Path, url: str) -> None:
    """The demo's configuration."""
    write_text(root / "pocketvlm.yaml", commented_yaml(demo_config(url, 0)))


def start(root: Path, number: int) -> Running:
    """`pocketvlm run`; what it says lies beside the workspace."""
    log = root.parent / f"{root.name}-{number:02}.log"
    return Running(root, log, root.parent / TEMPORARY)


def check(running: Running) -> None:
    """PocketError when a run failed that nobody killed."""
    if code := running.finish():
        raise PocketError(f"a run ended by itself with {code}:\n{running.last_words}")


def run_calm(root: Path) -> dict[str, float]:
    """The undisturbed run; the seconds of each stage. PocketError when it fails."""
    with serve() as (url, _):
        configure(root, url)
        say(f"the undisturbed run first, some minutes; `pocketvlm status -c {root}/pocketvlm.yaml`")
        running = start(root, 0)
        check(running)
    seconds = {name: read_json(Workspace(root).manifest(name))["seconds"] for name in NAMES}
    say(f"undisturbed: {running.seconds:.0f} s")
    return seconds


@dataclass
class Soak:
    """The killed run."""

    kills: list[Kill]
    asked: dict[str, int]
    """How often the teacher was asked about each picture, by its SHA-256."""
    sent: dict[str, int]
    """How often it was told the whole answer."""
    starts: int
    seconds: float
    findings: list[Finding]


def run_killed(root: Path, marksman: Marksman, names: Mapping[str, str]) -> Soak:
    """Run and kill, again and again, then to the end. PocketError when a run fails by itself."""
    soak, began, alive = Soak([], {}, {}, 0, 0.0, []), time.monotonic(), list[str]()
    with serve() as (url, accounts):

        def told(what: str) -> dict[str, int]:
            return {names[url]: count for url, count in accounts()[what].items()}

        configure(root, url)
        before: dict[str, str] = {}
        while len(soak.kills) < KILLS:
            soak.starts += 1
            aim = marksman.aim(unfinished(root))
            running = start(root, soak.starts)
            if running.strike(aim):
                alive += strays(root)
                kill = what_it_hit(running, aim, before, told("asked"))
                marksman.hit[kill.stage] += kill.within
                before |= kill.in_flight
                soak.kills.append(kill)
                say(f"{len(soak.kills)}: {describe(kill)}")
            else:
                check(running)
        soak.starts += 1
        check(start(root, soak.starts))
        soak.asked, soak.sent = told("asked"), told("sent")
    soak.seconds = time.monotonic() - began
    alive += strays(root)
    soak.findings.append((f"processes: {named('left at work', alive)}", not alive))
    return soak


def what_it_hit(
    running: Running, aim: Aim, before: Mapping[str, str], asked: Mapping[str, int]
) -> Kill:
    """How things stand after a kill; `before`: the calls that earlier ones cut off."""
    rows = ledger(running.root)
    calls = open_calls(rows)
    return Kill(
        stage=running.at or unfinished(running.root) or END,
        within=running.at is not None,
        seconds=running.seconds,
        aim=str(aim),
        in_flight={call: calls[call] for call in calls.keys() - before.keys()},
        answered=frozenset(row["picture"] for row in usable(rows)),
        asked=asked,
    )


def ledger(root: Path) -> list[Row]:
    """Rows of the ledger; what a kill has torn off the end is none yet."""
    path = Workspace(root).answers
    lines = path.read_bytes().splitlines() if path.is_file() else []
    return [row for line in lines if (row := as_row(line))]


def compare(calm: Path, killed: Path, soak: Soak) -> list[Finding]:
    """The killed workspace against the undisturbed one."""
    rows = ledger(killed)
    before, after = (accuracy(root) for root in (calm, killed))
    hit = {kill.stage for kill in soak.kills if kill.within}
    return [
        (f"stages hit while at work: {len(hit)} of {len(NAMES)}", len(hit) == len(NAMES)),
        audit_files("dataset", calm / "dataset", killed / "dataset"),
        *audit_answers(ledger(calm), rows, soak.kills),
        *audit_payments(rows, soak.asked, soak.sent, soak.kills),
        (f"accuracy {before:.4f} undisturbed, {after:.4f} killed", before == after),
        check_bundle(killed / "bundle"),
        audit_leftovers(killed),
    ]


def accuracy(root: Path) -> float:
    """Of the shipped files, in llama.cpp."""
    return float(read_json(root / "report" / "metrics.json")["accuracy"])


def check_bundle(bundle: Path) -> Finding:
    """`pocketvlm bundle --check`."""
    command = [sys.executable, "-m", "pocketvlm", "bundle", "--check", str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = (done.stderr.strip() or "sound").splitlines()[-1]
    return f"bundle --check: {said}", done.returncode == 0


def facts(calm: Path, killed: Path, temporary: Path) -> list[str]:
    """What is no target: how much is equal to the last bit, and what lies in the system's temporary
    folder, where no later run can tell whose it is."""
    told = [audit_files(name, calm / name, killed / name) for name in BYTES]
    left = [one for one in temporary.rglob("*") if one.is_file()]
    mib = sum(one.stat().st_size for one in left) / 2**20
    words = [f"{'same bytes' if same else 'OTHER BYTES'}: {what}" for what, same in told]
    return [*words, f"{len(left)} files, {mib:.1f} MiB in TMPDIR"]


def episodes(folder: Path) -> list[Finding]:
    """A full disk and too little memory, each with a workspace of few pictures."""
    findings: list[Finding] = []
    with serve() as (url, _):
        for name, disk in (("full-disk", True), ("out-of-memory", False)):
            root = folder / name
            try:
                with small_disk(root) if disk else nullcontext():
                    few(folder / "scenes", root)
                    configure(root, url)
                    begin = partial(next, (start(root, number) for number in count()))
                    findings += full_disk(root, begin) if disk else out_of_memory(begin)
            except Unavailable as why:
                print(f"       {name}: skipped, {why}")
    return findings


def few(scenes: Path, root: Path) -> None:
    """Some of the scenes."""
    (root / "pictures").mkdir(parents=True)
    shutil.copy(scenes / TRUTH, root)
    for path in sorted((scenes / "pictures").iterdir())[:FEW]:
        shutil.copy(path, root / "pictures")


def describe(kill: Kill) -> str:
    """One kill in a line."""
    where = f"in {kill.stage}" if kill.within else f"before {kill.stage}"
    calls = f", {len(kill.in_flight)} calls in flight" if kill.in_flight else ""
    return f"killed after {kill.seconds:.2f} s {where} (aim: {kill.aim}){calls}"


def print_kills(soak: Soak, seconds: Mapping[str, float]) -> None:
    """Kills by stage."""
    within = Counter(kill.stage for kill in soak.kills if kill.within)
    ahead = Counter(kill.stage for kill in soak.kills if not kill.within)
    print(f"{'stage':10} {'in it':>6} {'before it':>10} {'seconds undisturbed':>20}")
    for name in (*NAMES, END):
        print(f"{name:10} {within[name]:6} {ahead[name]:10} {seconds.get(name, 0.0):20.1f}")
    print(
        f"{'all':10} {within.total():6} {ahead.total():10} {sum(seconds.values()):20.1f}; "
        f"{soak.starts} starts in {soak.seconds:.0f} s"
    )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # nothing that was started lives on
    given = sys.argv[1:]
    many, seed = int(given[1]) if given[1:] else PICTURES, int(given[2]) if given[2:] else 0
    if given:
        sys.exit(main(Path(given[0]).resolve(), many, seed))
    with tempfile.TemporaryDirectory() as made:
        sys.exit(main(Path(made), many, seed))
