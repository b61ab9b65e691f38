"""How much of the student has to learn: the demo with frozen vision, connector and tower.

    python benchmarks/vision.py [FOLDER]

Three seeds of scenes and training; each is drawn, labelled and prepared once and then trained with
each `train.vision`. An interrupted one goes on in FOLDER (default: a temporary one). Accuracy is
that of the shipped Q8_0 files in llama.cpp against the known truth. Target: what learns more is not
worse, beyond what chance explains. Exit code 1 when it is missed. About an hour on 2 quiet cores.
"""

import os
import shutil
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import mean

from pocketvlm.config import Config
from pocketvlm.demo.demo import PICTURES, demo_config, draw
from pocketvlm.demo.teacher import serve
from pocketvlm.errors import GateMissed
from pocketvlm.pipeline import run
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_json

SEEDS = (0, 1, 2)
MODES = ("frozen", "connector", "lora")
CHANCE = 0.02
"""Two standard errors of the mean over three seeds of 300 test pictures at 0.95."""


def prepared(folder: Path, seed: int) -> Config:
    """Draw, label and prepare the scenes of one seed in `folder`."""
    draw(folder, seed, PICTURES)
    with serve() as url:
        config = demo_config(url, seed)
        run(Project.of(config, folder.resolve()), last="prepare")
    return config


def measure(source: Path, config: Config, mode: str) -> Row:
    """Train, convert and judge a copy of a prepared workspace; its metrics and its training."""
    folder = source.with_name(f"{source.name}-{mode}")
    if not folder.is_dir():
        shutil.copytree(source, folder, copy_function=_link_pictures)
    train = config.train.model_copy(update={"vision": mode})
    project = Project.of(config.model_copy(update={"train": train}), folder.resolve())
    try:
        run(project, first="train", last="validate")
    except GateMissed as missed:
        say(str(missed))
    metrics: Row = read_json(folder / "report" / "metrics.json")
    return metrics | {"training": read_json(project.workspace.manifest("train"))}


def _link_pictures(source: str, target: str) -> None:
    if source.endswith(".png"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def main(root: Path) -> int:
    """Print a line a seed and mode; the exit code."""
    found: dict[str, list[float]] = {mode: [] for mode in MODES}
    for seed in SEEDS:
        source = root / f"seed-{seed}"
        config = prepared(source, seed)
        for mode in MODES:
            row = measure(source, config, mode)
            found[mode].append(row["accuracy"])
            low, high = row["ci"]
            training = row["training"]
            print(
                f"seed {seed}, {mode:9}: accuracy {row['accuracy']:.3f} [{low:.3f}, {high:.3f}], "
                f"n {row['n']}, agreement {row['agreement']:.3f}, "
                f"{training['figures']['trainable'] / 1e3:.0f} thousand weights learn, "
                f"training {training['seconds']:.0f} s",
                flush=True,
            )
    means = [mean(found[mode]) for mode in MODES]
    met = all(after >= before - CHANCE for before, after in pairwise(means))
    for mode, value in zip(MODES, means, strict=True):
        print(f"{mode:9}: mean accuracy {value:.3f}")
    print(f"target: none below the one before by more than {CHANCE}: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as made:
        sys.exit(main(Path(made)))
