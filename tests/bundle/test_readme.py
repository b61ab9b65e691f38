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


def test_accuracy_comes_with_interval_gate_and_warnings(project: Project) -> None:
    text = page(project)
    assert "90.0% of 100 pictures" in text
    assert "82.6% to 94.5%; truth: known; split: test" in text
    assert "gate of 85.0% is passed" in text
    assert "> Mind: the gate is passed, but not by the lower bound." in text


def test_a_missed_gate_is_said(project: Project) -> None:
    figures = figures_of(project)
    figures["gates"]["min_accuracy"]["passed"] = False
    write_json(project.workspace.report / "metrics.json", figures)
    assert "gate of 85.0% is **missed**" in page(project)


def test_tables_are_whole(project: Project) -> None:
    """A question with a bar or a backtick must not break a table."""
    rows = [line for line in page(project).splitlines() if line.startswith("|")]
    columns = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert columns == {3, 4}
    for table in re.findall(r"(?:^\|.*\n)+", page(project), re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1
