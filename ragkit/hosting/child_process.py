"""What the processes that a server starts have in common: channels of their own, and their end."""

from __future__ import annotations

import os
import signal
from typing import BinaryIO


def own_channels() -> tuple[BinaryIO, BinaryIO]:
    """stdin and stdout for messages alone: what libraries print goes to stderr."""
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return incoming, outgoing


def end_with_children() -> None:
    """End this process, in the middle of whatever it does, and those that it has started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
