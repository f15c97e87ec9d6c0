"""GET /v1/models: each corpus is a model."""

# FastAPI reads the endpoints' annotations; see chat_routes.
from typing import TYPE_CHECKING, Any

from ragkit.serve.api import wire
from ragkit.serve.api.server_parts import ServerParts

if TYPE_CHECKING:
    from fastapi import FastAPI


def add_model_routes(app: "FastAPI", parts: ServerParts) -> None:
    """The list of models, and each of them. In threads: databases are asked, and corpora may be opened."""

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        listed = [wire.model(name, parts.created).model_dump() for name in parts.library.names()]
        return {"object": "list", "data": listed}

    @app.get("/v1/models/{name:path}")
    def model(name: str) -> dict[str, Any]:
        parts.corpus(name)
        return wire.model(name, parts.created).model_dump()
