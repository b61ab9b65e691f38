"""The teachers: prompt, pace, money, ledger, opinions."""

from pocketvlm.label.decisions import answers_of
from pocketvlm.label.label import label
from pocketvlm.label.ledger import Ledger

__all__ = ["Ledger", "answers_of", "label"]
