"""Heads of requests that are too long or too slow to come; they are met before any key is asked for."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from ragkit.extras import require
from ragkit.serve.api.http_errors import HttpProblem

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as _Base
else:
    _Base = object

# Request line and headers; up to one read of the socket more may come before it is noticed.
_MOST_BYTES = 65_536
# From the connection, or from the first byte of a further request.
_HEAD_S = 30.0
_REASONS = {408: "Request Timeout", 431: "Request Header Fields Too Large"}


def head_limited_protocol() -> type[asyncio.Protocol]:
    """uvicorn's HTTP on httptools, which itself bounds neither.

    Raises:
        MissingExtraError: the extra `serve` is not installed.
    """
    base = require("uvicorn.protocols.http.httptools_impl").HttpToolsProtocol
    return type("HeadLimitedProtocol", (_HeadLimited, base), {})


class _HeadLimited(_Base):
    """The part of uvicorn's HTTP that is ours."""

    _in_head = False
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._start_timer()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_BYTES:
                self._refuse(431, f"the head of the request has more than {_MOST_BYTES} bytes")

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(_HEAD_S, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._refuse(408, f"the head of the request did not come within {_HEAD_S:g} s")

    def _refuse(self, status: int, message: str) -> None:
        # Behind a reply that is not complete nothing can be said.
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_reply(HttpProblem(status, message)))
        self.transport.close()


def _reply(problem: HttpProblem) -> bytes:
    body = json.dumps(problem.body()).encode()
    head = (
        f"HTTP/1.1 {problem.status} {_REASONS[problem.status]}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
