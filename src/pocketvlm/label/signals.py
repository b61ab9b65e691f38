"""SIGTERM and a hang-up, which Python leaves to the system: it would end the process in a call."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pocketvlm.signals import ending_signals


@contextmanager
def on_signals(act: Callable[[str], None]) -> Iterator[None]:
    """Let the first of them `act` with its name, where there are signals; the next one does what it
    did before: asyncio alone would leave it to the system from here on."""
    loop = asyncio.get_running_loop()
    before = {one: signal.getsignal(one) for one in ending_signals()}

    def forget() -> None:
        for one, handler in before.items():
            if loop.remove_signal_handler(one):
                signal.signal(one, handler)

    def once(one: signal.Signals) -> None:
        forget()
        act(one.name)

    try:
        for one in before:
            loop.add_signal_handler(one, once, one)
    except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
        yield
        return
    try:
        yield
    finally:
        forget()
