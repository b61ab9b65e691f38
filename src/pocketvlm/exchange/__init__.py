"""Data sets to and from other tools."""

from pocketvlm.exchange.export import export
from pocketvlm.exchange.importing import import_dataset
from pocketvlm.exchange.push import push_dataset

__all__ = ["export", "import_dataset", "push_dataset"]
