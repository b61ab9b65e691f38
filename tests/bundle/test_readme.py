"""The page for the person who writes the app."""

import json
import re

from pocketvlm.bundle import bundle
from pocketvlm.project import Project
from pocketvlm.workspace import read_json, write_json

from .conftest import figures_of


def page(project: Project) -> str:
    """Bundle and read the page."""
    bundle(project)
    return (project.workspace.bundle / "README.md").read_text()


def test_the_prompt_can_be_copied_byte_for_byte(project: Project) -> None:
    block = re.search(r"```json\n(.*)\n```", page(project))
    assert block
    assert json.loads(block[1]) == project.contract.prompt


def test_every_constant_has_its_value(project: Project) -> None:
    text = page(project)
    contract = read_json(project.workspace.bundle / "contract.json")
    for line in (
        "| `SIDE` | 64 |",
        "| `MARKER` | `<__media__>` |",
        "| `LABELS` | water, fire\\|heat |",
        "| `LAYOUT` | 2 x 1 embeddings |",
    ):
        assert line in text
    assert f"| `END_TOKEN_ID` | {contract['end_token_id']} (`<end_of_utterance>`) |" in text
    assert f"{contract['image_token_id']} stands for an embedding" in text
    assert project.contract.hash in text


def with_figures(project: Project, **figures: object) -> str:
    """The page of a verdict with other figures."""
    write_json(project.workspace.report / "metrics.json", figures_of(project) | figures)
    return page(project)


def test_accuracy_comes_with_interval_gates_and_warnings(project: Project) -> None:
    text = page(project)
    assert "90.0% of 100 pictures" in text
    assert "82.6% to 94.5%; truth: known; split: test" in text
    gate = (
        "Gates: the lower bound of accuracy at least 85.0%, found 82.6%: **missed** by 2.4 points."
    )
    assert gate in text
    assert "> Mind: only 100 pictures were asked." in text


def test_passed_gates_are_said_in_their_units(project: Project) -> None:
    gates = {
        "one_word": {"wanted": 0.9, "found": 0.99, "passed": True, "by": -0.09, "bound": "least"},
        "mib": {"wanted": 300.0, "found": 320.4, "passed": False, "by": 20.4, "bound": "most"},
    }
    text = with_figures(project, gates=gates)
    assert "answers of one word at least 90.0%, found 99.0%: passed;" in text
    assert "MiB of both files at most 300.0, found 320.4: **missed** by 20.4." in text


def test_the_three_ways_stand_side_by_side(project: Project) -> None:
    text = page(project)
    for row in ("| greedy | 90.0% | 12 |", "| likelihood | 92.0% | 15 |", "| grammar | 91.0% |"):
        assert row in text


def test_the_unsure_rule_has_its_numbers(project: Project) -> None:
    text = page(project)
    assert "| `TEMPERATURE` | 1.25 |" in text and "| `UNSURE_BELOW` | 0.71 |" in text
    assert (
        "Below a confidence of 0.710 an answer is `unsure`, chosen on 120 pictures of val" in text
    )
    assert "for 95% of the others to be right" in text
    assert "80.0% of the pictures are answered, 97.5% of these right." in text


def test_without_a_threshold_or_a_calibration_that_is_said(project: Project) -> None:
    known = figures_of(project)["calibration"]
    none = {"unsure_below": None, "coverage": None, "accuracy_when_sure": None}
    text = with_figures(project, calibration=known | none)
    assert "no confidence makes answers right 95% of the time" in text
    assert "| `UNSURE_BELOW` | null |" in text
    text = with_figures(project, calibration=None)
    assert "How sure the student is was not calibrated" in text
    assert "| `UNSURE_BELOW` | null |" in text and "| `TEMPERATURE` | not fitted |" in text


def test_tables_are_whole(project: Project) -> None:
    """A question with a bar or a backtick must not break a table."""
    rows = [line for line in page(project).splitlines() if line.startswith("|")]
    columns = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert columns == {3, 4, 5}
    for table in re.findall(r"(?:^\|.*\n)+", page(project), re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1
