"""What the spool's file, which has no name, says of a full disk."""

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pocketvlm.prepare.spool import Spool


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond some bytes. Only inside of the test: pytest's own log may be one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errno, "ENOSPC", errno.EFBIG)  # the system's word for the limit
    with pytest.raises(OSError, match="make room") as told, Spool(tmp_path) as spool, full_disk():
        while True:
            spool.add({"reason": "x" * 500})
    assert told.value.filename == os.fspath(tmp_path)
