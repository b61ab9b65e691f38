"""From answers to figures, warnings and the gate."""

from collections.abc import Callable
from typing import Any

import pytest

from pocketvlm.errors import GateMissed
from pocketvlm.project import Project
from pocketvlm.validate.examples import read_examples, read_val
from pocketvlm.validate.verdict import check_gates, predictions, summary, verdict
from pocketvlm.workspace import Row, sha256_file

from .conftest import asked, ladder

Make = Callable[..., Project]

KEYS = {  # the documented top level of metrics.json
    *("accuracy", "n", "ci", "truth", "model", "mmproj", "type", "mmproj_type", "runtime"),
    *("majority", "macro_f1", "per_class", "confusion", "one_word", "out_of_vocabulary", "cut"),
    *("agreement", "ms_per_picture", "ms", "tokens", "base", "gain", "confident", "ladder"),
    *("mmproj_choice", "recommendation", "ways", "calibration", "slices", "data", "cost"),
    *("gates", "split", "contract", "warnings", "files", "audit", "controls"),
}

RUNG = {
    *("step", "before", "type", "mmproj", "accuracy", "ci", "change", "agreement", "mib", "ms"),
    *("vision_ms", "prompt_ms", "answer_ms", "tokens", "exported", "ships"),
}

EQUAL = {"audit": {"first_break": None}, "controls": []}


def judge(project: Project, right: int, **others: Any) -> Row:
    """Figures when the first `right` answers are right and the rest are no label."""
    split, examples = read_examples(project)
    shipped = [
        f" {example.truth}" if at < right else "a picture" for at, example in enumerate(examples)
    ]
    steps = ladder(project, shipped, **others)
    return verdict(project, split, examples, steps, {}, {"package": "x"}) | EQUAL


def test_keys_and_figures(make: Make) -> None:
    project = make(test=10)
    figures = judge(project, 8, likelihood=["water"] * 10, base=["?"] * 10)
    assert set(figures) == KEYS
    assert figures["accuracy"] == 0.8
    assert figures["ci"] == pytest.approx([0.4902, 0.9433], abs=1e-4)
    assert figures["base"] == {"greedy": 0.0, "likelihood": 0.4}
    assert figures["gain"] == pytest.approx(0.4)
    assert figures["majority"] == 0.4
    assert (figures["model"], figures["mmproj"]) == ("model-Q8_0.gguf", "mmproj-F16.gguf")
    assert figures["contract"] == project.contract.hash
    assert figures["files"]["model-Q8_0.gguf"] == sha256_file(project.workspace.text_gguf("Q8_0"))


def test_the_ladder_has_every_step_with_its_keys(make: Make) -> None:
    rungs = judge(make(test=6), 6)["ladder"]
    names = ["llama.cpp F16", "llama.cpp Q8_0", "llama.cpp Q4_0", "llama.cpp Q8_0 + mmproj Q8_0"]
    assert [rung["step"] for rung in rungs][4:] == names
    assert all(set(rung) == RUNG for rung in rungs)
    assert [rung["step"] for rung in rungs if rung["ships"]] == ["llama.cpp Q8_0"]


def test_a_step_is_compared_with_the_one_it_was_made_from(make: Make) -> None:
    figures = judge(make(test=6), 6, Q4_0=["water", "fire", "?", "?", "?", "?"])
    rung = next(rung for rung in figures["ladder"] if rung["step"] == "llama.cpp Q4_0")
    assert (rung["before"], rung["agreement"]) == ("llama.cpp F16", pytest.approx(1 / 3))
    assert (rung["change"]["gained"], rung["change"]["lost"]) == (0, 4)
    assert rung["change"]["p"] == pytest.approx(0.125)
    assert rung["change"]["low"] < rung["change"]["difference"] == pytest.approx(-4 / 6)


def test_confident_leaves_out_unsure_labels(make: Make) -> None:
    figures = judge(make(test=8), 3)  # numbers 3 and 7 are unsure
    assert figures["confident"]["n"] == 6
    assert figures["confident"]["accuracy"] == 0.5


