"""Headers that keep a browser from doing more with a reply than it is meant for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
}
_NOTHING = b"default-src 'none'; frame-ancestors 'none'"
_PAGE = (
    b"default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    b"frame-ancestors 'none'"
)
# Answers and pages are for whoever asked.
_NOT_KEPT = b"no-store"

Headers = list[tuple[bytes, bytes]]


def with_security_headers(headers: Headers) -> Headers:
    """What a reply's own headers do not say is added: its route knows best."""
    given = {name.lower(): value for name, value in headers}
    kind = given.get(b"content-type", b"")
    wanted = {
        **_ALWAYS,
        b"content-security-policy": _PAGE if kind.startswith(b"text/html") else _NOTHING,
        **({b"cache-control": _NOT_KEPT} if kind.startswith(b"application/json") else {}),
    }
    return [*headers, *((name, value) for name, value in wanted.items() if name not in given)]


class SecurityHeadersMiddleware:
    """Pure ASGI, so that streams pass through unbuffered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = with_security_headers(list(message.get("headers", ())))
            await send(message)

        await self._app(scope, receive, send_secured if scope["type"] == "http" else send)
