"""The teacher: prompt, answer schema, client, ledger."""

from pocketvlm.label.label import label
from pocketvlm.label.ledger import Ledger, answers_of

__all__ = ["Ledger", "answers_of", "label"]
