"""Follows each request from its first byte to the last of its reply: metrics, log, trace."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from ragkit.serve.guards.access_log import log_request
from ragkit.serve.guards.metrics import NO_ROUTE, ServerMetrics
from ragkit.serve.guards.request_record import RequestRecord, begin_record
from ragkit.serve.guards.tracing import Tracer

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LAG_EVERY_S = 0.02
_FAILED = 500


class ObservationMiddleware:
    """tracer: None where no traces are wanted."""

    def __init__(self, app: ASGIApp, metrics: ServerMetrics, tracer: Tracer | None) -> None:
        self._app = app
        self._metrics = metrics
        self._tracer = tracer
        self._watcher: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._watch_loop()
        record = RequestRecord(scope["state"]["request_id"], scope["method"])
        begin_record(record)
        self._metrics.begin()
        status = _FAILED

        async def send_seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        span = self._tracer.begin(scope) if self._tracer else None
        try:
            await self._app(scope, receive, send_seen)
        except Exception:
            # Its reply is written outside of here.
            status = _FAILED
            raise
        finally:
            route = route_of(scope)
            self._metrics.end(record, route, status)
            log_request(record, route, status)
            if self._tracer and span is not None:
                self._tracer.end(span, record, route, status)

    def _watch_loop(self) -> None:
        """From the first request on, for as long as the loop runs."""
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.get_running_loop().create_task(_watch(self._metrics))


async def _watch(metrics: ServerMetrics) -> None:
    while True:
        slept = time.perf_counter()
        await asyncio.sleep(_LAG_EVERY_S)
        metrics.lag(max(time.perf_counter() - slept - _LAG_EVERY_S, 0.0))


def route_of(scope: Any) -> str:
    """The template of the route that answered, such as /v1/models/{name}."""
    return str(getattr(scope.get("route"), "path", NO_ROUTE))
