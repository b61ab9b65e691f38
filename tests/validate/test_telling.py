"""The verdict's figures in words."""

import pytest

from pocketvlm.validate.report import telling
from pocketvlm.workspace import Row


def gate(wanted: float, found: float, bound: str = "least") -> Row:
    """A gate's row as validate writes it."""
    by = wanted - found if bound == "least" else found - wanted
    return {"wanted": wanted, "found": found, "passed": by <= 0, "by": by, "bound": bound}


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("accuracy", gate(0.85, 0.9), ("at least 85.0%", "90.0%", "5.0 points to spare")),
        ("one_word", gate(0.95, 0.9), ("at least 95.0%", "90.0%", "missed by 5.0 points")),
        ("ms", gate(700, 788.9, "most"), ("at most 700 ms", "789 ms", "missed by 88.9 ms")),
        ("mib", gate(320, 298.1, "most"), ("at most 320 MiB", "298 MiB", "21.9 MiB to spare")),
        ("agreement", gate(1.0, 1.0), ("at least 100.0%", "100.0%", "just reached")),
    ],
)
def test_a_gate_in_its_unit(name: str, row: Row, words: tuple[str, ...]) -> None:
    told = telling.gate_rows({name: row})[0]
    assert (told["wanted"], told["found"], told["by"]) == words


def test_gates_of_an_older_form_are_left_out() -> None:
    assert telling.gate_rows({"min_accuracy": {"value": 0.85, "passed": True}}) == []


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        ([True], "Gate passed"),
        ([False], "Gate missed"),
        ([True, True], "All 2 gates passed"),
        ([True, False, False], "2 of 3 gates missed"),
    ],
)
def test_gates_together(passed: list[bool], words: str) -> None:
    assert telling.gates_sentence([{"passed": one} for one in passed]) == words


def change(gained: int, lost: int, p: float) -> Row:
    """A paired change of a hundred pictures, its interval a point to each side."""
    share = (gained - lost) / 100
    row = {"difference": share, "low": share - 0.01, "high": share + 0.01, "p": p}
    return row | {"gained": gained, "lost": lost}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (change(0, 0, 1.0), "right on the same pictures"),
        (change(3, 4, 1.0), "3 won, 4 lost: chance alone could do it (p = 1.00)"),
        (change(9, 1, 0.0215), "9 won, 1 lost: more than chance explains (p = 0.021)"),
        (change(90, 1, 1e-9), "90 won, 1 lost: more than chance explains (p < 0.001)"),
    ],
)
def test_a_change_in_words(row: Row, words: str) -> None:
    assert telling.changed(row) == words


def rung(step: str, before: str | None, type: str | None, row: Row | None) -> Row:
    """A rung of the ladder as far as a drop needs it."""
    return {"step": step, "before": before, "type": type, "change": row}


def test_the_worst_sure_drop_names_where_to_look() -> None:
    ladder = [
        rung("torch adapter", "torch base, greedy", None, change(60, 1, 0)),
        rung("llama.cpp F16", "torch merged", "F16", change(0, 2, 0.5)),
        rung("llama.cpp Q4_0", "llama.cpp F16", "Q4_0", change(0, 9, 0.004)),
    ]
    found = telling.worst_drop(ladder)
    assert found
    assert found[0]["step"] == "llama.cpp Q4_0"
    assert "do not ship it" in found[1]
    lost = telling.worst_drop([*ladder, ladder[1] | {"change": change(0, 20, 0)}])
    assert lost
    assert "the conversion changed the student" in lost[1]
    assert telling.worst_drop(ladder[:1]) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (41.9, "41.9 s"),
        (59.99, "1 min 0 s"),
        (341.2, "5 min 41 s"),
        (5423.1, "1 h 30 min"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert telling.duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "–"), (0.283, "28.3%"), (14, "14"), (0, "0"), (12.345, "12.3")],  # noqa: RUF001
)
def test_outcomes_of_controls(value: float | None, words: str) -> None:
    assert telling.outcome(value) == words


def test_a_zero_has_no_sign() -> None:
    assert [telling.signed(x) for x in (-0.0001, 0.0, 0.0004, -0.0133)] == [
        "0.0",
        "0.0",
        "0.0",
        "-1.3",
    ]
