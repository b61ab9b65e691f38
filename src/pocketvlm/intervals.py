"""How far a share that was measured on a few pictures can be trusted, and a difference of two."""

from scipy.stats import binomtest

NORMAL = 1.96
"""Standard deviations of a 95% interval."""


def wilson(right: int, n: int) -> tuple[float, float]:
    """95% Wilson score interval of a share, (low, high) in 0..1; n is at least 1."""
    interval = binomtest(right, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def paired(gained: int, lost: int, n: int) -> tuple[float, float, float]:
    """Difference of two shares of the same n pictures and its 95% interval, (difference, low,
    high): `gained` are right only with the second, `lost` only with the first.

    Paired, the interval is much narrower than from two accuracies: what both get right or wrong
    tells nothing of their difference. It is Bonett and Price's (2012, adjusted Wald), which keeps
    a width where the two never differ."""
    more, less = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    reach = NORMAL * float(((more + less - (more - less) ** 2) / (n + 2)) ** 0.5)
    return (gained - lost) / n, max(-1.0, more - less - reach), min(1.0, more - less + reach)


def mcnemar(gained: int, lost: int) -> float:
    """McNemar's exact test: how likely so uneven a split is, or one more so, where both are as
    often right (two-sided); 1 where they never differ."""
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
