"""The commands: thin, no logic. Heavy rooms are imported when a command needs them."""

from pocketvlm.cli.main import app, main

__all__ = ["app", "main"]
