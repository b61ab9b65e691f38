"""What the app takes: two files, the contract, checksums and a page for its developer."""

from pocketvlm.bundle.bundle import bundle

__all__ = ["bundle"]
