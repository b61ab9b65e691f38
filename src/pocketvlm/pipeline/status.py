"""Where a folder's run stands: stages, progress, figures, cost, cards, disk."""

from __future__ import annotations

import shutil
import socket
from contextlib import suppress
from datetime import UTC, datetime

import psutil

from pocketvlm.errors import PocketError
from pocketvlm.journal import duration, in_words, plainly, stand_of, utc_now
from pocketvlm.nvidia import read_driver
from pocketvlm.pipeline.stages import STAGES
from pocketvlm.pipeline.work import at_work, holder_of, last_run
from pocketvlm.workspace import Row, Workspace, read_record

GIB = 2**30

WORDS = {
    "collect": ("{pictures:,} pictures",),
    "label": ("{asked:,} asked", "{usd:.4f} USD"),
    "prepare": ("{train:,} train, {val:,} val, {test:,} test",),
    "train": ("{epochs} epochs", "best val accuracy {best_accuracy:.3f}"),
    "validate": ("accuracy {accuracy:.3f} on {n:,} pictures",),
}
"""What is worth a word of a finished stage's figures."""


def status(workspace: Workspace) -> Row:
    """`state` (never, starting, running, done, failed, stopped, killed or gate missed), the `run`
    behind it, `stages`, `now` while it works, `usd`, `gpus`, memory and disk in GiB."""
    run = last_run(workspace)
    stand = _stand(workspace) if run else {}
    figures: Row = {
        "folder": str(workspace.root),
        "at": utc_now(),
        "state": run["state"] if run else "never",
        "run": run,
        "holder": holder_of(workspace),
        "stages": [_stage(workspace, stage.name, run, stand) for stage in STAGES],
        "now": stand if at_work(run) else None,
        "usd": _cost(workspace, stand),
        "gpus": _gpus(),
        "memory_gib": _memory(run) if run and at_work(run) else None,
        "available_gib": round(psutil.virtual_memory().available / GIB, 1),
        "free_gib": round(shutil.disk_usage(workspace.root).free / GIB, 1),
    }
    return figures


def _stand(workspace: Workspace) -> Row:
    """What the run last wrote of itself; it only informs, so that a broken one is none."""
    with suppress(PocketError, OSError):
        stand = read_record(stand_of(workspace.root))
        if isinstance(stand.get("figures"), dict):
            return stand
    return {}


def _stage(workspace: Workspace, name: str, run: Row | None, stand: Row) -> Row:
    """One stage: `at work`, or how the run ended in it; else what its manifest says."""
    row: Row = {"stage": name, "state": "to do", "seconds": None, "figures": {}}
    with suppress(PocketError, OSError, KeyError):  # what is broken has to be done
        manifest = read_record(workspace.manifest(name))
        row |= {
            "state": "gate missed" if manifest["gate"] else "done",
            "at": manifest["at"],
            "seconds": manifest["seconds"],
            "figures": manifest["figures"],
        }
    since = stand.get("since", "")
    in_it = run and stand.get("stage") == name and since >= run["at"]
    finished = in_it and row.get("at", "") >= since
    if at_work(run) and run and not finished and name in run["stages"] and row["state"] != "to do":
        row["state"] = "done before" if row["at"] < run["at"] else row["state"]
    if run and in_it and not finished:
        state = "at work" if at_work(run) else run["state"]
        row |= {"state": state, "seconds": _since(since), "figures": {}}
    return row


def _since(at: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()


def _cost(workspace: Workspace, stand: Row) -> float | None:
    """US dollars of the ledger: as the labelling tells while it goes on, else as its stage did."""
    if "usd" in stand.get("figures", {}):
        return float(stand["figures"]["usd"])
    with suppress(PocketError, OSError, KeyError, TypeError):
        return float(read_record(workspace.manifest("label"))["figures"]["usd"])
    return None


def _gpus() -> list[Row]:
    """Each card's name, how busy it is, and memory in GiB."""
    driver = read_driver()
    return [
        {
            "name": card.name,
            "percent": card.percent,
            "used_gib": round((card.memory - card.free) / GIB, 1),
            "total_gib": round(card.memory / GIB, 1),
        }
        for card in (driver.cards if driver else ())
    ]


def _memory(run: Row) -> float | None:
    """Resident memory of the run and its processes, GiB; what they share counts for each."""
    if run["host"] != socket.gethostname():
        return None
    with suppress(psutil.Error):
        process = psutil.Process(run["pid"])
        family = [process, *process.children(recursive=True)]
        return round(float(sum(one.memory_info().rss for one in family)) / GIB, 2)
    return None


def told(figures: Row) -> str:
    """The same for people."""
    run = figures["run"]
    parts = [_head(figures, run), *(_line(row, figures) for row in figures["stages"])]
    if figures["now"] and all(row["state"] != "at work" for row in figures["stages"]):
        parts.append(f"  {_now(figures['now'])}".rstrip())  # another folder's stage: a side's
    return "\n".join([*parts, "", *_machine(figures)])


def _head(figures: Row, run: Row | None) -> str:
    folder, state, holder = figures["folder"], figures["state"], figures["holder"]
    if run is None:
        return f"{folder}: no run is on record"
    if at_work(run):
        return (
            f"{folder}: `{run['command']}` is {state} for {duration(_since(run['at']))}, "
            f"pid {run['pid']} on {run['host']}; log {run['log']}"
        )
    ended = f" at {plainly(run['ended'])}" if run["ended"] else ""
    why = f": {run['message']}" if run["message"] else ""
    now = f"\n`{holder['command']}` is at work, pid {holder['pid']}" if holder else ""
    return f"{folder}: `{run['command']}` {state}{ended}{why}; log {run['log']}{now}"


def _line(row: Row, figures: Row) -> str:
    took = duration(row["seconds"]) if row["seconds"] is not None else ""
    what = _now(figures["now"]) if row["state"] == "at work" else _words(row)
    return f"  {row['stage']:<9} {row['state']:<11} {took:>7}  {what}".rstrip()


def _words(row: Row) -> str:
    """What a finished stage brought; a figure that is missing or empty leaves its words out."""
    said: list[str] = []
    for words in WORDS.get(row["stage"], ()):
        with suppress(KeyError, TypeError):  # a val that is empty has no best accuracy
            said.append(words.format(**row["figures"]))
    return "; ".join(said)


def _now(now: Row) -> str:
    """How far the stage at work is, and its newest figures."""
    stand = [now.get(name) for name in ("done", "total", "eta_seconds")]
    far = in_words(now.get("task", ""), stand[0] or 0, stand[1], stand[2], now.get("note", ""))
    measured = (
        f"{name.replace('_', ' ')} {value:.3f}" for name, value in now.get("figures", {}).items()
    )
    known = [part for part in measured if part.split()[0] not in ("usd", "loss")]
    return "; ".join(part for part in (far, *known) if part)


def _machine(figures: Row) -> list[str]:
    """Cost, cards, memory and disk."""
    used = figures["memory_gib"]
    memory = f"{used} GiB in use, " if used is not None else ""
    cost = figures["usd"]
    return [
        *([f"  cost    {cost:.4f} USD"] if cost is not None else []),
        *(f"  GPU     {_card(card)}" for card in figures["gpus"]),
        f"  memory  {memory}{figures['available_gib']} GiB available",
        f"  disk    {figures['free_gib']} GiB free",
    ]


def _card(card: Row) -> str:
    """One card; what it does not tell is left out."""
    busy = f"{card['percent']}% busy, " if card["percent"] is not None else ""
    return f"{card['name']}: {busy}{card['used_gib']} of {card['total_gib']} GiB"
