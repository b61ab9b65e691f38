"""Data sets and models to and from other tools."""

from pocketvlm.exchange.export import export
from pocketvlm.exchange.importing import import_dataset
from pocketvlm.exchange.push import push_dataset
from pocketvlm.exchange.push_model import push_model

__all__ = ["export", "import_dataset", "push_dataset", "push_model"]
