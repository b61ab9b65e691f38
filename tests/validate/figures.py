"""A whole metrics.json as `validate` writes it, simulated: answers are drawn, every figure is
counted from them, so that no two figures contradict each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocketvlm.config import parse_config
from pocketvlm.intervals import wilson
from pocketvlm.project import Project
from pocketvlm.sections import Gates
from pocketvlm.validate import metrics
from pocketvlm.validate.calibration import bins, ece
from pocketvlm.validate.gates import judge
from pocketvlm.validate.scores import changed
from pocketvlm.workspace import Row

ELEMENTS = ("water", "land", "fire", "wood", "metal")
BASE, LIKELIHOOD = "torch base, greedy", "torch base, likelihood"
ADAPTER, MERGED = "torch adapter", "torch merged"
F16, Q8, Q4, SMALL = "F16", "Q8_0", "Q4_0", "Q8_0 + mmproj Q8_0"
TORCH: dict[str, tuple[str | None, float, float, float]] = {
    BASE: (None, 0.31, 488.3, 804.2),
    LIKELIHOOD: (BASE, 0.52, 488.3, 911.0),
    ADAPTER: (BASE, 0.945, 489.1, 816.4),
    MERGED: (ADAPTER, 1.0, 488.3, 801.7),
}
"""Step in torch: the step before, its skill, MiB, milliseconds."""

FILES: dict[str, tuple[str, float, float, tuple[float, float, float]]] = {
    F16: (MERGED, 0.997, 432.5, (612.4, 241.3, 38.2)),
    Q8: ("llama.cpp F16", 0.99, 298.1, (611.8, 152.6, 24.5)),
    Q4: ("llama.cpp F16", 0.93, 240.6, (613.0, 148.9, 21.7)),
    SMALL: ("llama.cpp Q8_0", 0.996, 236.9, (455.2, 151.4, 24.9)),
}
"""Files in llama.cpp: the step before, the share that stays, MiB, ms of vision, prompt, answer."""

Said = dict[str, list[str | None]]


def simulate(
    n: int = 300, labels: Sequence[str] = ELEMENTS, seed: int = 7
) -> tuple[Row, list[Row]]:
    """metrics.json with every field, and its predictions."""
    noise = np.random.default_rng(seed)
    share = np.linspace(1.6, 0.7, len(labels))
    truth = [str(label) for label in noise.choice(list(labels), n, p=share / share.sum())]
    said = answers(truth, labels, noise)
    rows = predictions(truth, said, noise)
    figures = main(truth, said, labels) | measured(truth, said, rows)
    return figures | told(figures, labels, noise), rows


def answers(truth: Sequence[str], labels: Sequence[str], noise: np.random.Generator) -> Said:
    """What every step says; a step that stays at a share repeats the step before elsewhere."""
    said: Said = {}
    for step, (_, skill, *_) in list(TORCH.items())[:3]:
        said[step] = drawn(truth, labels, np.full(len(truth), skill), noise)
    said[MERGED] = said[ADAPTER]
    for kind, (before, stays, *_) in FILES.items():
        kept, other = said[before], drawn(truth, labels, np.full(len(truth), 0.4), noise)
        same = noise.random(len(truth)) < stays
        pairs = zip(same, kept, other, strict=True)
        said[f"llama.cpp {kind}"] = [one if keep else two for keep, one, two in pairs]
    return said


def drawn(
    truth: Sequence[str],
    labels: Sequence[str],
    skill: NDArray[np.float64],
    noise: np.random.Generator,
) -> list[str | None]:
    """Right at a share; a wrong answer is mostly the next label, at times none at all."""
    found: list[str | None] = []
    for true, right in zip(truth, noise.random(len(truth)) < skill, strict=True):
        luck = noise.random()
        near = labels[(list(labels).index(true) + 1) % len(labels)]
        wrong = None if luck < 0.08 else near if luck < 0.7 else str(noise.choice(list(labels)))
        found.append(true if right else wrong)
    return found


def predictions(truth: Sequence[str], said: Said, noise: np.random.Generator) -> list[Row]:
    """One row a picture; the calibrated confidence is higher where the answer is right."""
    rows: list[Row] = []
    for at, true in enumerate(truth):
        texts = {step: f" {words[at] or 'a picture'}" for step, words in said.items()}
        answer = said[f"llama.cpp {Q8}"][at]
        sure = noise.beta(9, 0.6) if answer == true else noise.beta(3, 2)
        row: Row = {"id": f"{at:064x}", "image": f"images/{at}.png", "truth": true, "teacher": true}
        row |= {"confidence": round(float(noise.choice([0.55, 0.8, 0.95, 1.0])), 2)}
        row |= {"source": str(noise.choice(["coco", "unsplash", "folder"], p=[0.6, 0.3, 0.1]))}
        row |= {"reviewed": bool(noise.random() < 0.25), "answer": answer, "right": answer == true}
        row |= {"texts": texts, "reason": f"The texture and the colours are those of {true}."}
        row |= {"sure": round(0.2 + 0.8 * float(sure), 4), "likeliest": answer or true}
        rows.append(row)
    return rows


def share(right: Sequence[bool]) -> Row:
    """Accuracy with its interval; dashes of nothing."""
    if not right:
        return {"accuracy": None, "ci": None, "n": 0}
    return {
        "accuracy": sum(right) / len(right),
        "ci": list(wilson(sum(right), len(right))),
        "n": len(right),
    }


def main(truth: Sequence[str], said: Said, labels: Sequence[str]) -> Row:
    """The shipped files' figures and the ladder."""
    shipped = said[f"llama.cpp {Q8}"]
    rungs = ladder(truth, said)
    base = {rung["step"]: rung["accuracy"] for rung in rungs}
    row = next(rung for rung in rungs if rung["ships"])
    times = {name: row[f"{name}_ms"] for name in ("vision", "prompt", "answer")}
    return {
        **share([a == b for a, b in zip(truth, shipped, strict=True)]),
        **{"truth": "teacher", "split": "test", "type": Q8, "mmproj_type": "F16"},
        **{"model": "model-Q8_0.gguf", "mmproj": "mmproj-F16.gguf"},
        "files": {"model-Q8_0.gguf": "ab" * 32, "mmproj-F16.gguf": "cd" * 32},
        "runtime": {"package": "llama-cpp-python 0.3.36", "version": "0.5.0-dev"},
        "contract": "0123456789abcdef",
        "majority": metrics.majority(truth),
        "macro_f1": metrics.macro_f1(truth, shipped),
        "per_class": metrics.per_class(truth, shipped, labels),
        "confusion": metrics.confusion(truth, shipped, labels),
        "one_word": sum(answer is not None for answer in shipped) / len(truth),
        "out_of_vocabulary": sum(answer is None for answer in shipped) / len(truth),
        "cut": 0.0,
        "agreement": same(shipped, said[MERGED]),
        "ms_per_picture": row["ms"],
        "ms": {**times, "likelihood": 812.3, "grammar": 790.6},
        "tokens": {"prompt": 63, "answer": 2},
        "base": {"greedy": base[BASE], "likelihood": base[LIKELIHOOD]},
        "gain": row["accuracy"] - base[LIKELIHOOD],
        "ladder": rungs,
        **ways(truth, said),
    }


