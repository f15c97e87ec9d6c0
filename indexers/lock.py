"""One writer at a time, across processes."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ragkit.errors import CorpusError, CorpusLockedError

FILE_NAME = "writer.lock"


@contextmanager
def writer_lock(corpus: Path) -> Iterator[None]:
    """Hold the right to write to a corpus. The system frees it when the process ends, however it ends.

    Raises:
        CorpusLockedError: another process, or another corpus object of this one, holds it.
    """
    path = corpus / FILE_NAME
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise CorpusError(f"{corpus} cannot be written to: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "an unknown process"
            raise CorpusLockedError(f"{corpus} is being written to by {holder}; wait until it ends") from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
