"""One writer at a time, across processes."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ragkit.errors import CorpusError, CorpusLockedError

FILE_NAME = "writer.lock"
_LOOKS, _LOOK_S = 20, 0.01
# What network file systems say that lock files and not folders.
_NO_FOLDER_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOTSUP, errno.ENOLCK)


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
        raise CorpusError(f"{corpus} cannot be written to: {error.strerror}. Nothing was changed") from error
    with file, _opened(corpus) as folder:
        try:
            _lock(file.fileno())
            # The folder too: somebody may delete the file, taking it to be stale.
            _lock(folder, unless=_NO_FOLDER_LOCKS)
        except BlockingIOError as error:
            raise CorpusLockedError(
                f"{corpus} is being written to by {_holder(path)}; wait until it ends"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, which runs {_program()}")
        file.flush()
        yield


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, unless: tuple[int, ...] = ()) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in unless:
            raise


def _holder(path: Path) -> str:
    """Who holds the lock. It writes its name just after it has taken it, so the name may be a moment late."""
    for _ in range(_LOOKS):
        holder = path.read_text("utf-8").strip()
        if holder:
            return holder
        time.sleep(_LOOK_S)
    return "an unknown process"


def _program() -> str:
    """What this process runs, such as "ragkit"."""
    started = Path(sys.argv[0] if sys.argv else "")
    return started.parent.name if started.name == "__main__.py" else started.name or "python"