def ladder(truth: Sequence[str], said: Said) -> list[Row]:
    """A row a step; change and agreement are against the step before."""
    rungs: list[Row] = []
    row: Row
    for step, (before, _, mib, ms) in TORCH.items():
        row = {"step": step, "before": before, "type": None, "mmproj": None, "mib": mib, "ms": ms}
        row |= {f"{name}_ms": None for name in ("vision", "prompt", "answer")}
        rungs.append(row | {"tokens": None, "ships": False, "exported": False})
    for kind, (before, _, mib, times) in FILES.items():
        mmproj = Q8 if kind == SMALL else "F16"
        row = {"step": f"llama.cpp {kind}", "before": before, "type": kind.split()[0]}
        row |= {"mmproj": mmproj, "mib": mib, "ms": round(sum(times), 1)}
        row |= dict(zip(("vision_ms", "prompt_ms", "answer_ms"), times, strict=True))
        rungs.append(row | {"tokens": 63, "ships": kind == Q8, "exported": kind != F16})
    for row in rungs:
        own, before = said[row["step"]], row["before"]
        row |= share([a == b for a, b in zip(truth, own, strict=True)])
        del row["n"]
        row["change"] = changed(truth, said[before], own) if before else None
        row["agreement"] = same(own, said[before]) if before else None
    return rungs


def same(one: Sequence[str | None], two: Sequence[str | None]) -> float:
    """Share of equal answers."""
    return sum(a == b for a, b in zip(one, two, strict=True)) / len(one)


