"""GET /health: whether the process is alive."""

from typing import TYPE_CHECKING

from ragkit.serve.api.server_parts import ServerParts

if TYPE_CHECKING:
    from fastapi import FastAPI


def add_health_routes(app: "FastAPI", parts: ServerParts) -> None:  # noqa: ARG001
    """Alive."""

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}
