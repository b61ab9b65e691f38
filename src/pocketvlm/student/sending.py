"""Sends a W&B run while it is being written. Run as a script, in a process of its own: what a
server does, or does not, never reaches the training.

    python -P sending.py RUN_FOLDER SECONDS

Standard input is the line to the training. When it closes, because the training has ended or was
killed, the rest must be sent within SECONDS."""

import os
import sys
import threading
import time

from wandb.cli.cli import cli


def _end_after(seconds: float) -> None:
    sys.stdin.buffer.read()
    time.sleep(seconds)
    os._exit(1)


if __name__ == "__main__":
    folder, seconds = sys.argv[1:]
    threading.Thread(target=_end_after, args=(float(seconds),), daemon=True).start()
    cli(["beta", "sync", "--live", folder], prog_name="wandb")