def ways(truth: Sequence[str], said: Said) -> Row:
    """Three ways to answer with the shipped files: the grammar mends what is no label."""
    greedy = said[f"llama.cpp {Q8}"]
    mended = [answer or true for answer, true in zip(greedy, truth, strict=True)]
    found = {}
    for name, answers, ms in (
        ("greedy", greedy, 788.9),
        ("likelihood", mended, 812.3),
        ("grammar", mended, 790.6),
    ):
        row = share([a == b for a, b in zip(truth, answers, strict=True)])
        found[name] = {"accuracy": row["accuracy"], "ci": row["ci"], "ms": ms}
        found[name]["change"] = None if name == "greedy" else changed(truth, greedy, answers)
    return {"ways": found}


def measured(truth: Sequence[str], said: Said, rows: Sequence[Row]) -> Row:
    """What is counted from the predictions: filter, slices, calibration."""
    bands = [("0.9 and above", 0.9, 2), ("0.75 to 0.9", 0.75, 0.9), ("below 0.75", 0, 0.75)]
    groups: dict[str, dict[str, list[bool]]] = {
        "source": {
            name: [r["right"] for r in rows if r["source"] == name]
            for name in ("coco", "unsplash", "folder")
        },
        "confidence": {
            name: [r["right"] for r in rows if low <= r["confidence"] < high]
            for name, low, high in bands
        },
        "reviewed": {
            name: [r["right"] for r in rows if r["reviewed"] == seen]
            for name, seen in (("reviewed by a person", True), ("not reviewed", False))
        },
    }
    return {
        "confident": share([r["right"] for r in rows if r["confidence"] >= 0.75]),
        "calibration": calibration(rows),
        "slices": {
            kind: [{"name": name, **share(right)} for name, right in found.items() if right]
            for kind, found in groups.items()
        },
    }


def calibration(rows: Sequence[Row], threshold: float = 0.72) -> Row:
    """Bins, curve and the figures at a threshold."""
    sure = np.array([row["sure"] for row in rows])
    right = np.array([row["likeliest"] == row["truth"] for row in rows])
    curve = [
        {
            "threshold": float(at),
            "coverage": float((sure >= at).mean()),
            "accuracy": float(right[sure >= at].mean()),
        }
        for at in np.quantile(sure, np.linspace(0, 0.98, 40))
    ]
    kept = share([bool(one) for one in right[sure >= threshold]])
    return {
        **{"temperatures": {Q8: 1.31, Q4: 1.44}, "temperature": 1.31, "n_val": 280},
        **{"ece_before": 0.0612, "ece": ece(sure, right), "bins": bins(sure, right), "sure": 0.95},
        **{"unsure_below": threshold, "coverage": float((sure >= threshold).mean())},
        **{"accuracy_when_sure": kept["accuracy"], "ci_when_sure": kept["ci"], "curve": curve},
    }


def told(figures: Row, labels: Sequence[str], noise: np.random.Generator) -> Row:
    """What is told beside: recommendation, controls, data, cost, gates, audit, warnings."""
    counts = {
        split: {label: int(noise.integers(least, 2 * least)) for label in labels}
        for split, least in (("train", 180), ("val", 20), ("test", 40))
    }
    stages = {"collect": 341.2, "label": 2210.8, "prepare": 41.9, "train": 5423.1}
    stages |= {"merge": 12.4, "convert": 58.3, "validate": 911.7}
    return {
        "recommendation": {
            "rule": "the smallest file whose paired 95% interval against the best stays above -1 "
            "point",
            **{"best": "llama.cpp F16", "recommended": "llama.cpp Q8_0"},
            **{"open": [f"llama.cpp {SMALL}"], "needed": 1840},
            "words": "Ship llama.cpp Q8_0: it is the smallest file that is surely less than one "
            "point below the best.",
        },
        "controls": controls(figures),
        "mmproj_choice": "mmproj Q8_0 gives 99.0% of the same answers as F16, so F16 ships",
        "data": {"counts": counts},
        "cost": {"usd": 4.37, "answers": 3120, "seconds": stages},
        "gates": judge(limits(figures), figures),
        "audit": audit(),
        "warnings": ["the teacher's labels are the truth here: review a hundred pictures"],
    }


