"""Figures of a list of answers against a list of true labels.

An answer is a label or None (the text was no label). None counts as wrong everywhere."""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from pocketvlm.workspace import Row

Answers = Sequence[str | None]

OTHER = "other"
"""Heading of the last confusion column: answers that are no label."""

_NONE = ""
"""None for scikit-learn; no label is empty (config.Task)."""


def hits(truth: Sequence[str], answers: Answers) -> int:
    """How many answers equal the truth."""
    return sum(true == answer for true, answer in zip(truth, answers, strict=True))


def accuracy(truth: Sequence[str], answers: Answers) -> float:
    """Share of right answers, 0..1; both lists have at least one element."""
    return hits(truth, answers) / len(truth)


def majority(truth: Sequence[str]) -> float:
    """Accuracy of always answering the commonest label."""
    return max(Counter(truth).values()) / len(truth)


def per_class(truth: Sequence[str], answers: Answers, labels: Sequence[str]) -> dict[str, Row]:
    """`precision`, `recall`, `f1` and `support` a label; 0 where a division has no base."""
    parts = precision_recall_fscore_support(
        list(truth), _words(answers), labels=list(labels), zero_division=0
    )
    names = ("precision", "recall", "f1")
    return {
        label: {
            **{name: float(values[at]) for name, values in zip(names, parts, strict=False)},
            "support": int(parts[3][at]),
        }
        for at, label in enumerate(labels)
    }


def macro_f1(truth: Sequence[str], answers: Answers) -> float:
    """Mean F1 over the labels that occur in truth or answers, each weighing the same."""
    labels = sorted({*truth, *answers} - {None}, key=str)
    rows = per_class(truth, answers, [str(label) for label in labels])
    return fmean(row["f1"] for row in rows.values())


def confusion(truth: Sequence[str], answers: Answers, labels: Sequence[str]) -> Row:
    """Counts with a row a true label and a column an answered one; the last column holds the
    answers that are no label."""
    counts = confusion_matrix(list(truth), _words(answers), labels=[*labels, _NONE])
    rows = counts[: len(labels)].tolist()
    return {"truth": list(labels), "answered": [*labels, OTHER], "counts": rows}


def one_word(texts: Sequence[str], ended: Sequence[bool]) -> float:
    """Share of answers of exactly one word that stopped by themselves."""
    return fmean(
        len(text.split()) == 1 and stopped for text, stopped in zip(texts, ended, strict=True)
    )


def out_of_vocabulary(texts: Sequence[str], labels: Sequence[str]) -> float:
    """Share of answers that are no label of the task, white space at the ends aside."""
    return fmean(text.strip() not in labels for text in texts)


def cut(ended: Sequence[bool]) -> float:
    """Share of answers that the token limit cut off: no end token came before it."""
    return fmean(not stopped for stopped in ended)


def agreement(first: Sequence[str], second: Sequence[str]) -> float:
    """Share of pictures on which two lists of texts say the same, white space at the ends aside."""
    return fmean(a.strip() == b.strip() for a, b in zip(first, second, strict=True))


def _words(answers: Answers) -> list[str]:
    return [_NONE if answer is None else answer for answer in answers]
