"""SIGTERM, which Python leaves to the system: it would end the process in the middle of a call."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_sigterm(act: Callable[[], None]) -> Iterator[None]:
    """Let the first SIGTERM `act`, where there are signals; the next one ends the process."""
    loop = asyncio.get_running_loop()

    def once() -> None:
        loop.remove_signal_handler(signal.SIGTERM)
        act()

    try:
        loop.add_signal_handler(signal.SIGTERM, once)
    except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
