"""Controls that ask the shipped files again: about nothing, in another order, for other truths."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketvlm.contract import Contract
from pocketvlm.pictures import Bitmap
from pocketvlm.progress import track
from pocketvlm.project import Project
from pocketvlm.runtime import Asked, ask_all
from pocketvlm.validate.controls.control import SEED, Control, Judged
from pocketvlm.validate.examples import Example

Files = tuple[Path, Path]
Floats = NDArray[np.float64]

MOST = 300
"""Pictures that are asked again."""

BETWEEN = 32
"""Pictures between the first and the second time that the blank ones are asked: two batches."""

DRIFT = 0.02
"""How much a label's probability may move with what is asked before. With the runtime this was
written for it does not move at all, at full size either (Q8_0, 500M); a build that adds up in
another order in batches of another size would move it a little."""


def ask_again(
    project: Project, files: Files, examples: Sequence[Example], said: Sequence[Asked]
) -> list[Control]:
    """The controls `blank pictures`, `another order` and `wrong truths`."""
    chosen = np.random.default_rng(SEED).permutation(len(examples))[:MOST].tolist()
    blank = blanks(project, files, [examples[at] for at in chosen[:BETWEEN]])
    again = list(
        track(
            ask_all(files, project.contract, _bitmaps(project, [examples[at] for at in chosen])),
            "Asking in another order",
            len(chosen),
        )
    )
    same = another_order(
        project, files, [examples[at] for at in chosen], [said[at] for at in chosen], again
    )
    places = [examples[at] for at in sorted(chosen)]
    texts = [one.text for one in again]
    own = Judged.of(project.contract, [examples[at] for at in chosen], texts)
    return [blank, same, wrong_truths(own, Judged.of(project.contract, places, texts))]


def blanks(project: Project, files: Files, others: Sequence[Example]) -> Control:
    """Black, grey and noise, asked before and after other pictures: what the files say of nothing,
    how sure they are of it, and whether it depends on what was asked before."""
    contract = project.contract
    empty = blank_bitmaps(contract.side)
    names = list(empty)

    def bitmaps() -> Iterator[Bitmap]:
        yield from empty.values()
        yield from _bitmaps(project, others)
        yield from reversed(empty.values())

    total = 2 * len(empty) + len(others)
    asked = ask_all(files, contract, bitmaps(), likelihoods=True)
    found = list(track(asked, "Asking about nothing", total))
    shares = probabilities(found)
    first, last = shares[: len(names)], shares[: -len(names) - 1 : -1]
    drift = float(np.abs(first - last).max())
    told = ", ".join(
        f"{contract.labels[row.argmax()]} of {name} ({row.max():.0%} sure)"
        for name, row in zip(names, first, strict=True)
    )
    real = shares[len(names) : -len(names)].max(axis=1)
    return Control(
        name="blank pictures",
        words=f"Of nothing it says {told}; of pictures it is {np.median(real):.0%} sure."
        f"{_as_sure(first.max(axis=1), real)} Asked again after {len(others)} other pictures, it "
        f"must say the same: the shares moved by at most {drift:.4f}.",
        value=drift,
        limit=DRIFT,
        passed=drift <= DRIFT,
        sentence="The same bitmap gets another answer after other pictures: something of them is "
        "left in the runtime (a KV cache that is not cleared, a sequence that sees another). The "
        "answers to all pictures are in doubt: report it with the runtime's build.",
    )


def another_order(
    project: Project,
    files: Files,
    examples: Sequence[Example],
    before: Sequence[Asked],
    again: Sequence[Asked],
) -> Control:
    """Whether pictures that are asked in another order, among other neighbours, get the answers
    they got; where two answers are all but equally likely, either will do."""
    differ = [
        at
        for at, pair in enumerate(zip(before, again, strict=True))
        if pair[0].text != pair[1].text
    ]
    closer = ask_all(
        files,
        project.contract,
        _bitmaps(project, [examples[at] for at in differ]),
        likelihoods=True,
    )
    ties = sum(
        near_tie(project, one, before[at].text, again[at].text)
        for at, one in zip(differ, closer if differ else (), strict=True)
    )
    share = 1 - (len(differ) - ties) / len(examples)
    limit = project.config.audit.answers
    tied = f", {ties} of them near-ties, which are not counted" if ties else ""
    return Control(
        name="another order",
        words=f"{len(examples)} pictures were asked again in a random order: "
        f"{len(differ)} got another answer than before{tied}.",
        value=share,
        limit=limit,
        passed=share >= limit,
        sentence="An answer depends on the pictures asked before or beside it, so an app will not "
        "see this accuracy: something is left in the runtime from one picture to the next, or the "
        "files were changed while they were judged.",
    )


def wrong_truths(own: Judged, others: Judged) -> Control:
    """The answers of the random order against the truths of the places that they took: a student
    that looks falls to chance, whose limit is `Judged.chance`'s."""
    expected, limit = others.chance
    tells = own.accuracy > limit
    blind = "" if tells else " With their own they are no better, so this says nothing."
    return Control(
        name="wrong truths",
        words=f"Judged against the truth of another picture, its answers are right on "
        f"{others.accuracy:.1%}; chance gives {expected:.1%}, with their own truth it is "
        f"{own.accuracy:.1%}.{blind}",
        value=others.accuracy,
        limit=limit,
        passed=others.accuracy <= limit if tells else None,
        sentence="Answers fit the place in the queue and not the picture: something remembers the "
        "order (answers kept from before, labels read from file names).",
    )


def blank_bitmaps(side: int) -> dict[str, Bitmap]:
    """Pictures that show nothing, uint8 (side, side, 3), by their name."""
    shape = (side, side, 3)
    return {
        "black": np.zeros(shape, np.uint8),
        "grey": np.full(shape, 128, np.uint8),
        "noise": np.random.default_rng(SEED).integers(0, 256, shape, np.uint8),
    }


def probabilities(said: Sequence[Asked]) -> Floats:
    """The labels' shares by likelihood, (n, labels), each row of sum 1."""
    scores = np.array([one.likelihoods for one in said], np.float64)
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def near_tie(project: Project, asked: Asked, before: str, now: str) -> bool:
    """Whether two answers are labels, and of likelihoods that differ less than rounding may."""
    contract: Contract = project.contract
    labels = [contract.label_of(text) for text in (before, now)]
    if None in labels or asked.likelihoods is None:
        return False
    first, second = (asked.likelihoods[contract.labels.index(str(one))] for one in labels)
    return abs(first - second) < project.config.audit.near_tie


def _as_sure(empty: Floats, real: Floats) -> str:
    """A word of warning for the app where nothing looks as sure as something."""
    if not len(real) or empty.max() < np.median(real):
        return ""
    return " How sure it is does not tell a covered camera from a picture."


def _bitmaps(project: Project, examples: Sequence[Example]) -> Iterator[Bitmap]:
    from pocketvlm.student.data import read_bitmap

    return (read_bitmap(one.path, project.contract.side) for one in examples)
