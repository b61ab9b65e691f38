"""A verdict on a project, written by hand: what `validate` leaves, without asking any model."""

from pocketvlm.project import Project
from pocketvlm.runtime import identity
from pocketvlm.workspace import Row, write_json
from tests.models import run


def judge(project: Project) -> Project:
    """metrics.json as if llama.cpp had answered three pictures of four, and its manifest."""
    space = project.workspace
    space.gguf.mkdir(exist_ok=True)
    for name in ("model-Q8_0", "model-Q4_0", "mmproj-F16"):
        (space.gguf / f"{name}.gguf").write_bytes(name.encode())

    def work(project: Project) -> Row:
        figures = judged_figures(project)
        write_json(space.report / "metrics.json", figures)
        (space.report / "report.html").write_text("for people")
        return figures

    run(project, "validate", work)
    return project


def judged_figures(project: Project) -> Row:
    """As far as the model's card reads it."""
    labels = list(project.contract.labels)
    gate = {"wanted": 0.85, "found": 0.301, "passed": False, "by": 0.549, "bound": "least"}
    return {
        **{"accuracy": 0.75, "ci": [0.301, 0.954], "n": 4, "truth": "teacher", "split": "test"},
        **{"model": "model-Q8_0.gguf", "mmproj": "mmproj-F16.gguf"},
        **{"type": "Q8_0", "mmproj_type": "F16"},
        "runtime": identity(),
        "contract": project.contract.hash,
        "majority": 0.5,
        "macro_f1": 0.72,
        "per_class": {
            label: {"precision": 1.0, "recall": 0.5, "f1": 0.667, "support": 1} for label in labels
        },
        "base": {"greedy": 0.0, "likelihood": 0.25},
        "ladder": ladder(),
        "recommendation": {
            "recommended": None,
            "words": "Not enough pictures to tell; llama.cpp Q8_0 is safe meanwhile.",
        },
        "calibration": {
            **{"temperature": 1.25, "n_val": 6, "sure": 0.95, "unsure_below": 0.71},
            **{"coverage": 0.5, "accuracy_when_sure": 1.0},
        },
        "gates": {"accuracy": gate},
        "warnings": ["only 4 of at least 100 pictures were asked"],
    }


def ladder() -> list[Row]:
    """From the base to a second type that has not changed for certain."""
    change = {"difference": 0.5, "low": -0.12, "high": 0.79, "p": 0.5, "gained": 2, "lost": 0}
    worse = change | {"difference": -0.25, "low": -0.59, "high": 0.31, "gained": 0, "lost": 1}
    steps: list[tuple[str, str | None, float, Row | None, float | None]] = [
        ("torch base, likelihood", None, 0.25, None, None),
        ("torch merged", "torch base, likelihood", 0.75, change, 0.5),
        ("llama.cpp Q8_0", "torch merged", 0.75, change | {"difference": 0.0, "gained": 0}, 1.0),
        ("llama.cpp Q4_0", "llama.cpp Q8_0", 0.5, worse, 0.75),
    ]
    return [
        {
            **{"step": step, "before": before, "accuracy": accuracy, "ci": [0.1, 0.9]},
            **{"change": changed, "agreement": same, "ships": step == "llama.cpp Q8_0"},
        }
        for step, before, accuracy, changed, same in steps
    ]
