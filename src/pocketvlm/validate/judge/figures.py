"""The figures of a judgement without torch: metrics.json and predictions.jsonl of verdicts/."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pocketvlm.pictures import open_picture
from pocketvlm.project import Project
from pocketvlm.validate import calibration, gates
from pocketvlm.validate.controls import majority
from pocketvlm.validate.controls.control import Judged
from pocketvlm.validate.controls.twins import NAME, have_twins, looks, without
from pocketvlm.validate.examples import Example, fallback_warning
from pocketvlm.validate.judge.subject import Subject, contract_for, hashes
from pocketvlm.validate.judge.unseen import TAUGHT, Unseen
from pocketvlm.validate.scores import answered, likelihoods, prediction_rows, scores, ways
from pocketvlm.validate.slices import slices
from pocketvlm.validate.validate import control_warnings
from pocketvlm.validate.verdict import FEW, TIMES, failed_controls
from pocketvlm.workspace import Row, read_record

if TYPE_CHECKING:
    from pocketvlm.runtime import Asked, Files

TIMED = 12
"""Pictures that are asked one at a time for the milliseconds."""

MIB = 2**20


@dataclass(frozen=True)
class Asking:
    """The pictures of one verdict."""

    split: str
    truth: str
    examples: Sequence[Example]
    images: Sequence[str]
    """What predictions.jsonl calls each."""
    unseen: Unseen | None = None


def measured(project: Project, subject: Subject, asking: Asking, said: Sequence["Asked"]) -> Row:
    """The content of metrics.json: what the stage writes, without torch, audit and training."""
    from pocketvlm.runtime import identity, latency

    contract, examples = contract_for(project, subject), asking.examples
    truth = [example.truth for example in examples]
    judged, near = Judged(truth, answered(contract, said, "greedy")), twins(project, asking)
    first = [open_picture(example.path, exif=False) for example in examples[:TIMED]]
    ms = latency(subject.files, contract, first, stock=subject.stock)
    told = scores(contract, truth, said)
    fitted = recorded_calibration(project, subject.files, subject.type)
    figures: Row = {
        **{name: told[name] for name in ("accuracy", "ci", "n")},
        "truth": asking.truth,
        "split": asking.split,
        "model": subject.files[0].name,
        "mmproj": subject.files[1].name,
        "type": subject.type,
        "mmproj_type": subject.mmproj_type,
        "files": hashes(subject.files),
        "runtime": identity(),
        "contract": project.contract.hash,
        "stock": subject.stock,
        **told,
        "agreement": None,
        "ms_per_picture": round(ms["ms"], 1),
        "ms": {name: round(ms[name], 1) for name in TIMES},
        "tokens": ms["tokens"],
        "base": None,
        "gain": None,
        "ladder": [rung(subject, told, ms)],
        "recommendation": None,
        "ways": ways(contract, truth, said, ms),
        "calibration": fitted and calibrated(fitted, contract.labels, truth, said),
        "controls": [majority(judged).row(), without(near, judged).row()],
        "slices": {} if asking.unseen else slices(examples, judged.answers),
        "data": {"counts": {asking.split: dict(Counter(truth))}},
        "against": asking.unseen.row() if asking.unseen else None,
    }
    figures["gates"] = gates.judge(project.config.gates, figures)
    figures["warnings"] = [
        *warnings(project, subject, asking, figures, sum(near or [])),
        *gates.not_judged(project.config.gates, figures),
    ]
    return figures


def rung(subject: Subject, told: Row, ms: Row) -> Row:
    """The ladder's only one."""
    return {
        "step": subject.step,
        "before": None,
        "type": subject.type,
        "mmproj": subject.mmproj_type,
        "accuracy": told["accuracy"],
        "ci": told["ci"],
        "change": None,
        "agreement": None,
        "mib": round(sum(file.stat().st_size for file in subject.files) / MIB, 2),
        "ms": round(ms["ms"], 1),
        **{f"{name}_ms": round(ms[name], 1) for name in TIMES[:3]},
        "tokens": ms["tokens"]["prompt"],
        "exported": True,
        "ships": True,
    }


def twins(project: Project, asking: Asking) -> list[bool] | None:
    """Which pictures look like one of the training's; None where there is no training to compare
    with."""
    if not all(project.workspace.split(name).is_file() for name in TAUGHT):
        return None
    return have_twins(project, looks([example.path for example in asking.examples]))


def warnings(
    project: Project, subject: Subject, asking: Asking, figures: Row, near: int
) -> list[str]:
    """What a reader must know before believing the accuracy, in sentences."""
    found = asking.unseen.warnings() if asking.unseen else []
    if not asking.unseen and asking.split != "test":
        found.append(fallback_warning(asking.split))
    if subject.stock:
        fits = subject.side == project.contract.side
        found.append(
            f"{subject.files[0].name} and {subject.files[1].name} were not made under this device "
            "contract, so they were asked as a stock app asks them: prompt and bitmap "
            f"({project.contract.side} pixels) are the contract's, llama.cpp "
            f"{'tiles' if fits else 'resizes and tiles'} it for a tower of {subject.side}: "
            f"{figures['tokens']['prompt']:,} tokens a question"
        )
    if figures["n"] < FEW:
        asked = "1 picture was" if figures["n"] == 1 else f"{figures['n']} pictures were"
        found.append(f"only {asked} asked (fewer than {FEW}): the interval is wide, collect more")
    if near and NAME not in failed_controls(figures):
        found.append(
            f"{near} of {figures['n']} pictures {'looks' if near == 1 else 'look'} like one of "
            "train or val: the student may know it by heart"
        )
    return found + control_warnings(figures)


def predictions(
    project: Project, subject: Subject, asking: Asking, said: Sequence["Asked"], fitted: Row | None
) -> list[Row]:
    """One row a picture: its truth and what was said of it."""
    rows = prediction_rows(project.contract, asking.examples, said, fitted)
    for row, image, one in zip(rows, asking.images, said, strict=True):
        row |= {"image": image, "texts": {subject.step: one.text}}
    return rows


def recorded_calibration(project: Project, files: "Files", kind: str) -> Row | None:
    """What the last verdict fitted on val for these very files, this contract and this
    `validate.sure`; None where there is nothing."""
    path = project.workspace.report / "metrics.json"
    known = read_record(path) if path.is_file() else {}
    if (known.get("type"), known.get("contract")) != (kind, project.contract.hash):
        return None
    fitted: Row = known.get("calibration") or {}
    wanted = fitted.get("sure") == project.config.validate_.sure
    return fitted if wanted and known.get("files") == hashes(files) else None


def calibrated(
    fitted: Row, labels: Sequence[str], truth: Sequence[str], said: Sequence["Asked"]
) -> Row:
    """A temperature and a threshold that were fitted before, measured on these pictures."""
    test = likelihoods(said), np.array([labels.index(label) for label in truth])
    return fitted | calibration.measured(test, fitted["temperature"], fitted["unsure_below"])
