"""The controls that tell learning from luck: each is a plain question with a figure and a verdict.

Which of them speaks, and when:
- the student learned nothing: `majority`, and the `linear probe` where features are good enough;
- labels that do not follow the pictures (shuffled, or shifted by a line): `labels`, beside
  `majority`; `teacher` too where the truth is known;
- one picture's answer depends on another (a cache that is not cleared): `blank pictures`, `another
  order`;
- answers that follow the place in the queue: `wrong truths`;
- pictures of train in test: `near-duplicates`.
"""

from collections.abc import Sequence
from pathlib import Path

from pocketvlm.project import Project
from pocketvlm.runtime import Asked
from pocketvlm.validate.controls.again import ask_again
from pocketvlm.validate.controls.control import Control, Judged
from pocketvlm.validate.controls.probe_features import probe_controls
from pocketvlm.validate.controls.teaching import teacher
from pocketvlm.validate.controls.twins import near_duplicates
from pocketvlm.validate.examples import Example
from pocketvlm.workspace import Row


def controls(
    project: Project, files: tuple[Path, Path], examples: Sequence[Example], said: Sequence[Asked]
) -> list[Row]:
    """All controls of the pair `files`, which said `said` of the examples, in the same order."""
    judged = Judged.of(project.contract, examples, [one.text for one in said])
    found = [
        majority(judged),
        *ask_again(project, files, examples, said),
        *probe_controls(project, examples, judged),
        teacher(project, examples, judged),
        near_duplicates(project, [one.path for one in examples], judged),
    ]
    return [control.row() for control in found]


def majority(judged: Judged) -> Control:
    """Accuracy against always answering the commonest label of the judged pictures."""
    passed = judged.above_majority
    more = "; that is too few or too lopsided a set to tell more" if passed is None else ""
    if passed is False and judged.related:  # it finds the rare ones, at the common one's expense
        passed, more = None, "; it is not surely better, but its answers follow the pictures"
    return Control(
        name="majority",
        words=f"Right on {judged} of {judged.n} pictures; always answering "
        f"{judged.commonest!r}, without a look, would be right on {judged.majority:.1%}{more}.",
        value=judged.interval[0],
        limit=judged.majority,
        passed=passed,
        sentence="The student is not surely better than one that never looks. Look at the loss and "
        "the recalls of the training, then at the control 'labels', which says whether there was "
        "something to learn.",
    )
