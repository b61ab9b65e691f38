"""The ladder of the demo over every type and three seeds: what each step on the way costs.

    python benchmarks/ladder.py [FOLDER]

Each seed's demo is run in FOLDER (default: a temporary one; an interrupted one goes on there), then
converted to every type and judged in llama.cpp against the known truth. Changes are counted
together over the seeds, each against the step that it was made from. Targets: torch and the F16 and
Q8_0 files agree on 99.5% of the answers; Q8_0, as it ships, is not a point worse than F16 (paired
95% interval); no control accuses a student that learned. Exit code 1 when one is missed. About 20
minutes on 2 quiet cores.
"""

import sys
import tempfile
from pathlib import Path
from statistics import mean

from pocketvlm.demo.demo import PICTURES, attempt, demo_config, draw
from pocketvlm.demo.teacher import serve
from pocketvlm.intervals import mcnemar, paired
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.sections import Export
from pocketvlm.workspace import Row, read_json

SEEDS = (0, 1, 2)
EVERY = Export(
    types=("Q8_0", "F32", "F16", "Q5_0", "Q4_0", "Q4_K_M"), mmproj=("F16", "F32", "Q8_0")
)
SAME = {"llama.cpp F16": 0.995, "llama.cpp Q8_0": 0.995}
"""Least share of equal answers with the step before, over all seeds."""
MARGIN = -0.01


def judged(folder: Path, seed: int) -> Row:
    """metrics.json of one seed's demo with every type."""
    draw(folder, seed, PICTURES)
    with serve() as url:
        config = demo_config(url, seed).model_copy(update={"export": EVERY})
        if missed := attempt(Project.of(config, folder.resolve())):
            say(str(missed))
    metrics: Row = read_json(folder / "report" / "metrics.json")
    return metrics


def together(runs: list[Row], step: str) -> Row:
    """One step over all seeds."""
    rungs = [next(rung for rung in run["ladder"] if rung["step"] == step) for run in runs]
    sizes = [run["n"] for run in runs]
    found: Row = {
        "accuracy": [rung["accuracy"] for rung in rungs],
        "mib": rungs[0]["mib"],
        "ms": mean(rung["ms"] for rung in rungs),
        "before": rungs[0]["before"],
        "change": None,
        "agreement": None,
    }
    if rungs[0]["change"]:
        gained, lost = (sum(rung["change"][key] for rung in rungs) for key in ("gained", "lost"))
        found["change"] = (*paired(gained, lost, sum(sizes)), mcnemar(gained, lost))
        pairs = zip(rungs, sizes, strict=True)
        found["agreement"] = sum(rung["agreement"] * n for rung, n in pairs) / sum(sizes)
    return found


def line(step: str, row: Row) -> str:
    """One step for people."""
    text = f"{step:30}" + "".join(f"{share:7.3f}" for share in row["accuracy"])
    text += f"{mean(row['accuracy']):8.3f}"
    if row["change"]:
        difference, low, high, p = (float(value) for value in row["change"])
        text += f"{100 * difference:+8.2f} [{100 * low:+.2f}, {100 * high:+.2f}]{p:7.3f}"
        text += f"{row['agreement']:9.1%}"
    else:
        text += " " * 40
    return f"{text}{row['mib']:9.2f}{row['ms']:8.1f}"


def main(root: Path) -> int:
    """Print the ladder and what missed its target; the exit code."""
    runs = [judged(root / f"seed-{seed}", seed) for seed in SEEDS]
    steps = [rung["step"] for rung in runs[0]["ladder"]]
    rows = {step: together(runs, step) for step in steps}
    n = sum(run["n"] for run in runs)
    seeds = "".join(f"{f'seed {seed}':>7}" for seed in SEEDS)
    print(
        f"{'step':30}{seeds}{'mean':>8}  points to the step before       p  agreement    MiB   ms"
    )
    for step, row in rows.items():
        print(line(step, row))
    missed = [
        f"{step}: {rows[step]['agreement']:.1%} equal answers, wanted {least:.1%}"
        for step, least in SAME.items()
        if rows[step]["agreement"] < least
    ]
    low = rows["llama.cpp Q8_0"]["change"][1]
    if low < MARGIN:
        missed.append(f"Q8_0 may be {-100 * low:.2f} points worse than F16")
    for seed, run in zip(SEEDS, runs, strict=True):
        fitted, advice = run["calibration"], run["recommendation"]["words"]
        print(
            f"seed {seed}: n {run['n']}, ships {run['model']} with {run['mmproj']}; temperature "
            f"{fitted['temperature']:.2f}, ECE {fitted['ece_before']:.3f} to {fitted['ece']:.3f}, "
            f"sure of {fitted['coverage'] or 0:.1%}, right then {fitted['accuracy_when_sure']}\n  "
            f"{advice}\n  mmproj: {run['mmproj_choice']}"
        )
        failed = [row["name"] for row in run["controls"] if row["passed"] is False]
        missed += [f"seed {seed}: the control {name!r} accuses the student" for name in failed]
    print(f"{n} pictures over {len(SEEDS)} seeds")
    print("\n".join(f"MISSED: {one}" for one in missed) or "all targets met")
    return 1 if missed else 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(main(Path(folder)))
