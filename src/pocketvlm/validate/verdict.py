"""From answers to figures: metrics.json, the predictions, the warnings and the gate."""

from collections.abc import Sequence

from pocketvlm.errors import GateMissed
from pocketvlm.intervals import wilson
from pocketvlm.project import Project
from pocketvlm.validate import metrics
from pocketvlm.validate.examples import Example, fallback_warning
from pocketvlm.validate.ladder import BASE, LIKELIHOOD, MERGED, Step, gguf_step
from pocketvlm.workspace import Row, sha256_file

SUMMARY = ("accuracy", "ci", "n", "gain", "majority", "agreement", "ms_per_picture", "type")

FEW = 100
"""Fewer pictures than this leave an interval too wide for a verdict."""

AGREEMENT = 0.99
"""Below it, what was trained and what ships are not the same student."""


def verdict(
    project: Project, split: str, examples: Sequence[Example], steps: Sequence[Step], runtime: Row
) -> Row:
    """The content of metrics.json."""
    kind = project.config.export.types[0]
    files = project.workspace.text_gguf(kind), project.workspace.vision_gguf(kind)
    by_name = {step.name: step for step in steps}
    shipped = by_name[gguf_step(kind)]
    truth = [example.truth for example in examples]
    answers = [project.contract.label_of(text) for text in shipped.texts]
    ladder = [_rung(project, truth, step, by_name[MERGED]) for step in steps]
    base = {rung["step"]: rung["accuracy"] for rung in ladder}
    figures: Row = {
        **_share(truth, answers),
        "n": len(examples),
        "truth": project.config.validate_.truth,
        "split": split,
        "model": files[0].name,
        "mmproj": files[1].name,
        "files": {file.name: sha256_file(file) for file in files},
        "type": kind,
        "runtime": runtime,
        "contract": project.contract.hash,
        **_details(truth, answers, project.contract.labels),
        "one_word": metrics.one_word(shipped.texts, shipped.ended),
        "agreement": metrics.agreement(shipped.texts, by_name[MERGED].texts),
        "ms_per_picture": round(shipped.ms, 1),
        "base": {"greedy": base[BASE], "likelihood": base[LIKELIHOOD]},
        "gain": metrics.accuracy(truth, answers) - base[LIKELIHOOD],
        "confident": confident(project, examples, answers),
        "ladder": ladder,
    }
    figures["gates"] = {"min_accuracy": gate(project, figures)}
    return {**figures, "warnings": warnings(figures)}


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
    return {**_share(truth, said), "n": len(kept)}


def gate(project: Project, figures: Row) -> Row:
    """`validate.min_accuracy` against the shipped files' accuracy and its lower bound."""
    least, accuracy = project.config.validate_.min_accuracy, figures["accuracy"]
    passed = bool(accuracy >= least)
    return {"value": least, "accuracy": accuracy, "lower": figures["ci"][0], "passed": passed}


def summary(figures: Row) -> Row:
    """The main figures, for the manifest and for people."""
    main = {name: figures[name] for name in SUMMARY} | {"base": figures["base"]["likelihood"]}
    broken = figures["audit"]["first_break"]
    return main | {"audit": broken["level"] if broken else "equal"}


def check_gates(figures: Row) -> None:
    """GateMissed, with the figures, when accuracy is below its gate or the audit found a break."""
    from pocketvlm.validate.audit import sentence

    missed = [] if figures["gates"]["min_accuracy"]["passed"] else [missed_accuracy(figures)]
    if broken := figures["audit"]["first_break"]:
        missed.append(sentence(broken))
    if missed:
        told = " Also: ".join(missed)
        raise GateMissed(f"{told} The files and report/report.html are written", summary(figures))


def missed_accuracy(figures: Row) -> str:
    """By how much accuracy missed its gate, and whether more pictures might help."""
    verdict = figures["gates"]["min_accuracy"]
    low, high = figures["ci"]
    reach = (
        "its upper bound does: more test pictures would tell"
        if high >= verdict["value"]
        else ("neither does its upper bound: the student has to get better")
    )
    return (
        f"accuracy {verdict['accuracy']:.3f} of {figures['model']} in llama.cpp is below "
        f"validate.min_accuracy {verdict['value']} (n = {figures['n']}). The 95% interval's lower "
        f"bound {low:.3f} does not clear the gate, {reach}."
    )


def warnings(figures: Row) -> list[str]:
    """What a reader must know before believing the accuracy, in sentences."""
    found = []
    verdict, n = figures["gates"]["min_accuracy"], figures["n"]
    if figures["split"] != "test":
        found.append(fallback_warning(figures["split"]))
    if n < FEW:
        found.append(
            f"only {n} pictures were asked (fewer than {FEW}): the interval is wide, collect more"
        )
    if verdict["passed"] and verdict["lower"] < verdict["value"]:
        found.append(
            f"the gate {verdict['value']} is passed, but the interval's lower bound "
            f"{verdict['lower']:.3f} does not clear it: more test pictures would make it sure"
        )
    if figures["agreement"] < AGREEMENT:
        found.append(
            f"the shipped files agree with torch on only {figures['agreement']:.1%} of the "
            "pictures: conversion or quantisation changed the student; compare the ladder's steps"
        )
    if figures["accuracy"] <= figures["majority"]:
        found.append(
            "always answering the commonest label would be as good: the student learned nothing "
            "about the pictures"
        )
    return found


def predictions(project: Project, examples: Sequence[Example], steps: Sequence[Step]) -> list[Row]:
    """One row a picture: its truth and what every step said."""
    shipped = gguf_step(project.config.export.types[0])
    rows = []
    for at, example in enumerate(examples):
        answers = {step.name: step.texts[at] for step in steps}
        answer = project.contract.label_of(answers[shipped])
        rows.append(
            {
                "id": example.id,
                "image": example.path.relative_to(project.workspace.dataset).as_posix(),
                "truth": example.truth,
                "teacher": example.teacher,
                "confidence": example.confidence,
                "answer": answer,
                "right": answer == example.truth,
                "texts": answers,
                "reason": example.reason,
            }
        )
    return rows


def _rung(project: Project, truth: Sequence[str], step: Step, merged: Step) -> Row:
    """One line of the ladder; agreement is with the merged model in torch."""
    return {
        "step": step.name,
        **_share(truth, [project.contract.label_of(text) for text in step.texts]),
        "agreement": metrics.agreement(step.texts, merged.texts),
        "mib": round(step.mib, 2),
        "ms": round(step.ms, 1),
    }


def _details(truth: Sequence[str], answers: metrics.Answers, labels: Sequence[str]) -> Row:
    return {
        "majority": metrics.majority(truth),
        "macro_f1": metrics.macro_f1(truth, answers),
        "per_class": metrics.per_class(truth, answers, labels),
        "confusion": metrics.confusion(truth, answers, labels),
    }


def _share(truth: Sequence[str], answers: metrics.Answers) -> Row:
    low, high = wilson(metrics.hits(truth, answers), len(truth))
    return {"accuracy": metrics.accuracy(truth, answers), "ci": [low, high]}
