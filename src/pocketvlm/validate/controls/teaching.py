"""The control `teacher`: what the labels themselves are worth, where something better is known."""

from collections.abc import Sequence

from pocketvlm.intervals import mcnemar
from pocketvlm.label import answers_of
from pocketvlm.project import Project
from pocketvlm.validate.controls.control import Control, Judged
from pocketvlm.validate.examples import Example

NAME = "teacher"

SURE = 0.05
"""Below this p a difference between student and teacher is told as one."""

MEANS = (
    "The labels are right no more often than chance: they do not belong to these pictures (lines "
    "of a file that were sorted or shuffled by themselves, another truth_file), or the teacher "
    "cannot do this task. Look at some pictures with their labels: `pocketvlm review`."
)


def teacher(project: Project, examples: Sequence[Example], judged: Judged) -> Control:
    """The teacher's labels against the truth, on the pictures that the student was judged on."""
    truth = project.config.validate_.truth
    if truth == "teacher":
        return _unknown(
            "Not judged: what counts as true here are the teacher's own labels, so its mistakes "
            "cannot be seen, and a student that repeats them counts as right. To find out, review "
            "pictures (validate.truth: reviewed) or give a known truth."
        )
    if truth == "known":
        return _measured(judged, [one.teacher for one in examples])
    words = own_words(project)
    places = [at for at, one in enumerate(examples) if one.id in words]
    if not places:
        return _unknown(
            "Not judged: a person's decision stands in the place of the label, and what the "
            "teacher had said before is not on the disk."
        )
    return _measured(judged.part(places), [words[examples[at].id] for at in places])


def own_words(project: Project) -> dict[str, str | None]:
    """What the teachers together said of each picture, by its SHA-256, before a person decided;
    None for no label. Empty where no teacher was asked in the present words."""
    space = project.workspace
    if project.config.prepare.custom or not (space.answers.is_file() and space.index.is_file()):
        return {}
    return {
        picture["sha256"]: answer["label"] if answer["status"] == "ok" else None
        for picture, answer in answers_of(project)
    }


def _measured(student: Judged, labels: Sequence[str | None]) -> Control:
    own = Judged(student.truth, labels)
    return Control(
        name=NAME,
        words=f"The teacher's labels are right on {own} of {own.n} pictures, chance on "
        f"{own.chance[0]:.1%}. {_beside(student, own)}",
        value=own.accuracy,
        limit=own.chance[1],
        passed=own.related,
        sentence=MEANS,
    )


def _beside(student: Judged, teacher: Judged) -> str:
    """The student beside its teacher, in a sentence."""
    pairs = list(zip(student.right, teacher.right, strict=True))
    gained, lost = pairs.count((True, False)), pairs.count((False, True))
    p = mcnemar(gained, lost)
    if p >= SURE:
        return f"The student, {student.accuracy:.1%}, cannot be told from it (p = {p:.2f})."
    if gained > lost:
        return (
            f"The student, {student.accuracy:.1%}, is better than its teacher: it learned what its "
            "labels have in common, and not their mistakes."
        )
    return f"The student, {student.accuracy:.1%}, does not reach its teacher yet."


def _unknown(words: str) -> Control:
    return Control(NAME, words, value=None, limit=None, passed=None, sentence=MEANS)
