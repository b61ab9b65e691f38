"""SIGTERM as Ctrl-C: what is half written is cleaned up, and the run's record says `stopped`."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pocketvlm.errors import Stopped

_told: list[str] = []
"""Signals that came. A library may swallow the exception, as an `Exception ignored in ...` while it
is being loaded; at the next point where work can end it is not forgotten."""


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt inside of the block. A room with more to save listens by
    itself for a while."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: FrameType | None) -> None:
        _told.append(signal.Signals(number).name)
        raise KeyboardInterrupt(f"stopped by {_told[-1]}")

    _told.clear()
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end_if_told() -> None:
    """Stopped when a signal came that nothing has ended."""
    if _told:
        raise Stopped(f"stopped by {_told[0]}: run the same command to go on")