def controls(figures: Row) -> list[Row]:
    """One passed, one failed, one that is not judged."""
    majority = figures["majority"]
    return [
        {
            **{"name": "majority", "words": "Always answering the commonest label."},
            **{"value": majority, "limit": figures["ci"][0], "passed": True},
            "sentence": "The student learned nothing about the pictures: look at the labels.",
        },
        {
            **{"name": "near-duplicates", "words": "Test pictures with a near twin in training."},
            **{"value": 14, "limit": 0, "passed": False},
            "sentence": "Accuracy on twins is memory: prepare again with duplicates removed.",
        },
        {
            **{"name": "teacher", "words": "The teacher itself against the truth."},
            **{"value": None, "limit": None, "passed": None},
            "sentence": "Not known: the teacher's labels are the truth here.",
        },
    ]


def limits(figures: Row) -> Gates:
    """Every gate; the worst label and the time miss theirs."""
    worst = min(row["recall"] for row in figures["per_class"].values() if row["support"])
    return Gates(
        accuracy=0.85, worst_recall=worst + 0.021, one_word=0.95, agreement=0.97, mib=320, ms=700
    )


def audit(broken: bool = False) -> Row:
    """A level that is equal, one that is only measured, and answers, which may break."""
    level = {"worst": 0.0, "mean": 0.0, "agreement": 1.0, "limit": 0.0, "passed": True, "note": ""}
    level |= {"type": "F32", "picture": "images/0.png"}
    answers = {"level": "answers", "type": "Q8_0 as shipped", "limit": 0.995}
    if broken:
        answers |= {
            "passed": False,
            "agreement": 0.9,
            "note": "' a <b>fire</b>' instead of ' fire'",
        }
    levels = [
        level | {"level": "token ids"},
        level | {"level": "image embeddings", "worst": 0.126, "mean": 0.0084, "limit": None},
        level | answers,
    ]
    tie = {"type": Q8, "picture": "images/1.png", "margin": 0.0214, "note": "' land' for ' water'"}
    found = {"pictures": 20, "originals": 20, "layout_recorded": True, "levels": levels}
    first = levels[-1] if broken else None
    return found | {"near_ties": [tie], "first_break": first, "other_build": None}


def thin(figures: Row, rows: Sequence[Row]) -> tuple[Row, list[Row]]:
    """What a judgement of two files alone leaves: no torch, no data, no calibration."""
    absent = ("calibration", "confident", "cost", "audit")
    kept = {name: value for name, value in figures.items() if name not in absent}
    rung = next(rung for rung in figures["ladder"] if rung["ships"])
    kept["ladder"] = [rung | {"before": None, "change": None, "agreement": None}]
    kept |= {"base": None, "gain": None, "agreement": None, "split": "against meadow"}
    kept |= {"recommendation": None, "slices": {}, "data": {"counts": {"against meadow": {}}}}
    kept["gates"] = {"accuracy": figures["gates"]["accuracy"]}
    return kept, [row | {"sure": None, "likeliest": None} for row in rows]


def older(figures: Row, rows: Sequence[Row]) -> tuple[Row, list[Row]]:
    """metrics.json and predictions of the version before the gates had their section."""
    recent = {"recommendation", "calibration", "controls", "slices", "data", "cost", "ways", "ms"}
    recent |= {"mmproj_choice", "tokens", "out_of_vocabulary", "cut", "mmproj_type"}
    kept = {name: value for name, value in figures.items() if name not in recent}
    names = ("step", "accuracy", "ci", "agreement", "mib", "ms")
    kept["ladder"] = [{name: rung[name] for name in names} for rung in figures["ladder"]]
    gate = {"value": 0.85, "accuracy": figures["accuracy"], "lower": figures["ci"][0]}
    kept["gates"] = {"min_accuracy": gate | {"passed": True}}
    fresh = ("sure", "likeliest", "source", "reviewed")
    return kept, [{k: v for k, v in row.items() if k not in fresh} for row in rows]


def project(folder: Path, labels: Sequence[str] = ELEMENTS, count: int = 300) -> Project:
    """A project whose dataset holds a small picture for every prediction, and nothing else."""
    words = {label: f"a picture of {label}" for label in labels}
    settings: dict[str, Any] = {"task": {"question": "What is it?", "labels": words}}
    made = Project.of(parse_config(settings | {"device": {"side": 64}}), folder)
    images = made.workspace.dataset / "images"
    images.mkdir(parents=True, exist_ok=True)
    for at in range(count):
        colour = (at * 37 % 256, at * 91 % 256, at * 53 % 256)
        Image.new("RGB", (64, 64), colour).save(images / f"{at}.png")
    return made
