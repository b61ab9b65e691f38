"""The pictures that are asked about, and what counts as true."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pocketvlm.dataset import Line, read_split
from pocketvlm.errors import PocketError
from pocketvlm.progress import say
from pocketvlm.project import Project
from pocketvlm.workspace import read_rows, sha256_file

FALLBACK = ("test", "val", "train")
"""Splits in the order they are tried; anything but test is said loudly."""


@dataclass(frozen=True)
class Example:
    """One picture of the measured split."""

    id: str
    """SHA-256 of the original file; of the bitmap where a line names none."""
    path: Path
    """The device bitmap."""
    truth: str
    teacher: str
    """The dataset's label."""
    confidence: float
    """The teacher's, 0..1."""
    reason: str
    source: str
    reviewed: bool


def read_examples(project: Project) -> tuple[str, list[Example]]:
    """The first split that holds pictures, and its lines under `validate.truth`.

    PocketError when there is none, when a label is outside the task or a truth is missing."""
    name, lines = _first_split(project)
    examples = [_example(project.workspace.dataset, line) for line in lines]
    truth = project.config.validate_.truth
    if truth == "reviewed":
        examples = [example for example in examples if example.reviewed]
        if not examples:
            raise PocketError(
                f"validate.truth is reviewed, but no line of {name} is: give a custom dataset "
                "whose lines say so (reviewed: true), or measure against the teacher"
            )
    elif truth == "known":
        known = _known(project)
        _check_known(project, known, examples)
        examples = [replace(one, truth=known[one.id]) for one in examples]
    _check_labels(project, name, examples)
    return name, examples


def read_val(project: Project) -> list[Example]:
    """The pictures of val whose truth is known; there may be none."""
    lines = read_split(project, "val")
    examples = [_example(project.workspace.dataset, line) for line in lines]
    truth = project.config.validate_.truth
    if truth == "reviewed":
        examples = [example for example in examples if example.reviewed]
    elif truth == "known":
        known = _known(project)
        examples = [replace(one, truth=known[one.id]) for one in examples if one.id in known]
    _check_labels(project, "val", examples)
    return examples


def _first_split(project: Project) -> tuple[str, list[Line]]:
    for name in FALLBACK:
        lines = list(read_split(project, name))
        if lines:
            if name != FALLBACK[0]:
                say(f"WARNING: {fallback_warning(name)}")
            return name, lines
    raise PocketError("the dataset holds no picture: collect more and run `pocketvlm prepare`")


def fallback_warning(split: str) -> str:
    """What measuring on another split than test means."""
    seen = "was trained on" if split == "train" else "chose the best epoch by"
    return (
        f"test is empty, so accuracy is measured on {split}, which the student {seen}: it says "
        "little about new pictures; collect more"
    )


def _example(folder: Path, line: Line) -> Example:
    return Example(
        id=line.id or sha256_file(folder / line.image),
        path=folder / line.image,
        truth=line.label,
        teacher=line.label,
        confidence=1.0 if line.confidence is None else line.confidence,
        reason=line.reason or "",
        source=line.source,
        reviewed=line.reviewed,
    )


def _known(project: Project) -> dict[str, str]:
    """The labels of `validate.truth_file` by picture."""
    rows = read_rows(_truth_file(project))
    return {str(row.get("sha256")): str(row.get("label")) for row in rows}


def _truth_file(project: Project) -> Path:
    file = project.config.validate_.truth_file
    assert file is not None  # config.Validate
    return project.path(file)


def _check_known(project: Project, known: dict[str, str], examples: Sequence[Example]) -> None:
    missing = [example.id for example in examples if example.id not in known]
    if missing:
        raise PocketError(
            f"{_truth_file(project)} lacks the truth of {len(missing)} of {len(examples)} "
            f"pictures, the first {missing[0]}: add {{sha256, label}} lines for them"
        )


def _check_labels(project: Project, split: str, examples: Sequence[Example]) -> None:
    labels = project.contract.labels
    unknown = Counter(example.truth for example in examples if example.truth not in labels)
    if unknown:
        raise PocketError(
            f"the truth of {split} holds labels outside task.labels: {dict(unknown)}; correct "
            "them or run `pocketvlm prepare` again"
        )
