"""Runs side by side: what each measured, and what it changed against the first.

A run is known by what it left: metrics.json, beside it predictions.jsonl, and in its workspace the
adapter's records. Older files lack some of it; what is not known is None."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketvlm import intervals
from pocketvlm.base import RECORD
from pocketvlm.errors import ConfigError, PocketError
from pocketvlm.validate.compare.kinds import check_kinds
from pocketvlm.workspace import Row, read_record, read_rows

METRICS, PREDICTIONS = "metrics.json", "predictions.jsonl"

LEAST = 2
"""Runs that can be compared."""


@dataclass(frozen=True)
class Run:
    """What one run left behind."""

    home: Path
    """What people call it: its workspace, or the folder of its metrics.json."""
    metrics: Row
    pictures: dict[str, Row]
    """Its predictions by picture; empty where there are none."""
    base: str | None
    epochs: float | None
    """Of the adapter that was kept."""

    def right(self, picture: str) -> bool:
        """Whether a picture was answered right."""
        return bool(self.pictures[picture].get("right"))

    def truth(self, picture: str) -> str | None:
        """What is true of a picture."""
        return self.pictures[picture].get("truth")


def compare(paths: Sequence[Path]) -> Row:
    """`runs`, a row a run in the order given with its `change` against the first, and `warnings`:
    why runs are not comparable.

    ConfigError for fewer than two or one given twice, PocketError for one without a verdict."""
    if len(paths) < LEAST:
        raise ConfigError("name at least two runs: workspaces, report folders or metrics.json")
    runs = [read_run(path) for path in paths]
    homes = [run.home for run in runs]
    if twice := [str(home) for home in homes if homes.count(home) > 1]:
        raise ConfigError(f"{twice[0]} is named twice: name each run once")
    names = short_names(homes)
    first = runs[0]
    rows = [
        {"name": name, **row_of(run), "change": None if run is first else change(first, run)}
        for name, run in zip(names, runs, strict=True)
    ]
    warnings = [
        f"{name} and {names[0]}: {reason}"
        for name, run in zip(names[1:], runs[1:], strict=True)
        for reason in differences(first, run)
    ]
    return {"runs": rows, "warnings": warnings}


def read_run(path: Path) -> Run:
    """A workspace, a folder that holds metrics.json, or that file. PocketError when there is
    none, or when it holds no verdict."""
    file = next(
        (one for one in (path, path / METRICS, path / "report" / METRICS) if one.is_file()), None
    )
    if file is None:
        raise PocketError(
            f"{path} holds no verdict ({METRICS}): run `pocketvlm validate` there, or name another"
        )
    metrics = read_record(file)
    check_kinds(file, metrics)
    report = file.resolve().parent
    of_workspace = report.name == "report"
    beside = report / PREDICTIONS
    record, history = (
        read_record(path) if of_workspace and path.is_file() else {}
        for path in (report.parent / "adapter" / name for name in (RECORD, "history.json"))
    )
    return Run(
        home=report.parent if of_workspace else report,
        metrics=metrics,
        pictures={str(row.get("id")): row for row in read_rows(beside)} if beside.is_file() else {},
        base=record.get("model"),
        epochs=(history.get("best") or {}).get("epoch"),
    )


def short_names(homes: Sequence[Path]) -> list[str]:
    """The shortest end of each path that no other has, after what all of them end with."""
    parts = [home.parts for home in homes]
    while all(len(one) > 1 for one in parts) and len({one[-1] for one in parts}) == 1:
        parts = [one[:-1] for one in parts]
    return [_shortest_end(one, [other for other in parts if other != one]) for one in parts]


def _shortest_end(one: tuple[str, ...], others: Sequence[tuple[str, ...]]) -> str:
    for length in range(1, len(one) + 1):
        if all(other[-length:] != one[-length:] for other in others):
            break
    return str(Path(*one[-length:]))


def row_of(run: Run) -> Row:
    """The figures that are shown of a run; None where it does not say."""
    known = run.metrics
    ladder: list[Row] = known.get("ladder") or []
    shipped = [rung for rung in ladder if rung.get("ships")] or [
        rung for rung in ladder if rung.get("step") == f"llama.cpp {known.get('type')}"
    ]
    return {
        **{name: known[name] for name in ("accuracy", "ci", "n")},
        **{name: known.get(name) for name in ("truth", "split", "majority", "macro_f1")},
        "worst_recall": worst_recall(known),
        **{name: known.get(name) for name in ("one_word", "agreement")},
        "mib": shipped[0].get("mib") if shipped else None,
        "ms": known.get("ms_per_picture"),
        **{name: known.get(name) for name in ("type", "mmproj_type", "model", "mmproj")},
        "base": run.base,
        "before": (known.get("base") or {}).get("likelihood"),
        "epochs": run.epochs,
        "labels": known["confusion"]["truth"],
        "contract": known.get("contract"),
        "gates": gates_of(known),
    }


def worst_recall(metrics: Row) -> Row | None:
    """The label that is found least often, of those that occur: `label` and `recall`."""
    rows = metrics.get("per_class") or {}
    found = [(row["recall"], label) for label, row in rows.items() if row["support"]]
    if not found:
        return None
    recall, label = min(found)
    return {"label": label, "recall": recall}


def gates_of(metrics: Row) -> dict[str, bool] | None:
    """Whether each gate was passed; None where none was judged."""
    rows: dict[str, Row] = metrics.get("gates") or {}
    return {name: bool(row["passed"]) for name, row in rows.items()} or None


def change(first: Run, run: Run) -> Row:
    """How much more often `run` is right than `first`: `difference` and its interval, `low` and
    `high` (shares).

    On the pictures that both were asked it is paired: `n`, `gained` and `lost` (right only here,
    only in the first), McNemar's `p`. Where the pictures are not known to be the same, `n` and the
    others are None, and the interval is the wider one of two independent shares."""
    shared = sorted(first.pictures.keys() & run.pictures.keys())
    if not shared:
        difference, low, high = intervals_apart(first.metrics, run.metrics)
        unknown = {"n": None, "gained": None, "lost": None, "p": None}
        return {"difference": difference, "low": low, "high": high, **unknown}
    pairs = [(first.right(key), run.right(key)) for key in shared]
    gained = sum(new and not old for old, new in pairs)
    lost = sum(old and not new for old, new in pairs)
    difference, low, high = intervals.paired(gained, lost, len(shared))
    return {
        "difference": difference,
        "low": low,
        "high": high,
        "n": len(shared),
        "gained": gained,
        "lost": lost,
        "p": intervals.mcnemar(gained, lost),
    }


def intervals_apart(first: Row, second: Row) -> tuple[float, float, float]:
    """Difference of two independent shares and its 95% interval from their Wilson intervals
    (Newcombe, 1998, Interval estimation for the difference between independent proportions,
    method 10)."""
    before, after = first["accuracy"], second["accuracy"]
    below = ((after - second["ci"][0]) ** 2 + (first["ci"][1] - before) ** 2) ** 0.5
    above = ((second["ci"][1] - after) ** 2 + (before - first["ci"][0]) ** 2) ** 0.5
    difference = after - before
    return difference, difference - below, difference + above


def differences(first: Run, run: Run) -> list[str]:
    """Why two runs are not comparable, a sentence each."""
    old, new = first.metrics, run.metrics
    truths = [row.get("truth") for row in (new, old)]
    labels = [", ".join(sorted(row["confusion"]["truth"])) for row in (new, old)]
    found = [
        f"{words} ({here} here, {there} there)"
        for words, (here, there) in (("another truth", truths), ("other labels", labels))
        if here != there
    ]
    found += pictures_differ(first, run)
    if old.get("contract") != new.get("contract"):
        found.append("another device contract (prompt, labels or bitmap)")
    return found


def pictures_differ(first: Run, run: Run) -> list[str]:
    """Whether other pictures were asked about, or other labels held true of the same ones."""
    old, new = first.metrics, run.metrics
    if not (first.pictures and run.pictures):
        if _asked(old) == _asked(new):
            return [
                "without predictions.jsonl beside both, nobody knows whether the pictures are "
                "the same"
            ]
        return [f"other pictures ({_asked(new)} here, {_asked(old)} there)"]
    shared = first.pictures.keys() & run.pictures.keys()
    found = []
    if not len(shared) == len(first.pictures) == len(run.pictures):
        found.append(
            f"other pictures ({_asked(new)} here, {_asked(old)} there; {len(shared)} are in both)"
        )
    moved = sum(first.truth(key) != run.truth(key) for key in shared)
    if moved:
        found.append(f"{moved} of the {len(shared)} pictures in both have another true label")
    return found


def _asked(metrics: Row) -> str:
    return f"{metrics['n']} of {metrics.get('split') or 'an unknown split'}"
