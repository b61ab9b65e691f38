"""Figures of the labels: how far teachers agree, what their stated confidence is worth, the cost.

Pure functions from opinions and decisions (see consensus.py) to JSON."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from statistics import fmean

from sklearn.metrics import cohen_kappa_score, confusion_matrix

from pocketvlm.intervals import wilson
from pocketvlm.label.consensus import Decision, class_of
from pocketvlm.label.prompt import NONE
from pocketvlm.workspace import Row

STATUSES = ("ok", "none", "rejected", "refused", "malformed", "failed")

EXACT = 12
"""So many different stated confidences are counted one by one, more of them in bins."""

HISTOGRAM, CALIBRATION = 20, 10
"""Bins of equal width from 0 to 1."""

CLUSTERED, FEW = 0.5, 20
"""A value that holds more than this share of at least so many confidences says nothing."""

Review = tuple[str, str | None]
"""A person's decision about a picture's label (`accept`, `reject` or `relabel`), and the label: the
one that was accepted or rejected (None: the picture's present one), or the new one."""

Heard = Mapping[int, Sequence[Row]]
"""A picture's usable opinions by teacher, each teacher's by repeat."""

Hit = tuple[float, bool]
"""A stated confidence, and whether the answer was right."""

Truth = tuple[bool, str]
"""Whether a picture is of the class or is not, as far as a person said."""


def figures(
    pictures: Sequence[str],
    opinions: Sequence[Sequence[Row]],
    decisions: Sequence[Decision],
    labels: Sequence[str],
    reviews: Mapping[str, Review] | None = None,
    usd: float | None = None,
) -> Row:
    """The content of the labels' report.

    `pictures` are SHA-256 sums, with opinions and decision at the same index; `reviews` holds the
    last one of each picture that has any; `usd` is what all answers cost together."""
    classes = [*labels, NONE]
    answers = [_usable(rows, set(classes)) for rows in opinions]
    said = zip(pictures, decisions, strict=True)
    truths = [_truth((reviews or {}).get(sha256), decided(one)) for sha256, one in said]
    status = Counter(decision.status for decision in decisions)
    labelled = status["ok"]
    return {
        "pictures": len(pictures),
        "labelled": labelled,
        "usd": usd,
        "usd_per_label": usd / labelled if usd is not None and labelled else None,
        "status": {name: status[name] for name in STATUSES},
        "classes": _classes(labels, answers, decisions),
        "rejected": _rejected(opinions),
        "teachers": [_teacher(number, opinions, answers, truths) for number in _numbers(opinions)],
        "pairs": [
            pair
            for first, second in combinations(_numbers(opinions), 2)
            if (pair := _pair(first, second, answers, classes))
        ],
        "reviews": _reviewed(decisions, truths),
    }


def decided(decision: Decision) -> str | None:
    """The class of a decision; None without one."""
    return NONE if decision.status == "none" else decision.label


def _usable(said: Sequence[Row], classes: set[str]) -> Heard:
    found: dict[int, list[Row]] = {}
    for row in sorted(said, key=lambda row: (row["teacher"], row["repeat"])):
        if class_of(row) in classes:
            found.setdefault(row["teacher"], []).append(row)
    return found


def _numbers(opinions: Iterable[Iterable[Row]]) -> list[int]:
    return sorted({row["teacher"] for said in opinions for row in said})


def commonest(rows: Sequence[Row]) -> str | None:
    """The class that repeats name most often, the first among equals."""
    words = [class_of(row) for row in rows]
    return max(words, key=words.count)


def _classes(
    labels: Sequence[str], answers: Sequence[Heard], decisions: Sequence[Decision]
) -> dict[str, Row]:
    """Each label: pictures that have it, how many of them not every opinion gave it, the mean
    confidence, and how many pictures it was named for in vain."""
    own: dict[str | None, list[Decision]] = {label: [] for label in [*labels, None]}
    for one in decisions:
        own[one.label].append(one)
    named: Counter[str | None] = Counter()
    for heard in answers:
        named.update({class_of(row) for rows in heard.values() for row in rows})
    rows = {}
    for label in labels:
        stated = [one.confidence for one in own[label] if one.confidence is not None]
        rows[label] = {
            "accepted": len(own[label]),
            "disputed": sum((one.agreement or 1) < 1 for one in own[label]),
            "confidence": fmean(stated) if stated else None,
            "overruled": named[label] - len(own[label]),
        }
    return rows


def _rejected(opinions: Iterable[Iterable[Row]]) -> dict[str, int]:
    """The labels outside the set that were answered most."""
    words = [str(row["label"]) for said in opinions for row in said if row["status"] == "rejected"]
    return dict(Counter(words).most_common(10))


def _teacher(
    number: int,
    opinions: Sequence[Sequence[Row]],
    answers: Sequence[Heard],
    truths: Sequence[Truth | None],
) -> Row:
    """One teacher: answers by status, stated confidences, repeats, calibration."""
    own = [row for said in opinions for row in said if row["teacher"] == number]
    heard = [rows[number] for rows in answers if number in rows]
    stated = [row["confidence"] for rows in heard for row in rows if row["confidence"] is not None]
    status = Counter(row["status"] for row in own)
    repeated = [[class_of(row) for row in rows] for rows in heard if len(rows) > 1]
    equal = sum(len(set(words)) == 1 for words in repeated)
    return {
        "teacher": number,
        "model": own[-1]["model"],
        "pictures": sum(any(row["teacher"] == number for row in said) for said in opinions),
        "answers": {name: status[name] for name in STATUSES if status[name]},
        "histogram": histogram(stated),
        "clustered": clustered(stated),
        "repeats": {"pictures": len(repeated), "equal": equal, "share": equal / len(repeated)}
        if repeated
        else None,
        "calibration": {
            "others": calibration(list(_against_others(number, answers))),
            "reviews": calibration(list(_against_reviews(number, answers, truths))),
        },
    }


def histogram(stated: Sequence[float]) -> list[Row]:
    """How often each confidence is stated: `low`, `high` (equal for a single value) and `n`."""
    bins = _bins(stated, HISTOGRAM)
    found = Counter(_bin(value, bins) for value in stated)
    return [{"low": low, "high": high, "n": found[low, high]} for low, high in sorted(found)]


def clustered(stated: Sequence[float]) -> Row | None:
    """The `value` that more than half of the confidences state, and their `share`; or None."""
    if len(stated) < FEW:
        return None
    value, count = Counter(round(one, 3) for one in stated).most_common(1)[0]
    share = count / len(stated)
    return {"value": value, "share": share} if share > CLUSTERED else None


def calibration(hits: Sequence[Hit]) -> list[Row]:
    """Stated confidence against how often it was right, a row a bin that holds any: `low`, `high`,
    `n`, `stated` (mean), `right` (share) and `ci`, Wilson's 95% interval of it."""
    bins = _bins([stated for stated, _ in hits], CALIBRATION)
    found: dict[tuple[float, float], list[Hit]] = {}
    for hit in hits:
        found.setdefault(_bin(hit[0], bins), []).append(hit)
    rows = []
    for (low, high), own in sorted(found.items()):
        right = sum(was for _, was in own)
        rows.append(
            {
                "low": low,
                "high": high,
                "n": len(own),
                "stated": fmean(stated for stated, _ in own),
                "right": right / len(own),
                "ci": list(wilson(right, len(own))),
            }
        )
    return rows


def _bins(stated: Sequence[float], bins: int) -> int:
    """Bins of a set of confidences; 0 where their values are few enough to be shown as they are."""
    return 0 if len({round(one, 3) for one in stated}) <= EXACT else bins


def _bin(value: float, bins: int) -> tuple[float, float]:
    if not bins:
        return round(value, 3), round(value, 3)
    at = min(int(value * bins), bins - 1)
    return round(at / bins, 3), round((at + 1) / bins, 3)


def _against_others(number: int, answers: Sequence[Heard]) -> Iterator[Hit]:
    """Each answer of a teacher against the strongest other one's, or else its own next repeat."""
    for heard in answers:
        own = heard.get(number, [])
        others = [teacher for teacher in heard if teacher != number]
        for at, row in enumerate(own):
            other = heard[max(others)] if others else [own[(at + 1) % len(own)]]
            if row["confidence"] is not None and (others or len(own) > 1):
                yield row["confidence"], class_of(row) == commonest(other)


def _truth(review: Review | None, word: str | None) -> Truth | None:
    """What a review tells about its picture."""
    if review is None:
        return None
    decision, label = review
    named = label or (word if decision != "relabel" else None)
    return (decision != "reject", named) if named else None


def _is_right(word: str | None, truth: Truth | None) -> bool | None:
    """Whether an answer is right; None where the review does not tell."""
    if truth is None or word is None:
        return None
    known, name = truth
    if known:
        return word == name
    return False if word == name else None


def _against_reviews(
    number: int,
    answers: Sequence[Heard],
    truths: Sequence[Truth | None],
) -> Iterator[Hit]:
    for heard, truth in zip(answers, truths, strict=True):
        for row in heard.get(number, []):
            right = _is_right(class_of(row), truth)
            if right is not None and row["confidence"] is not None:
                yield row["confidence"], right


def _reviewed(decisions: Sequence[Decision], truths: Sequence[Truth | None]) -> Row | None:
    """How many labels a person found right: `n`, `right` (share), Wilson's `ci`, `calibration` of
    the labels' own confidence."""
    hits = [
        (one.confidence, right)
        for one, truth in zip(decisions, truths, strict=True)
        if (right := _is_right(decided(one), truth)) is not None
    ]
    if not hits:
        return None
    count = sum(was for _, was in hits)
    return {
        "n": len(hits),
        "right": count / len(hits),
        "ci": list(wilson(count, len(hits))),
        "calibration": calibration([(sure, was) for sure, was in hits if sure is not None]),
    }


def _pair(
    first: int,
    second: int,
    answers: Sequence[Heard],
    classes: Sequence[str],
) -> Row | None:
    """Two teachers on the pictures that both answered; None where there are none.

    Cohen's kappa (1960, https://doi.org/10.1177/001316446002000104) is None where both always say
    the same word, which leaves nothing that could be due to chance."""
    both = [
        (str(commonest(heard[first])), str(commonest(heard[second])))
        for heard in answers
        if first in heard and second in heard
    ]
    if not both:
        return None
    weak, strong = [a for a, _ in both], [b for _, b in both]
    constant = len({*weak, *strong}) == 1
    counts = confusion_matrix(strong, weak, labels=list(classes)).tolist()
    return {
        "teachers": [first, second],
        "pictures": len(both),
        "equal": fmean(a == b for a, b in both),
        "kappa": None if constant else float(cohen_kappa_score(weak, strong)),
        "confusion": {"truth": list(classes), "answered": list(classes), "counts": counts},
    }
