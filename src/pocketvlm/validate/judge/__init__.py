"""A verdict on other pictures, or on files that were not made here."""

from pocketvlm.validate.judge.judge import FOLDER, judge, outside

__all__ = ["FOLDER", "judge", "outside"]
