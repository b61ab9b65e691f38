"""SIGTERM, which Python leaves to the system: it would end the process in the middle of a call."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_sigterm(act: Callable[[], None]) -> Iterator[None]:
    """Let the first SIGTERM `act`, where there are signals; the next one does what it did before:
    asyncio alone would leave it to the system from here on."""
    loop, before = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

    def forget() -> None:
        if loop.remove_signal_handler(signal.SIGTERM):
            signal.signal(signal.SIGTERM, before)

    def once() -> None:
        forget()
        act()

    try:
        loop.add_signal_handler(signal.SIGTERM, once)
    except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
        yield
        return
    try:
        yield
    finally:
        forget()
