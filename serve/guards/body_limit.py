"""Bodies of requests that are too large, or too slow to come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ragkit.extras import require
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.guards.problem_reply import send_problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MEGABYTE = 1_000_000
# A client reads the refusal only once it has sent its body; so much more of it is read and thrown away.
_DRAIN_TIMES = 4
_DRAIN_S = 5.0


class BodyLimitMiddleware:
    """413 for bodies of more than `max_mb` megabytes; uploads of files are limited by their own routes.

    uploads: paths whose multipart bodies pass.
    """

    def __init__(self, app: ASGIApp, max_mb: float, uploads: tuple[str, ...]) -> None:
        self._app = app
        self._max_bytes = int(max_mb * _MEGABYTE)
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_upload(scope, self._uploads):
            await self._app(scope, receive, send)
            return
        declared = _declared(scope)
        if declared is not None and declared > self._max_bytes:
            await self._drain(receive, declared)
            await send_problem(send, self._problem())
            return
        if declared is not None:
            # The server reads no more than was declared.
            await self._app(scope, receive, send)
            return
        exceeded = require("starlette.exceptions").HTTPException
        try:
            await self._app(scope, self._counting(receive), send)
        except exceeded:
            # Of a body that was read before any route was reached.
            await send_problem(send, self._problem())

    def _problem(self) -> HttpProblem:
        limit = f"{self._max_bytes / _MEGABYTE:g}"
        return HttpProblem(413, f"the body has more than {limit} MB ([serve] max_body_mb)", code="body_too_large")

    def _counting(self, receive: Receive) -> Receive:
        """For a body that comes in chunks."""
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes:
                # The one kind of error that FastAPI lets through while it reads a body.
                problem = self._problem()
                raise require("starlette.exceptions").HTTPException(413, problem.message)
            return message

        return counted

    async def _drain(self, receive: Receive, declared: int) -> None:
        if declared > self._max_bytes * (1 + _DRAIN_TIMES):
            return
        try:
            async with asyncio.timeout(_DRAIN_S):
                while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                    pass
        except TimeoutError:
            return


def is_upload(scope: Scope, uploads: tuple[str, ...]) -> bool:
    """Whether a request sends files, in a multipart body, to one of the paths."""
    is_multipart = _header(scope, b"content-type").startswith(b"multipart/form-data")
    return scope["method"] == "POST" and is_multipart and scope["path"] in uploads


def _declared(scope: Scope) -> int | None:
    given = _header(scope, b"content-length")
    return int(given) if given.isdigit() else None


def _header(scope: Scope, name: bytes) -> bytes:
    values: list[bytes] = [value for given, value in scope["headers"] if given == name]
    return values[0] if values else b""
