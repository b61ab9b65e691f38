"""The teachers: prompt, pace, money, ledger, opinions."""

from pocketvlm.label.decisions import Labelled, answers_of, decide_all
from pocketvlm.label.label import label
from pocketvlm.label.ledger import Ledger
from pocketvlm.label.outcome import rich
from pocketvlm.label.plan import Plan

__all__ = ["Labelled", "Ledger", "Plan", "answers_of", "decide_all", "label", "rich"]
