"""Controls by a linear probe: the simplest learner, on what the untrained tower sees.

It shares nothing with the student but the tower and the labels. So it says what was there to be
learnt: a student that does worse was trained badly, and labels that neither learns do not follow
the pictures."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pocketvlm.dataset import Line, read_split
from pocketvlm.intervals import mcnemar, paired
from pocketvlm.project import Project
from pocketvlm.validate.controls.control import SEED, Control, Judged
from pocketvlm.validate.examples import Example

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Floats = NDArray[np.float32]

MOST = 1000
"""Pictures of train that the probe learns from, and of the judged ones that it is asked about."""

TRAIN_SHARE = 0.75
"""Of the pictures that the tower can look at in minutes."""

STRENGTH = 0.1
"""scikit-learn's C, the inverse of the penalty: features outnumber pictures. On the demo's scenes
0.01 to 1 differ by 3 points at most."""

FOLDS = 5
"""Each picture of train is also judged by a probe that learned from the other four fifths."""

FEW = 100
"""With fewer pictures of train a probe that finds nothing accuses nobody."""

SURE = 0.05
"""Student and probe differ when McNemar's p lies below."""


@dataclass(frozen=True)
class Probe:
    """What the probe said."""

    train: Judged
    """Of its own pictures, each by a probe that did not see it, against their labels."""
    places: list[int]
    """Which of the examples it was asked about."""
    judged: Judged
    """Of these, against their truth."""


def probe_controls(project: Project, examples: Sequence[Example], judged: Judged) -> list[Control]:
    """The controls `linear probe` and `labels`; not judged where train holds too few pictures."""
    lines = list(read_split(project, "train"))
    often = sum(count >= FOLDS for count in Counter(line.label for line in lines).values())
    if often < 2:
        return [_too_few("linear probe", WORSE), _too_few("labels", UNRELATED)]
    probe = fit_probe(project, lines, examples)
    student = judged.part(probe.places)
    repeated = Judged([one.teacher for one in examples], judged.answers)
    return [linear_probe(student, probe), labels(judged, repeated, probe)]


def fit_probe(project: Project, lines: Sequence[Line], examples: Sequence[Example]) -> Probe:
    """Look at samples of train and of the examples with the base's tower, learn, and answer."""
    from pocketvlm.student import load_base
    from pocketvlm.student.frozen import affordable, pooled_states

    student = load_base(project)
    most = affordable(student)
    own, asked = (MOST, MOST) if most is None else _shared(most)
    rng = np.random.default_rng(SEED)
    shown = [lines[at] for at in _sample(rng, len(lines), own)]
    places = _sample(rng, len(examples), asked)
    folder = project.workspace.dataset
    paths = [folder / line.image for line in shown] + [examples[at].path for at in places]
    states = pooled_states(student, paths)
    taught = [line.label for line in shown]
    mine, theirs = states[: len(shown)], states[len(shown) :]
    said = learn(mine, taught).predict(theirs).tolist()
    train = Judged(taught, cross_validated(mine, taught))
    return Probe(train, places, Judged([examples[at].truth for at in places], said))


def learn(states: Floats, labels: Sequence[str]) -> "Pipeline":
    """Logistic regression on features of mean 0 and deviation 1."""
    return _untaught().fit(states, labels)


def cross_validated(states: Floats, labels: Sequence[str]) -> list[str]:
    """What probes say of pictures that they did not learn from; at least two labels must have
    `FOLDS` pictures."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        said = cross_val_predict(_untaught(), states, np.array(labels), cv=folds)
    return [str(one) for one in said]


def _untaught() -> "Pipeline":
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))


WORSE = (
    "A far simpler learner does better on what the untrained tower sees: the student was trained "
    "badly. Look at the loss (learning rate, epochs), at the skew audit, and whether train.vision "
    "should be `connector`."
)

UNRELATED = (
    "The labels do not follow the pictures: neither the probe nor the student meets labels that it "
    "was not shown more often than chance. Lines and pictures were mixed up (a file that was "
    "sorted or shuffled by itself, wrong image names), or the teacher guesses: look at some "
    "pictures with their labels."
)

MISMATCHED = (
    "The labels of train follow their pictures, but what counts as true of the judged ones does "
    "not: look in the judged split, or in validate.truth_file, for lines that were mixed up."
)


def linear_probe(student: Judged, probe: Probe) -> Control:
    """The student against the probe on the same pictures; passed unless it is surely worse."""
    other = probe.judged
    pairs = list(zip(other.right, student.right, strict=True))
    gained, lost = pairs.count((False, True)), pairs.count((True, False))
    difference, low, high = paired(gained, lost, other.n)
    p = mcnemar(gained, lost)
    return Control(
        name="linear probe",
        words=f"A linear classifier on what the untrained tower sees, taught with "
        f"{probe.train.n} of the same labels, is right on {other}; the student on the same "
        f"{other.n} pictures on {student.accuracy:.1%}, {100 * difference:+.1f} points "
        f"[{100 * low:+.1f}, {100 * high:+.1f}], p = {p:.2g}.",
        value=student.accuracy,
        limit=other.accuracy,
        passed=not (lost > gained and p < SURE),
        sentence=WORSE,
    )


def labels(student: Judged, repeated: Judged, probe: Probe) -> Control:
    """Whether labels follow pictures: one learner that meets labels which it was not shown, more
    often than chance, proves it; the probe those of train, or the student those of the judged split
    (`repeated`: the student's answers against the dataset's labels).

    The truth is no evidence for the labels: a student that was taught noise still answers by what
    it sees, and may be right more often than chance by luck."""
    train, test = probe.train, probe.judged
    words = (
        f"Do labels follow pictures? A probe meets {train} of {train.n} train labels that it was "
        f"not shown, where chance meets {train.chance[0]:.1%}, and is right on {test} of {test.n} "
        f"judged pictures; the student on {student}."
    )
    apart = test.interval[1] < train.interval[0]
    if train.related and apart and not (test.related or student.related):
        value, limit = test.interval[1], train.interval[0]
        return Control("labels", words, value, limit, False, MISMATCHED)
    passed = bool(train.related or repeated.related) or (None if train.n < FEW else False)
    if passed is None:
        words += " That is too few pictures to tell."
    return Control("labels", words, train.accuracy, train.chance[1], passed, UNRELATED)


def _too_few(name: str, means: str) -> Control:
    words = f"Not judged: train needs {FOLDS} pictures or more of two labels for a probe."
    return Control(name, words, value=None, limit=None, passed=None, sentence=means)


def _shared(most: int) -> tuple[int, int]:
    """Pictures of train and judged ones when the tower can look at `most`."""
    own = max(1, round(TRAIN_SHARE * most))
    return min(MOST, own), min(MOST, max(1, most - own))


def _sample(rng: np.random.Generator, count: int, most: int) -> list[int]:
    return sorted(rng.permutation(count)[:most].tolist())
