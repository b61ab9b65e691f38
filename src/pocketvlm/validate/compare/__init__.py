"""Runs side by side."""

from pocketvlm.validate.compare.compare import compare, intervals_apart, short_names

__all__ = ["compare", "intervals_apart", "short_names"]
