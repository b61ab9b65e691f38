"""From labels to splits."""

from pocketvlm.prepare.prepare import prepare
from pocketvlm.prepare.source import usable_labels
from pocketvlm.prepare.splits import split_of

__all__ = ["prepare", "split_of", "usable_labels"]
