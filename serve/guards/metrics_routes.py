"""GET /metrics."""

# FastAPI reads the endpoints' annotations; see chat_routes.
import asyncio
from typing import TYPE_CHECKING

from ragkit.serve.api.health_routes import readiness_of
from ragkit.serve.api.server_parts import ServerParts
from ragkit.serve.guards.metrics import ServerMetrics

if TYPE_CHECKING:
    from fastapi import FastAPI


def add_metrics_routes(app: "FastAPI", parts: ServerParts, metrics: ServerMetrics) -> None:
    """In Prometheus' text format; what it does not count itself it looks at when it is asked."""
    from starlette.responses import Response

    if parts.stores is not None:
        parts.stores.desk.watch(metrics.index_file)

    @app.get("/metrics", include_in_schema=False)
    async def show_metrics() -> Response:
        for found in await asyncio.gather(*map(readiness_of, parts.upstreams)):
            metrics.upstream(found.name, found.is_ready)
        if parts.state is not None:
            rows = await asyncio.to_thread(parts.state.rows, "SELECT count(*) FROM jobs")
            metrics.index_jobs(rows[0][0])
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
