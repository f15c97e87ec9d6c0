"""An end to requests that take too long."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.guards.body_limit import is_upload
from ragkit.serve.guards.problem_reply import send_problem
from ragkit.serve.guards.request_record import current_record
from ragkit.serve.guards.server_end import ServerEnd

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# For a client to take the last event of its stream.
_TAKE_S = 10.0
_log = logging.getLogger("ragkit.serve")
_LAST_EVENT = "ragkit_last_event"


def end_stream_with(scope: Scope, last_event: Callable[[HttpProblem], bytes]) -> None:
    """Has a request's stream, where it is given up, end with what this makes of the problem; else it is chat's."""
    scope.setdefault("state", {})[_LAST_EVENT] = last_event


class TimeLimitMiddleware:
    """Gives up a request after so many seconds: with 504, or with an error event where a stream has begun.

    uploads: paths where multipart bodies may take as long as their senders need. end: with 503, what takes longer
    than the server has when it is told to end.
    """

    def __init__(self, app: ASGIApp, seconds: float, uploads: tuple[str, ...], end: ServerEnd) -> None:
        self._app = app
        self._seconds = seconds
        self._uploads = uploads
        self._server_end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        reply = _Reply(send)
        try:
            async with asyncio.timeout(None if is_upload(scope, self._uploads) else self._seconds) as limit:
                with self._server_end.heeded(limit):
                    await self._app(scope, receive, reply)
        except TimeoutError:
            if not limit.expired():
                raise
            await self._end(scope, reply, send, self._problem(limit))

    async def _end(self, scope: Scope, reply: _Reply, send: Send, problem: HttpProblem) -> None:
        record = current_record()
        _log.error("%s was given up: %s", record.request_id if record else "a request", problem.message)
        if not reply.begun:
            await send_problem(send, problem)
        elif reply.is_stream and not reply.ended:
            last_event = scope.get("state", {}).get(_LAST_EVENT, _chat_event)
            try:
                async with asyncio.timeout(_TAKE_S):
                    await send({"type": "http.response.body", "body": last_event(problem)})
            except TimeoutError:
                # Who reads nothing any more does not read this either.
                raise ConnectionAbortedError(problem.message) from None
        elif not reply.ended:
            # Half of a reply cannot be mended; that the connection breaks says so.
            raise ConnectionAbortedError(problem.message)

    def _problem(self, limit: asyncio.Timeout) -> HttpProblem:
        if self._server_end.ended(limit):
            return HttpProblem(
                503,
                f"the server ends, and the answer was not there within {self._server_end.seconds:g} s",
                "server_error",
                code="server_ending",
            )
        return HttpProblem(
            504, f"the answer took more than {self._seconds:g} s", "server_error", code="request_timeout"
        )


def _chat_event(problem: HttpProblem) -> bytes:
    return f"data: {json.dumps(problem.body())}\n\n".encode()


class _Reply:
    """Passes messages on and remembers how far the reply has come."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False
        self.ended = False
        self.is_stream = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            kinds = [value for name, value in message.get("headers", ()) if name.lower() == b"content-type"]
            self.is_stream = any(kind.startswith(b"text/event-stream") for kind in kinds)
        elif message["type"] == "http.response.body" and not message.get("more_body"):
            self.ended = True
        await self._send(message)
