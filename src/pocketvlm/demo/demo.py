"""The embedded default: drawn scenes, a rule teacher on loopback, a tiny student, the whole way."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from pocketvlm.config import Config, commented_yaml, parse_config
from pocketvlm.demo.scenes import write_scenes
from pocketvlm.demo.teacher import MODEL, serve
from pocketvlm.errors import ConfigError, GateMissed
from pocketvlm.label import answers_of
from pocketvlm.pipeline import run
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.workspace import Row, read_json, read_rows, write_json, write_text

BASE = Path(__file__).parent / "base"
"""The tiny student's base, pre-trained on attributes of pictures (pretrain.py)."""

PICTURES = 3000
TRUTH = "truth.jsonl"


def run_demo(folder: Path, seed: int, pictures: int) -> Row:
    """Draw, label, train, convert and judge in `folder`; a second run goes on where one stopped."""
    started = time.monotonic()
    say(
        f"The demo draws {pictures} scenes of the five elements, lets a rule teacher label them\n"
        "over HTTP, trains a tiny SmolVLM and judges its GGUF files in llama.cpp against the truth."
    )
    draw(folder, seed, pictures)
    with serve() as url:
        config = demo_config(url, seed)
        write_text(folder / "pocketvlm.yaml", commented_yaml(config))
        project = Project.of(config, folder.resolve())
        missed = attempt(project)
    metrics: Row = read_json(folder / "report" / "metrics.json")
    metrics |= {"seconds": round(time.monotonic() - started), "teacher": teacher_share(project)}
    say(summary(folder, metrics))
    if missed:
        raise missed
    return metrics


def attempt(project: Project) -> GateMissed | None:
    """Run all stages; a missed gate is not raised, because there is something to show."""
    try:
        run(project)
    except GateMissed as missed:
        return missed
    return None


def draw(folder: Path, seed: int, pictures: int) -> None:
    """Draw the scenes unless these are here already; ConfigError when others are, or anything
    that the demo would write over."""
    wanted = {"seed": seed, "pictures": pictures}
    record = folder / "scenes.json"
    if not record.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty and no demo: give another --folder")
        write_json(record, wanted)
    elif read_json(record) != wanted:
        raise ConfigError(f"{folder} holds a demo of other scenes: give another --folder")
    if (folder / TRUTH).is_file():  # written last
        say("scenes: already drawn")
    else:
        write_scenes(folder / "pictures", folder / TRUTH, pictures, seed)


def demo_config(url: str, seed: int) -> Config:
    """The default configuration with the demo's base, teacher, truth and a short training."""
    overrides: dict[str, Any] = {
        "base": {"model": str(BASE)},
        "collect": {"folder": "pictures", "licence": "Apache-2.0 (drawn by pocketvlm)"},
        "teachers": [{"base_url": url, "model": MODEL, "max_side": 256, "concurrency": 4}],
        "train": {
            "vision": "connector",  # a tower this small does not suffice as it is
            "mirror": True,  # nothing in nature depends on left and right
            "dropout": 0.0,  # mirrored pictures do its work, and cost no time
            "epochs": 10,
            "learning_rate": 2e-3,
            "effective_batch": 16,
            "patience": 10,
            "seed": seed,
        },
        "validate": {"truth": "known", "truth_file": TRUTH},
    }
    return parse_config(overrides)


def teacher_share(project: Project) -> float:
    """How often the rule teacher meets the truth, over all scenes."""
    truth = {row["sha256"]: row["label"] for row in read_rows(project.workspace.root / TRUTH)}
    right: list[bool] = [
        truth[picture["sha256"]] == answer.get("label")
        for picture, answer in answers_of(project)
        if picture["sha256"] in truth  # a picture of one's own may lie among the scenes
    ]
    return round(sum(right) / len(right), 4)


def summary(folder: Path, metrics: Row) -> str:
    """What came out, and where to look next."""
    low, high = metrics["ci"]
    shipped = next(row for row in metrics["ladder"] if row["ships"])
    broken = metrics["audit"]["first_break"]
    audited = f"they differ at {broken['level']}" if broken else "all levels equal"
    command = sys.argv[0] if Path(sys.argv[0]).name == "pocketvlm" else "pocketvlm"
    picture = next(iter(sorted((folder / "pictures").iterdir())))
    return (
        f"\nDone in {metrics['seconds'] / 60:.1f} minutes.\n"
        f"  accuracy in llama.cpp ({metrics['type']}, known truth): {metrics['accuracy']:.3f} "
        f"[{low:.3f}, {high:.3f}] on {metrics['n']} pictures\n"
        f"  before: base {metrics['base']['likelihood']:.3f} by likelihood, "
        f"{metrics['base']['greedy']:.3f} greedy; teacher {metrics['teacher']:.3f}\n"
        f"  torch and llama.cpp agree on {metrics['agreement']:.1%}; audit of "
        f"{metrics['audit']['pictures']} pictures: {audited}\n"
        f"  {shipped['mib']:.1f} MiB; {metrics['ms_per_picture']:.0f} ms a picture; "
        f"{metrics['recommendation']['words']}\n"
        f"  folder: {folder.resolve()}\n"
        f"  look at the report: python3 -m webbrowser {folder / 'report' / 'report.html'}\n"
        + (
            f"  classify a picture: {command} predict -c {folder}/pocketvlm.yaml {picture}"
            if (folder / "bundle").is_dir()
            else "  no bundle: it is made where the gates are reached"
        )
    )
