"""Errors a user can mend: the message names cause and mend, the class decides the exit code."""

from typing import Any


class PocketError(Exception):
    """A stage could not do its work (exit code 1)."""

    exit_code = 1


class ConfigError(PocketError):
    """Wrong usage or configuration (exit code 2)."""

    exit_code = 2


class Stopped(PocketError):
    """Somebody ended the work, and it was put away in order; the same command goes on."""


class GateMissed(PocketError):
    """The files exist, but the accuracy or the parity does not (exit code 3)."""

    exit_code = 3

    def __init__(self, message: str, figures: dict[str, Any]) -> None:
        super().__init__(message)
        self.figures = figures
        """What was measured."""
