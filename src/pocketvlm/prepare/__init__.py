"""From labels to splits."""

from pocketvlm.prepare.prepare import prepare

__all__ = ["prepare"]
