"""What the processes that a server starts have in common: channels of their own, and their end."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

Message = dict[str, Any]
_AUTOGROUP = Path("/proc/self/autogroup")
_TRIES = 20


def own_channels() -> tuple[BinaryIO, BinaryIO]:
    """stdin and stdout for messages alone: what libraries print goes to stderr."""
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return incoming, outgoing


def messages_of(incoming: BinaryIO) -> Iterator[Message]:
    """Lines of JSON from a pipe, as they come. When it ends, so does this process, whatever it is doing.

    On macOS, which does not tell the end of what nobody reads: once the next line is asked for.
    """
    if sys.platform == "linux":
        threading.Thread(target=_end_behind, args=(incoming.fileno(),), daemon=True).start()
    return _lines(incoming)


def _lines(incoming: BinaryIO) -> Iterator[Message]:
    with suppress(OSError, ValueError):
        for line in incoming:
            yield json.loads(line)
    end_with_children()


def _end_behind(pipe: int) -> None:
    """Without reading: what is read is for a thread that need not be woken by another."""
    watch = select.poll()
    # Nothing is asked for: that the other end is closed is told all the same.
    watch.register(pipe, 0)
    while not watch.poll():
        pass
    end_with_children()


def give_way(nice: int) -> None:
    """Let the server have the processor first, by as much as Unix's `nice` says, from a session of one's own.

    Linux shares the processor among sessions before it looks at what `nice` says within one (sched_autogroup).
    """
    os.nice(nice)
    if os.getsid(0) == os.getpid():
        _give_way_as_session(nice)


def _give_way_as_session(nice: int) -> None:
    for _ in range(_TRIES):
        try:
            _AUTOGROUP.write_text(str(nice), "ascii")
        except BlockingIOError:
            # Of all that are not an administrator's, Linux takes one such write in a tenth of a second.
            time.sleep(0.11)
        except OSError:
            # No such file, or nothing that may be written: sessions have no shares here, and `nice` is enough.
            return
        else:
            return


def tell(outgoing: BinaryIO, message: Message, content: bytes = b"") -> None:
    """Send a message, and bytes behind it."""
    outgoing.write(json.dumps(message).encode() + b"\n")
    outgoing.write(content)
    outgoing.flush()


def end_with_children() -> None:
    """End this process, in the middle of whatever it does, and those that it has started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
