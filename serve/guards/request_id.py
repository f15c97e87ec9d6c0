"""Gives every reply an x-request-id, by which a client can name it and the log can find it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


def new_request_id() -> str:
    """For a request that has none yet."""
    return f"req_{uuid.uuid4().hex}"


def request_id_of(request: Request) -> str:
    """The id that `RequestIdMiddleware` gave to a request."""
    return str(request.state.request_id)


class RequestIdMiddleware:
    """Pure ASGI, so that streams pass through unbuffered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_request_id()
        # In place: handlers outside of this one see the same scope.
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        await self._app(scope, receive, send_with_id)
