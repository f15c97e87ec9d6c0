"""What the processes that a server starts have in common: channels of their own, and their end."""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
from contextlib import suppress
from typing import Any, BinaryIO

Message = dict[str, Any]


def own_channels() -> tuple[BinaryIO, BinaryIO]:
    """stdin and stdout for messages alone: what libraries print goes to stderr."""
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return incoming, outgoing


def messages_of(incoming: BinaryIO) -> queue.SimpleQueue[Message]:
    """Its lines of JSON as they come. When they end, so does this process, in the middle of whatever it does."""
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def read() -> None:
        with suppress(OSError, ValueError):
            for line in incoming:
                messages.put(json.loads(line))
        end_with_children()

    # In a thread of its own, so that the end is noticed while something is worked on.
    threading.Thread(target=read, daemon=True).start()
    return messages


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
