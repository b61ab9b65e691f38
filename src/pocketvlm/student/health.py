"""What is wrong with a training: said as soon as it shows, with the likely cause and the mend.

What makes every later figure worthless stops the training: a loss that is no number, a val that
train holds. All else is a warning, and only where the numbers bear it: on a val of eight pictures
a false alarm costs more than silence.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from sys import intern

import numpy as np
from scipy.stats import mannwhitneyu

from pocketvlm.dataset import Line, read_split
from pocketvlm.errors import PocketError
from pocketvlm.intervals import wilson
from pocketvlm.parallel import in_order
from pocketvlm.progress import bar
from pocketvlm.project import Project
from pocketvlm.workspace import read_rows, sha256_file

KNOWN = 0.5
"""Such a share of val that train holds stops a training: what was learned by heart then counts as
much as what was understood, and decides which epoch is the best."""

MANY = 10_000
"""More pictures take over two seconds to compare."""

WINDOW = 20
"""Losses whose median is compared."""

CLEAR = 0.1
"""A smaller rise of the loss is not worth a word (nats a token)."""

CHANCE = 1e-6
"""How likely chance alone may explain a rise: a long training is looked at thousands of times."""

LOPSIDED = 3
"""A label is rare where another has so many times as many pictures in train."""


def check_finite(loss: float, step: int) -> None:
    """PocketError when a loss is not finite."""
    if not math.isfinite(loss):
        raise PocketError(
            f"the loss became {loss} at step {step}: lower train.learning_rate (half of it is a "
            "good try) and train again; if it was so from the first step, delete state/features, "
            "which a disk may have damaged"
        )


@dataclass
class Shown:
    """The pictures of train by their content: 100,000 of them took 29 MB."""

    rows: dict[bytes, int] = field(default_factory=dict)
    """The row in which a picture is met first, by its digest."""
    labels: list[str] = field(default_factory=list)
    contrary: dict[int, int] = field(default_factory=dict)
    """That row, and the first one with the same picture and another label."""

    def add(self, digest: bytes, label: str) -> None:
        """Take the next row."""
        first = self.rows.setdefault(digest, len(self.labels))
        self.labels.append(intern(label))
        if self.labels[first] != label:
            self.contrary.setdefault(first, len(self.labels) - 1)


def check_splits(project: Project) -> list[str]:
    """Pictures of val that train holds too, and pictures of train with two labels, as warnings.

    A picture is its bitmap's bytes, whatever the file is called. PocketError when half of val is
    in train, or a bitmap cannot be read."""
    total = sum(1 for name in ("train", "val") for _ in read_rows(project.workspace.split(name)))
    shown, val = Shown(), 0
    known: list[tuple[int, int]] = []  # row in val, row in train
    with bar("Comparing train and val", total, shown=total > MANY) as advance:
        for digest, label in _digests(project, "train", advance):
            shown.add(digest, label)
        for digest, _ in _digests(project, "val", advance):
            if digest in shown.rows:
                known.append((val, shown.rows[digest]))
            val += 1
    found = [_known(project, known, val)] if known else []
    if known and len(known) >= KNOWN * val:
        raise PocketError(
            f"{found[0]}, or empty {project.workspace.split('val')} to train without it"
        )
    return found + ([_contrary(project, shown)] if shown.contrary else [])


def _digests(
    project: Project, split: str, advance: Callable[[str], None]
) -> Iterator[tuple[bytes, str]]:
    """Half of the SHA-256 and the label of every picture of a split, in order."""

    def digest(line: Line) -> bytes:
        path = project.workspace.dataset / line.image
        try:
            return bytes.fromhex(sha256_file(path))[:16]
        except OSError as error:
            raise PocketError(f"{path} cannot be read ({error}): run `pocketvlm prepare`") from None

    for line, found in in_order(digest, read_split(project, split)):
        advance("")
        yield found, line.label


def _known(project: Project, known: Sequence[tuple[int, int]], val: int) -> str:
    at, first = known[0]
    files = project.workspace.split("train"), project.workspace.split("val")
    mend = f"take them out of {files[0]} or {files[1]}"
    if _prepared(project):
        mend = "`pocketvlm prepare` splits anew; what it leaves, take out of the pictures"
    names = _line(project, "val", at).image, _line(project, "train", first).image
    example = names[0] if names[0] == names[1] else f"{names[0]} is {names[1]}"
    return (
        f"{len(known):,} of the {val:,} pictures of val are in train too ({example}), so that "
        f"val measures memory and the best epoch is chosen wrongly: {mend}"
    )


def _contrary(project: Project, shown: Shown) -> str:
    first, second = (_line(project, "train", at) for at in next(iter(shown.contrary.items())))
    mend = f"correct {project.workspace.split('train')}"
    if _prepared(project):
        mend = "decide in `pocketvlm review`, then `pocketvlm prepare`"
    return (
        f"pictures of train with two labels: {len(shown.contrary):,} ({first.image} is "
        f"'{first.label}', the same picture {second.image} is '{second.label}'), which teaches "
        f"neither: {mend}"
    )


def _line(project: Project, split: str, at: int) -> Line:
    return next(line for row, line in enumerate(read_split(project, split)) if row == at)


def _prepared(project: Project) -> bool:
    """Whether `prepare` made the dataset; an import takes the manifest away."""
    return project.workspace.manifest("prepare").is_file()


def rising(project: Project, losses: Sequence[float]) -> str | None:
    """A warning when the last losses of training are clearly above the lowest before them.

    Medians of windows, so that a hard batch is no rise, and a rank test, so that noise is none."""
    if len(losses) < 2 * WINDOW:
        return None
    windows = np.array(losses[len(losses) % WINDOW :], np.float64).reshape(-1, WINDOW)
    medians = np.median(windows, axis=1)
    lowest = int(medians[:-1].argmin())
    if medians[-1] < medians[lowest] + CLEAR:
        return None
    test = mannwhitneyu(windows[-1], windows[lowest], alternative="greater", method="asymptotic")
    if test.pvalue > CHANCE:
        return None
    return (
        f"the loss rises: {medians[-1]:.2f} of late, {medians[lowest]:.2f} at its lowest: the rate "
        f"is likely too high, `pocketvlm train {_half(project)}` halves it; the curve will be in "
        f"{_drawn(project)}, `--set track.tensorboard=true` shows it at once"
    )


def after_epoch(
    project: Project,
    right: int,
    answers: Mapping[str, int],
    val_labels: Sequence[str],
    train_labels: Sequence[str],
) -> list[str]:
    """What the answers on val say against the training, as warnings.

    `right` of the answers are right; `answers` counts each one, without outer spaces. What is
    missing there, or no label, counts as no label. The gravest finding explains the others, which
    are then left out."""
    n = len(val_labels)
    if not n:
        return []
    counts = {label: answers.get(label, 0) for label in project.contract.labels}
    if _most(n - sum(counts.values()), n):
        return [_no_label(project, answers, n - sum(counts.values()), n)]
    often = max(counts, key=lambda label: counts[label])
    others = n - val_labels.count(often)
    if counts[often] == n and _most(others, others):
        return [
            f"every picture of val is answered '{often}', though {others} of {n} are something "
            f"else: {_one_sided(project, often, train_labels)}"
        ]
    found = _at_majority(project, right, val_labels, train_labels)
    return found + _never(project, counts, val_labels, train_labels)


def _most(count: int, n: int) -> bool:
    """Whether more than half of such pictures would be so, at 95%: of three, nothing is known."""
    return n > 0 and wilson(count, n)[0] > 0.5


def _no_label(project: Project, answers: Mapping[str, int], outside: int, n: int) -> str:
    other = {text: answers[text] for text in answers if text not in project.contract.labels}
    example = f" (most often {max(other, key=lambda text: other[text])!r})" if other else ""
    return (
        f"{outside} of {n} answers on val are no label{example}: if the loss still falls, there "
        f"were too few steps, `--set {_longer(project)}`; if not, the rate is too high, "
        f"`pocketvlm train {_half(project)}`; the curve will be in {_drawn(project)}"
    )


def _at_majority(
    project: Project, right: int, val_labels: Sequence[str], train_labels: Sequence[str]
) -> list[str]:
    """Accuracy that is not above the most frequent label's share, at 95%, and is below the middle
    between that and all right, at 95% too: few pictures show the one, never the other."""
    n = len(val_labels)
    label, most = Counter(val_labels).most_common(1)[0]
    low, high = wilson(right, n)
    if most == n or low > most / n or high >= (1 + most / n) / 2:
        return []
    return [
        f"{right} of {n} answers on val are right, '{label}' for every picture would be {most}: "
        f"{_one_sided(project, label, train_labels)}"
    ]


def _one_sided(project: Project, label: str, train_labels: Sequence[str]) -> str:
    """Why a student answers with the most frequent label, or as well as that."""
    counts = Counter(train_labels)
    rest = [counts[other] for other in project.contract.labels if other != label]
    if counts[label] >= LOPSIDED * max(min(rest), 1):
        return (
            f"train holds {counts[label]:,} of it and {min(rest):,} of the rarest label, "
            "`pocketvlm train --set train.balanced=true` shows all equally often"
        )
    return (
        f"train longer, `--set {_longer(project)}`; if the loss does not fall, "
        f"`pocketvlm train {_half(project)}`; if it does, labels may be wrong, {_look(project)}"
    )


def _never(
    project: Project,
    answered: Mapping[str, int],
    val_labels: Sequence[str],
    train_labels: Sequence[str],
) -> list[str]:
    val, train = Counter(val_labels), Counter(train_labels)
    return [
        f"'{label}' is never answered, though val holds {val[label]} of it: "
        f"{_rare(project, label, train)}"
        for label in project.contract.labels
        if not answered[label] and _most(val[label], val[label])
    ]


def _rare(project: Project, label: str, train: Mapping[str, int]) -> str:
    if train.get(label, 0) * LOPSIDED <= max(train.values(), default=0):
        return (
            f"train holds {train.get(label, 0):,} of it, collect more, or show it more often: "
            "`pocketvlm train --set train.balanced=true`"
        )
    return f"train longer, `--set {_longer(project)}`, or its labels are wrong, " + _look(
        project, label
    )


def _look(project: Project, label: str | None = None) -> str:
    """Where labels can be looked at: a dataset of one's own has no teachers' answers."""
    if not project.workspace.answers.is_file():
        return f"look into {project.workspace.split('train')}"
    return f"`pocketvlm answers --label {quote(label)}`" if label else "`pocketvlm review`"


def _half(project: Project) -> str:
    return f"--set train.learning_rate={project.config.train.learning_rate / 2:g}"


def _longer(project: Project) -> str:
    return f"train.epochs={2 * project.config.train.epochs}"


def _drawn(project: Project) -> Path:
    return project.workspace.adapter / "history.png"
