"""From answers to figures: the content of metrics.json, the predictions and the warnings."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pocketvlm.errors import GateMissed
from pocketvlm.project import Project
from pocketvlm.validate import gates, metrics
from pocketvlm.validate.calibration import Scored, calibrate
from pocketvlm.validate.examples import Example, fallback_warning
from pocketvlm.validate.ladder import BASE, LIKELIHOOD, MERGED, Step
from pocketvlm.validate.scores import (
    answered,
    changed,
    likelihoods,
    prediction_rows,
    scores,
    share,
    ways,
)
from pocketvlm.validate.shipping import recommendation, shipping
from pocketvlm.validate.slices import slices
from pocketvlm.validate.spent import cost, counts
from pocketvlm.workspace import Row, sha256_file

if TYPE_CHECKING:
    from pocketvlm.runtime import Asked

SUMMARY = (
    *("accuracy", "ci", "n", "gain", "majority", "agreement", "ms_per_picture", "type"),
    "mmproj_type",
)

FEW = 100
"""Fewer pictures than this leave an interval too wide for a verdict."""

AGREEMENT = 0.99
"""Below it, what was trained and what ships are not the same student."""

TIMES = ("vision", "prompt", "answer", "likelihood", "grammar")

Val = Mapping[str, tuple[Sequence[Example], Sequence["Asked"]]]
"""What each text type's files said of val."""


def verdict(
    project: Project,
    split: str,
    examples: Sequence[Example],
    steps: Sequence[Step],
    val: Val,
    runtime: Row,
) -> Row:
    """The content of metrics.json but for the controls and the audit."""
    contract, by_name = project.contract, {step.name: step for step in steps}
    ships, choice = shipping(project, steps)
    pair = ships.pair
    assert pair is not None  # torch ships nothing
    truth = [example.truth for example in examples]
    said, timed = ships.said, ships.latency
    base = {name: _accuracy(project, truth, by_name[name]) for name in (BASE, LIKELIHOOD)}
    told = scores(contract, truth, said)
    figures: Row = {
        **{name: told[name] for name in ("accuracy", "ci", "n")},
        "truth": project.config.validate_.truth,
        "split": split,
        "model": pair.files[0].name,
        "mmproj": pair.files[1].name,
        "type": pair.type,
        "mmproj_type": pair.mmproj,
        "files": {file.name: sha256_file(file) for file in pair.files},
        "runtime": runtime,
        "contract": contract.hash,
        **told,
        "agreement": metrics.agreement(ships.texts, by_name[MERGED].texts),
        "ms_per_picture": round(ships.ms, 1),
        "ms": {name: round(timed[name], 1) for name in TIMES},
        "tokens": timed["tokens"],
        "base": {"greedy": base[BASE], "likelihood": base[LIKELIHOOD]},
        "gain": told["accuracy"] - base[LIKELIHOOD],
        "confident": confident(project, examples, answered(contract, said, "greedy")),
        "ladder": [_rung(project, truth, step, by_name, ships) for step in steps],
        "mmproj_choice": choice,
        "recommendation": recommendation(project, steps, truth),
        "ways": ways(contract, truth, said, timed),
        "calibration": _calibration(project, val, (examples, said), pair.type),
        "slices": slices(examples, answered(contract, said, "greedy")),
        "data": {"counts": counts(project)},
        "cost": cost(project),
    }
    figures["gates"] = gates.judge(project.config.gates, figures)
    unjudged = gates.not_judged(project.config.gates, figures)
    return {**figures, "warnings": warnings(figures) + unjudged}


def confident(project: Project, examples: Sequence[Example], answers: metrics.Answers) -> Row:
    """Accuracy on the pictures that the training filter would have kept."""
    least = project.config.prepare.min_confidence
    kept = [
        (example.truth, answer)
        for example, answer in zip(examples, answers, strict=True)
        if example.confidence >= least
    ]
    if not kept:
        return {"accuracy": None, "ci": None, "n": 0}
    truth, said = [true for true, _ in kept], [answer for _, answer in kept]
    return {**share(truth, said), "n": len(kept)}


