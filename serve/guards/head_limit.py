"""Requests whose heads are too long or too slow to come, or that are no HTTP; met before any key is asked for."""

from __future__ import annotations

import asyncio
import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from ragkit.extras import require
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.guards.request_id import new_request_id
from ragkit.serve.guards.security_headers import with_security_headers

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as _Base
else:
    _Base = object

_log = logging.getLogger("ragkit.serve")
# Request line and headers, trailers too. Of a head that does not end, two reads of the socket more may come before
# it is noticed.
_MOST_BYTES = 65_536
# From the connection, or from the first byte of a further request.
_HEAD_S = 30.0
# What still comes after a refusal is read for so long: to close upon it would reset the connection, and the reply
# be lost.
_LINGER_S = 2.0


def head_limited_protocol() -> type[asyncio.Protocol]:
    """uvicorn's HTTP on httptools, which itself bounds neither, and tells what is no HTTP so in plain text.

    Raises:
        MissingExtraError: the extra `serve` is not installed.
    """
    base = require("uvicorn.protocols.http.httptools_impl").HttpToolsProtocol
    return type("HeadLimitedProtocol", (_HeadLimited, base), {})


class _HeadLimited(_Base):
    """The part of uvicorn's HTTP that is ours."""

    _in_head = False
    # Of a head that is still coming: what came after its first read, and what was made out of it.
    _raw_bytes = 0
    _parsed_bytes = 0
    _is_refused = False
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._raw_bytes, self._parsed_bytes = True, 0, 0
        self._start_timer()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        # The colon, the space and the end of the line.
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_head = False
        self._stop_timer()

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head and not self._is_refused and not self.transport.is_closing():
            self._raw_bytes += len(data)
            if self._raw_bytes > _MOST_BYTES:
                self._refuse(_too_long())

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Called where the parser stops."""
        is_too_long = self._parsed_bytes > _MOST_BYTES
        self._refuse(_too_long() if is_too_long else HttpProblem(400, "the request is no valid HTTP"))

    def _count(self, size: int) -> None:
        self._parsed_bytes += size
        if self._parsed_bytes > _MOST_BYTES:
            # Stops the parser.
            raise _too_long()

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(_HEAD_S, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._refuse(HttpProblem(408, f"the head of the request did not come within {_HEAD_S:g} s"))

    def _refuse(self, problem: HttpProblem) -> None:
        self._stop_timer()
        if not self._may_reply():
            self.transport.close()
            return
        self._is_refused = True
        if self.cycle is not None:
            # Whoever works for a request with a broken body has nobody to reply to any more.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()
        self.transport.write(_reply(problem))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(_LINGER_S, self.transport.close)

    def _may_reply(self) -> bool:
        """Behind a reply that is not complete nothing can be said, nor a second time of the same request."""
        cycle = self.cycle
        if cycle is None or self._in_head:
            return cycle is None or cycle.response_complete
        return cycle.more_body and not cycle.response_started and not self.pipeline


def _too_long() -> HttpProblem:
    return HttpProblem(431, f"the head of the request has more than {_MOST_BYTES} bytes")


def _reply(problem: HttpProblem) -> bytes:
    body, request_id = json.dumps(problem.body()).encode(), new_request_id()
    _log.info("%s: refused: %s", request_id, problem.message)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        (b"x-request-id", request_id.encode()),
    ]
    lines = [b": ".join(header) for header in with_security_headers(headers)]
    status = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}".encode()
    return b"\r\n".join([status, *lines, b"", body])
