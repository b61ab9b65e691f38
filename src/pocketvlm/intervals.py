"""How far a share that was measured on a few pictures can be trusted."""

from scipy.stats import binomtest


def wilson(right: int, n: int) -> tuple[float, float]:
    """95% Wilson score interval of a share, (low, high) in 0..1; n is at least 1."""
    interval = binomtest(right, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
