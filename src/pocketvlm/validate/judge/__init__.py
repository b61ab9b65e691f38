"""A verdict on other pictures, or on files that were not made here."""

from pocketvlm.validate.judge.judge import judge, outside
from pocketvlm.validate.judge.unseen import FOLDER, class_folders

__all__ = ["FOLDER", "class_folders", "judge", "outside"]
