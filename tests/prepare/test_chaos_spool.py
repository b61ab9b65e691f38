"""What the spool's file, which has no name, says of a full disk."""

import errno
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketvlm.prepare.spool import Spool


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file may grow beyond some bytes; the system's error is told as that of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    monkeypatch.setattr(errno, "ENOSPC", errno.EFBIG)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_is_named(tmp_path: Path, full_disk: None) -> None:
    with pytest.raises(OSError, match="make room") as told, Spool(tmp_path) as spool:
        while True:
            spool.add({"reason": "x" * 500})
    assert told.value.filename == os.fspath(tmp_path)
