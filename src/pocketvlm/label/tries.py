"""Whether a question is asked again, and when."""

import random
from dataclasses import replace

from pocketvlm.label.calls import Outcome
from pocketvlm.label.queue import Job
from pocketvlm.limits import retry_after
from pocketvlm.workspace import Row

LONGEST_BACKOFF = 30.0
"""Seconds between two tries of a call that found no answer."""


def next_try(
    job: Job, row: Row, outcome: Outcome, retries: int, answers: int
) -> tuple[Job, float] | None:
    """The next try after a call and the pause before it, seconds; None when the question has had
    its share.

    `answers` is how many calls were answered so far. A limit that says nothing, and that stands
    since the last try, does not count: how long it lasts is found out by trying."""
    if outcome.fatal:
        return None
    if outcome.kind == "answered":
        once_more = row["status"] in ("malformed", "refused") and not job.again
        return (replace(job, again=True), 0.0) if once_more else None
    limited, pause = outcome.kind == "limited", retry_after(outcome.headers)
    counts = not (limited and pause is None and job.answers == answers)
    if counts and job.failures >= retries:
        return None
    tried = replace(job, failures=job.failures + counts, answers=answers)
    if limited or pause is not None:  # the pace keeps the pause
        return tried, 0.0
    return tried, backoff(job.failures)


def backoff(failures: int) -> float:
    """Seconds before another try: doubled each time, and jittered, so that calls that failed
    together do not come back together."""
    return float(min(LONGEST_BACKOFF, 0.5 * 2**failures) * random.uniform(0.75, 1.25))