def test_without_a_confident_label_its_accuracy_is_unknown(make: Make) -> None:
    figures = judge(make(test=3, prepare={"min_confidence": 0.95}), 3)
    assert figures["confident"] == {"accuracy": None, "ci": None, "n": 0}


def test_a_missed_gate_names_figures_and_interval(make: Make) -> None:
    figures = judge(make(test=10), 8)
    assert figures["gates"]["accuracy"]["passed"] is False
    with pytest.raises(GateMissed, match=r"below gates\.accuracy 0\.85.*0\.490"):
        check_gates(figures)


def test_a_broken_audit_misses_the_gate_and_keeps_the_figures(make: Make) -> None:
    broken = {"level": "token ids", "type": "F32", "note": "other words", "picture": "images/a.png"}
    open_gate = {"gates": {"accuracy": 0.5}}
    figures = judge(make(test=10, **open_gate), 10) | {"audit": {"first_break": broken}}
    with pytest.raises(
        GateMissed, match=r"'token ids' on \(F32\): other words.*images/a\.png"
    ) as one:
        check_gates(figures)
    assert (one.value.figures["accuracy"], one.value.figures["audit"]) == (1.0, "token ids")
    figures = judge(make(test=10), 1) | {"audit": {"first_break": broken}}
    with pytest.raises(GateMissed, match=r"gates\.accuracy .* Also: torch and llama\.cpp differ"):
        check_gates(figures)


@pytest.mark.parametrize(("n", "few"), [(99, True), (100, False)])
def test_few_pictures_are_warned_of(make: Make, n: int, few: bool) -> None:
    figures = judge(make(test=n), n)
    assert any("of at least 100 pictures" in line for line in figures["warnings"]) is few


def test_disagreement_with_torch_is_warned_of(make: Make) -> None:
    figures = judge(make(test=10), 10, merged=["fire"] * 10)
    assert figures["agreement"] == 0.3
    assert any("agree with torch on only 30.0%" in line for line in figures["warnings"])


def test_a_fallback_split_is_recorded_and_warned_of(make: Make) -> None:
    figures = judge(make(val=4), 4)
    assert figures["split"] == "val"
    assert "test is empty" in figures["warnings"][0]


def test_predictions_keep_every_steps_text(make: Make) -> None:
    project = make(test=2)
    _, examples = read_examples(project)
    steps = ladder(project, [" water", "it burns"])
    rows = predictions(project, examples, steps, {"calibration": None})
    assert [row["right"] for row in rows] == [True, False]
    assert [row["answer"] for row in rows] == ["water", None]
    assert rows[1]["texts"]["llama.cpp Q8_0"] == "it burns"
    assert rows[0]["image"] == "images/test0.png"
    assert (rows[1]["likeliest"], rows[1]["constrained"], rows[1]["sure"]) == (
        "water",
        " water",
        None,
    )


def test_what_is_fitted_on_val_says_how_sure_each_answer_is(make: Make) -> None:
    project = make(test=10, val=60)
    split, examples = read_examples(project)
    steps = ladder(project, [f" {example.truth}" for example in examples])
    val = read_val(project)
    said = [asked(project, one.truth) for one in val]
    figures = verdict(project, split, examples, steps, {"Q8_0": (val, said)}, {"package": "x"})
    fitted = figures["calibration"]
    assert (fitted["n_val"], set(fitted["temperatures"])) == (60, {"Q8_0"})
    assert fitted["temperature"] < 1  # always right, and not that sure of it
    assert fitted["coverage"] == 1.0
    rows = predictions(project, examples, steps, figures)
    assert all(0.9 < row["sure"] <= 1 for row in rows)


def test_a_failed_control_and_the_recommendation_are_in_the_summary(make: Make) -> None:
    failed = {"name": "majority", "passed": False}
    figures = judge(make(test=10), 10) | {"controls": [failed, {"name": "teacher", "passed": None}]}
    told = summary(figures)
    assert told["controls"] == ["majority"]
    assert told["recommended"] == figures["recommendation"]["recommended"]