def summary(figures: Row) -> Row:
    """The main figures, for the manifest and for people."""
    main = {name: figures[name] for name in SUMMARY} | {"base": figures["base"]["likelihood"]}
    main["recommended"] = figures["recommendation"]["recommended"]
    main["controls"] = failed_controls(figures) or "passed"
    broken = figures["audit"]["first_break"]
    return main | {"audit": broken["level"] if broken else "equal"}


def failed_controls(figures: Row) -> list[str]:
    """Names of the controls that tell of luck, a leak or a mistake."""
    return [row["name"] for row in figures["controls"] if row["passed"] is False]


def check_gates(figures: Row) -> None:
    """GateMissed, with the figures, when a gate was missed or the audit found a break."""
    from pocketvlm.validate.audit import sentence

    missed = gates.missed(figures)
    if broken := figures["audit"]["first_break"]:
        missed.append(sentence(broken))
    if missed:
        told = " Also: ".join(missed)
        raise GateMissed(f"{told} The files and report/report.html are written", summary(figures))


def warnings(figures: Row) -> list[str]:
    """What a reader must know before believing the accuracy, in sentences."""
    found = []
    if figures["split"] != "test":
        found.append(fallback_warning(figures["split"]))
    if figures["n"] < FEW:
        found.append(
            f"only {figures['n']} of at least {FEW} pictures were asked: the interval is wide, "
            "collect more"
        )
    if figures["agreement"] < AGREEMENT:
        found.append(
            f"the shipped files agree with torch on only {figures['agreement']:.1%} of the "
            "pictures: conversion or quantisation changed the student; compare the ladder's steps"
        )
    if figures["accuracy"] <= figures["majority"]:
        found.append("always answering the commonest label would be as good")
    return found


def predictions(
    project: Project, examples: Sequence[Example], steps: Sequence[Step], figures: Row
) -> list[Row]:
    """One row a picture: its truth, what every step said, and how sure the shipped files are."""
    ships, _ = shipping(project, steps)
    rows = prediction_rows(project.contract, examples, ships.said, figures["calibration"])
    for at, (row, example) in enumerate(zip(rows, examples, strict=True)):
        row["image"] = example.path.relative_to(project.workspace.dataset).as_posix()
        row["texts"] = {step.name: step.texts[at] for step in steps}
    return rows


def _rung(
    project: Project,
    truth: Sequence[str],
    step: Step,
    by_name: Mapping[str, Step],
    ships: Step,
) -> Row:
    """One line of the ladder, compared with the step that it was made from."""
    before = by_name[step.before] if step.before else None
    labels, timed = _labels(project, step), step.latency
    return {
        "step": step.name,
        "before": step.before,
        "type": step.pair.type if step.pair else None,
        "mmproj": step.pair.mmproj if step.pair else None,
        **share(truth, labels),
        "change": changed(truth, _labels(project, before), labels) if before else None,
        "agreement": metrics.agreement(step.texts, before.texts) if before else None,
        "mib": round(step.mib, 2),
        "ms": round(step.ms, 1),
        **{f"{name}_ms": round(timed[name], 1) if timed else None for name in TIMES[:3]},
        "tokens": timed["tokens"]["prompt"] if timed else None,
        "exported": step.exported,
        "ships": step is ships,
    }


def _labels(project: Project, step: Step) -> list[str | None]:
    return [project.contract.label_of(text) for text in step.texts]


def _accuracy(project: Project, truth: Sequence[str], step: Step) -> float:
    return metrics.accuracy(truth, _labels(project, step))


def _calibration(
    project: Project, val: Val, test: tuple[Sequence[Example], Sequence["Asked"]], kind: str
) -> Row | None:
    labels = list(project.contract.labels)

    def scored(examples: Sequence[Example], said: Sequence["Asked"]) -> Scored:
        return likelihoods(said), np.array([labels.index(one.truth) for one in examples])

    fitted = {type: scored(*asked) for type, asked in val.items()}
    return calibrate(fitted, scored(*test), kind, project.config.validate_.sure)
