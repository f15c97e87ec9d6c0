"""Small writes to a connection, sent together: each one sent costs the event loop a call of the system."""

from __future__ import annotations

import asyncio
from typing import Any

# Of what is held back; more is sent at once, so that the transport can say when it is too much.
_MOST_BYTES = 65_536


class JoinedWrites:
    """A transport that sends what is written in one turn of the event loop in one piece, at the turn's end.

    The head of a reply and its body, or the events of a stream that come together, leave in one packet.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """As `asyncio.Transport.write`."""
        if not self._held:
            self._loop.call_soon(self._send)
        self._held.append(data)
        self._size += len(data)
        if self._size > _MOST_BYTES:
            self._send()

    def close(self) -> None:
        """As `asyncio.Transport.close`: behind what was written."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._size = 0
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
