"""The embedded default over three seeds of scenes and training, beside its targets.

    python benchmarks/demo.py [FOLDER]

A demo a seed, about five minutes each on 2 cores; an interrupted one goes on in FOLDER (default: a
temporary one). Accuracy is that of the shipped Q8_0 files in llama.cpp against the known truth.
Exit code 1 when a target is missed.
"""

import sys
import tempfile
from pathlib import Path

from pocketvlm.demo.demo import PICTURES, run_demo
from pocketvlm.errors import GateMissed
from pocketvlm.progress import say
from pocketvlm.workspace import Row, read_json

SEEDS = (0, 1, 2)
ACCURACY, BASE, AGREEMENT = 0.90, 0.5, 0.99


def measure(folder: Path, seed: int) -> Row:
    """metrics.json of one demo."""
    try:
        run_demo(folder, seed, PICTURES)
    except GateMissed as missed:
        say(str(missed))
    metrics: Row = read_json(folder / "report" / "metrics.json")
    return metrics


def met(metrics: Row) -> bool:
    """Whether one demo meets every target."""
    likelihood = metrics["base"]["likelihood"]
    accurate = metrics["accuracy"] >= ACCURACY and likelihood < BASE
    return bool(accurate and metrics["agreement"] >= AGREEMENT)


def main(root: Path) -> int:
    """Print a line a seed; the exit code."""
    rows = {seed: measure(root / f"seed-{seed}", seed) for seed in SEEDS}
    print(f"targets: accuracy >= {ACCURACY}, base < {BASE}, agreement >= {AGREEMENT}")
    for seed, row in rows.items():
        low, high = row["ci"]
        print(
            f"seed {seed}: accuracy {row['accuracy']:.3f} [{low:.3f}, {high:.3f}], n {row['n']}, "
            f"base by likelihood {row['base']['likelihood']:.3f}, agreement {row['agreement']:.3f}"
            f", {row['ms_per_picture']:.0f} ms a picture: {'met' if met(row) else 'MISSED'}"
        )
    return 0 if all(map(met, rows.values())) else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as made:
        sys.exit(main(Path(made)))
