"""The stages of the way: what each runs, what it depends on, and what it leaves behind."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketvlm.progress import say
from pocketvlm.signals import end_if_told
from pocketvlm.workspace import Row, fingerprint, names_and_sizes, sha256_json

if TYPE_CHECKING:  # the command line shows its help without loading the configuration's models
    from pocketvlm.project import Project


@dataclass(frozen=True)
class Stage:
    """One step of the data's way. Paths are relative to the workspace."""

    name: str
    help: str
    settings: tuple[str, ...]
    """Sections of the configuration that change its result."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, project: Project) -> Row:
        """Do the work; the room is imported only now, because some take seconds to load."""
        if ROOMS[self.name] == "student" and "torch" not in sys.modules:
            say(f"{self.name}: loading torch ...")
        room = importlib.import_module(f"pocketvlm.{ROOMS[self.name]}")
        end_if_told()
        work: Callable[[Project], Row] = getattr(room, self.name)
        return work(project)

    def values(self, project: Project) -> Row:
        """The settings that its result depends on."""
        from pocketvlm.sections import MACHINE

        how = HOW | {"train": MACHINE}
        config = project.config.model_dump(mode="json", by_alias=True, exclude=how)
        return {name: config[name] for name in self.settings}

    def state(self, project: Project) -> Row:
        """Fingerprints of everything the result depends on."""
        state: Row = {name: sha256_json(value) for name, value in self.values(project).items()}
        root = project.workspace.root
        state |= {path: fingerprint(root / path) for path in self.inputs}
        if self.name == "collect":
            state["pictures"] = _listing(project.path(project.config.collect.folder))
        if self.name == "prepare" and project.config.prepare.custom:
            custom = project.path(project.config.prepare.custom)
            state["custom"] = fingerprint(custom)
            state["custom pictures"] = _custom_pictures(custom)
        local = project.path(Path(project.config.base.model))
        if self.name == "train" and local.is_dir():
            from pocketvlm.base import find_base

            state["the base's files"] = find_base(project).record["sha256"]
        if self.name in ("train", "validate"):
            state["dataset/images"] = names_and_sizes(root / "dataset" / "images")
        if self.name in ("validate", "bundle"):
            state["the llama.cpp build"] = _runtime()
        if self.name == "validate" and project.config.validate_.truth_file:
            state["truth"] = fingerprint(project.path(project.config.validate_.truth_file))
        return state

    def results(self, project: Project) -> Row:
        """Fingerprints of what the stage left."""
        root = project.workspace.root
        results: Row = {path: fingerprint(root / path) for path in self.outputs}
        if self.name == "prepare":
            results["dataset/images"] = names_and_sizes(root / "dataset" / "images")
        return results


SPLITS = ("dataset/train.jsonl", "dataset/val.jsonl", "dataset/test.jsonl", "dataset/contract.json")

STAGES = (
    Stage(
        "collect",
        "Gather pictures of every source into originals/.",
        settings=("collect",),
        inputs=(),
        outputs=("originals/index.jsonl",),
    ),
    Stage(
        "label",
        "Ask the teachers about every picture that has no answer yet.",
        settings=("task", "teachers", "label"),
        inputs=("originals/index.jsonl",),
        outputs=("labels/answers.jsonl", "labels/report.html"),
    ),
    Stage(
        "prepare",
        "Make device bitmaps and the train, val and test splits.",
        settings=("task", "device", "teachers", "label", "prepare"),
        inputs=("originals/index.jsonl", "labels/answers.jsonl", "labels/reviews.jsonl"),
        outputs=(*SPLITS, "dataset/originals.json"),
    ),
    Stage(
        "train",
        "Train the LoRA adapter.",
        settings=("task", "device", "base", "train"),
        inputs=SPLITS,
        outputs=("adapter",),
    ),
    Stage(
        "merge",
        "Fold the adapter into the base, in float32.",
        settings=("base",),
        inputs=("adapter",),
        outputs=("merged",),
    ),
    Stage(
        "convert",
        "Write the GGUF files for the phone.",
        settings=("device", "export"),
        inputs=("merged",),
        outputs=("gguf",),
    ),
    Stage(
        "validate",
        "Measure the shipped files in llama.cpp on the test split.",
        settings=("task", "device", "prepare", "export", "validate", "gates", "audit"),
        inputs=(*SPLITS, "dataset/originals.json", "adapter", "merged", "gguf"),
        outputs=("report/metrics.json", "report/report.html"),
    ),
    Stage(
        "bundle",
        "Pack what the app takes.",
        settings=("task", "device", "export"),
        inputs=("gguf", "report/metrics.json"),
        outputs=("bundle",),
    ),
)

HOW: dict[str, Any] = {
    "teachers": {
        "__all__": {
            *("base_url", "api_key_env", "batch", "concurrency", "timeout", "retries"),
            *("requests_per_minute", "tokens_per_minute"),
        }
    },
    "label": {"budget_usd"},
}
"""Settings that change how the work is done, not what comes out."""

ROOMS = {
    "collect": "collect",
    "label": "label",
    "prepare": "prepare",
    "train": "student",
    "merge": "student",
    "convert": "export",
    "validate": "validate",
    "bundle": "bundle",
}
"""Which room does a stage's work."""


def _custom_pictures(custom: Path) -> str | None:
    """Sizes and times of the pictures that a custom dataset names."""
    from pocketvlm.prepare.source import is_file, read_any_json

    if not custom.is_file():
        return None
    paths = (custom.parent / str(row.get("image_path")) for row in read_any_json(custom))
    facts = [path.stat() for path in paths if is_file(path)]
    return sha256_json([[fact.st_size, fact.st_mtime_ns] for fact in facts])


def _runtime() -> str | None:
    """The shared libraries of llama.cpp, not loaded: what another build answers is not known."""
    return fingerprint(Path(str(distribution("llama-cpp-python").locate_file("llama_cpp/lib"))))


def _listing(folder: Path) -> str | None:
    """Names, sizes and times of a folder's files: enough to see that pictures came or went."""
    if not folder.is_dir():
        return None
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    facts = [(path, path.stat()) for path in files]
    return sha256_json(
        [[path.relative_to(folder).as_posix(), s.st_size, s.st_mtime_ns] for path, s in facts]
    )
