"""From labels to splits."""

from pocketvlm.prepare.prepare import prepare
from pocketvlm.prepare.source import usable_labels
from pocketvlm.prepare.splits import first_alike, split_of

__all__ = ["first_alike", "prepare", "split_of", "usable_labels"]
