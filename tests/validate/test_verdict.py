"""From answers to figures, warnings and the gate."""

from collections.abc import Callable
from typing import Any

import pytest

from pocketvlm.errors import GateMissed
from pocketvlm.project import Project
from pocketvlm.validate.examples import read_examples
from pocketvlm.validate.verdict import check_gates, predictions, verdict
from pocketvlm.workspace import Row, sha256_file

from .conftest import ladder

Make = Callable[..., Project]

KEYS = {  # the documented top level of metrics.json
    *("accuracy", "n", "ci", "truth", "model", "mmproj", "type", "runtime", "majority"),
    *("macro_f1", "per_class", "confusion", "one_word", "agreement", "ms_per_picture", "base"),
    *("ladder", "gates", "gain", "confident", "split", "contract", "warnings", "files", "audit"),
}


def judge(project: Project, right: int, **others: Any) -> Row:
    """Figures when the first `right` answers are right and the rest are no label."""
    split, examples = read_examples(project)
    shipped = [
        f" {example.truth}" if at < right else "a picture" for at, example in enumerate(examples)
    ]
    figures = verdict(project, split, examples, ladder(shipped, **others), {"package": "x"})
    return figures | {"audit": {"first_break": None}}


def test_keys_and_figures(make: Make) -> None:
    project = make(test=10)
    figures = judge(project, 8, likelihood=["water"] * 10, base=["?"] * 10)
    assert set(figures) == KEYS
    assert figures["accuracy"] == 0.8
    assert figures["ci"] == pytest.approx([0.4902, 0.9433], abs=1e-4)
    assert figures["base"] == {"greedy": 0.0, "likelihood": 0.4}
    assert figures["gain"] == pytest.approx(0.4)
    assert figures["majority"] == 0.4
    assert (figures["model"], figures["mmproj"]) == ("model-Q8_0.gguf", "mmproj-Q8_0.gguf")
    assert figures["contract"] == project.contract.hash
    assert figures["files"]["model-Q8_0.gguf"] == sha256_file(project.workspace.text_gguf("Q8_0"))


def test_the_ladder_has_every_step_with_its_keys(make: Make) -> None:
    rungs = judge(make(test=6), 6)["ladder"]
    assert [rung["step"] for rung in rungs][-2:] == ["llama.cpp Q8_0", "llama.cpp F16"]
    assert len(rungs) == 6
    assert all(set(rung) == {"step", "accuracy", "ci", "agreement", "mib", "ms"} for rung in rungs)


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
    with pytest.raises(
        GateMissed, match=r"0\.800 .*n = 10.*lower bound 0\.490 .*its upper bound does"
    ):
        check_gates(figures)


def test_a_broken_audit_misses_the_gate_and_keeps_the_figures(make: Make) -> None:
    broken = {"level": "token ids", "type": "F32", "note": "other words", "picture": "images/a.png"}
    figures = judge(make(test=10), 10) | {"audit": {"first_break": broken}}
    with pytest.raises(
        GateMissed, match=r"'token ids' on \(F32\): other words.*images/a\.png"
    ) as one:
        check_gates(figures)
    assert (one.value.figures["accuracy"], one.value.figures["audit"]) == (1.0, "token ids")
    figures = judge(make(test=10), 1) | {"audit": {"first_break": broken}}
    with pytest.raises(GateMissed, match=r"accuracy 0\.100 .* Also: torch and llama\.cpp differ"):
        check_gates(figures)


def test_a_hopeless_miss_says_so(make: Make) -> None:
    with pytest.raises(GateMissed, match="neither does its upper bound"):
        check_gates(judge(make(test=10), 1))


def test_accuracy_equal_to_the_gate_passes_with_a_word_on_the_lower_bound(make: Make) -> None:
    figures = judge(make(test=10, gates={"accuracy": 0.8}), 8)
    check_gates(figures)
    assert any("lower bound 0.490 does not clear it" in line for line in figures["warnings"])


@pytest.mark.parametrize(("n", "few"), [(99, True), (100, False)])
def test_few_pictures_are_warned_of(make: Make, n: int, few: bool) -> None:
    figures = judge(make(test=n), n)
    assert any("fewer than 100" in line for line in figures["warnings"]) is few


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
    rows = predictions(project, examples, ladder([" water", "it burns"]))
    assert [row["right"] for row in rows] == [True, False]
    assert [row["answer"] for row in rows] == ["water", None]
    assert rows[1]["texts"]["llama.cpp Q8_0"] == "it burns"
    assert rows[0]["image"] == "images/test0.png"
