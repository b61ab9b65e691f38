"""Where pictures come from."""

from pocketvlm.collect.collect import collect

__all__ = ["collect"]
