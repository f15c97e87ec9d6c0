"""GET /health: whether the process is alive. GET /ready: whether it can answer."""

# FastAPI reads the endpoints' annotations; see chat_routes.
import asyncio
import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ragkit.protocols import Upstream
from ragkit.records import Readiness
from ragkit.serve.api.server_parts import ServerParts

if TYPE_CHECKING:
    from fastapi import FastAPI

_log = logging.getLogger("ragkit.serve")
# Of its own, beyond what the upstreams promise: who asks must get an answer.
_PATIENCE_S = 10.0


def add_health_routes(app: "FastAPI", parts: ServerParts) -> None:
    """Alive, and ready."""
    from starlette.responses import JSONResponse, Response

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready", response_model=None)
    async def ready() -> Response:
        found = await asyncio.gather(*map(readiness_of, parts.upstreams))
        waits = [one.retry_after_s for one in found if not one.is_ready and one.retry_after_s is not None]
        headers = {"retry-after": str(max(1, math.ceil(max(waits))))} if waits else None
        is_ready = all(one.is_ready for one in found)
        body = {"status": "ready" if is_ready else "not ready", "engines": list(map(_as_json, found))}
        return JSONResponse(body, 200 if is_ready else 503, headers=headers)


async def log_readiness(upstreams: Sequence[Upstream]) -> None:
    """Once, when the server starts: what answers depend on may not be there."""
    for found in await asyncio.gather(*map(readiness_of, upstreams)):
        if found.is_ready:
            _log.info("the engine %s is ready", found.name)
        else:
            _log.warning("the engine %s is not ready: %s; questions fail until it is", found.name, found.state)


async def readiness_of(upstream: Upstream) -> Readiness:
    """As the upstream says, within seconds."""
    try:
        return await asyncio.wait_for(upstream.readiness(), _PATIENCE_S)
    except TimeoutError:
        return Readiness("engine", False, "does not answer in time")


def _as_json(readiness: Readiness) -> dict[str, Any]:
    return {"name": readiness.name, "ready": readiness.is_ready, "state": readiness.state}
