"""Where pictures come from."""

from pocketvlm.collect.folder import collect

__all__ = ["collect"]
