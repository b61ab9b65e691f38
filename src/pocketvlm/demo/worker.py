"""Processes that help the demo: they never outlive it, and leave Ctrl-C to it."""

import os
import signal
from multiprocessing import parent_process
from threading import Thread

import cv2


def become_worker() -> None:
    """To be called first in a process of `multiprocessing`: it ends when its parent does, killed
    or not, and draws on one thread, for there is a worker for each processor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent:
        parent.join()
        os._exit(1)
