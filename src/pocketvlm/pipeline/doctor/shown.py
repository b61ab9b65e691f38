"""What an examination has found, laid out for people: short lines, the disk as a table."""

from collections.abc import Iterator, Sequence
from typing import Any

from pocketvlm.workspace import Row

SMALLEST = 0.005
"""GB of a part that has a line of its own."""

SOON = 0.05
"""Hours that are told as minutes."""


def told(facts: Row) -> str:
    """The facts of `examine`, a line or a table each; what was not asked is left out."""
    return "\n".join(_lines(facts))


def _lines(facts: Row) -> Iterator[str]:
    for name, value in facts.items():
        match name:
            case "packages":
                yield ", ".join(f"{one} {found or 'missing'}" for one, found in value.items())
            case "runtime":
                yield f"runtime: {value['package']} (llama.cpp {value['version']}), takes pictures"
            case "base":
                yield _base(value)
            case "labels":
                yield f"labels: {', '.join(value)}"
            case "layout":
                yield f"layout: {value!r}"
            case "sources":
                yield "sources: " + ", ".join(f"{one} {count}" for one, count in value.items())
            case "teachers":
                yield from map(_teacher, value)
            case "gpu":
                yield from _gpu(value)
            case "training":
                yield _training(value)
            case "memory":
                yield from _memory(value)
            case "disk":
                yield from _disk(value)
            case "warnings":
                yield from (f"warning: {warning}" for warning in value)
            case _:
                yield f"{name}: {value}"


def _base(base: Row) -> str:
    commit = f" at {base['commit'][:12]}" if "commit" in base else ""
    return f"base: {base['model']}{commit}, weights {base.get('weights', 'missing')}"


def _teacher(row: Row) -> str:
    known = [f"{name} {row[name]}" for name in ("key", "price", "endpoint") if name in row]
    return f"teacher: {row['teacher']}: {'; '.join(known)}"


def _gpu(gpu: Any) -> Iterator[str]:
    if not isinstance(gpu, dict):
        yield f"GPU: {gpu or 'none'}"
        return
    for card in gpu["cards"]:
        yield f"GPU: {card['name']}, {card['free_gb']} of {card['memory_gb']} GB free"
    use = "uses it" if gpu["usable"] else "cannot use it"
    yield f"driver {gpu['driver']} (CUDA {gpu['driver_cuda']}); torch {gpu['torch']} {use}"


def _training(row: Row) -> str:
    time = f"about {row['hours']:.1f} h" if row["hours"] >= SOON else "minutes"
    return (
        f"training on the processor: {row['epochs']} epochs over {row['pictures']} pictures take "
        f"{time} on 2 cores such as those that were measured"
    )


def _memory(memory: Row) -> Iterator[str]:
    stages = (f"{name} {row['usual_gb']:.1f}" for name, row in memory["stages"].items())
    yield f"memory, GB: {', '.join(stages)}; free {memory['free_gb']:.1f}"


def _disk(disk: Row) -> Iterator[str]:
    """What is still to be written; what passes stands in brackets, because it is removed."""
    parts: Sequence[Row] = [part for part in disk["parts"] if part["missing"] >= SMALLEST * 1e9]
    yield "disk, GB still to be written (in brackets: for a moment)"
    for part in parts:
        size = f"{part['missing'] / 1e9:.2f}"
        size = f"({size})" if part["passing"] else f"{size} "
        yield f"  {size:>9} {part['stage']:9} {part['what']:38} {part['folder']}"
    for one in disk["disks"]:
        yield f"  {one['needed_gb']:>8.2f}  of {one['free_gb']:.2f} free, {one['folder']}"
