"""SIGTERM, and a terminal that hangs up, as Ctrl-C: what is half written is cleaned up, and the
run's record says `stopped`."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pocketvlm.errors import Stopped

_told: list[str] = []
"""Signals that came. The exception may be swallowed, by a library that is being loaded or by Python
itself in a callback of a weak reference; at the next step of the work it is not forgotten."""


_blocks: list[int] = []
"""The blocks that are open, one inside of the other."""


def ending_signals() -> list[signal.Signals]:
    """Those that ask a process to end, beside Ctrl-C; `nohup` has a hang-up ignored."""
    known = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    return [one for one in known if one and signal.getsignal(one) != signal.SIG_IGN]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let them raise KeyboardInterrupt inside of the block. A room with more to save listens by
    itself for a while."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: FrameType | None) -> None:
        _told.append(signal.Signals(number).name)
        raise KeyboardInterrupt(f"stopped by {_told[-1]}")

    def ignored(what: "sys.UnraisableHookArgs") -> None:
        if not (_told and isinstance(what.exc_value, KeyboardInterrupt)):
            hook(what)

    before = {one: signal.signal(one, stop) for one in ending_signals()}
    hook, sys.unraisablehook = sys.unraisablehook, ignored
    _blocks.append(len(_blocks))
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for one, handler in before.items():
            signal.signal(one, handler)
        if _blocks.pop() == 0:
            _told.clear()


def end_if_told() -> None:
    """Stopped when a signal came that nothing has ended."""
    if _told:
        raise Stopped(f"stopped by {_told[0]}: run the same command to go on")
