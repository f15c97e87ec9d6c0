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
        stores = parts.stores.stores.names() if parts.stores else {}
        listed = [_model(name, parts.created, stores.get(name)) for name in parts.library.names()]
        return {"object": "list", "data": listed}

    @app.get("/v1/models/{name:path}")
    def model(name: str) -> dict[str, Any]:
        # A vector store may have been asked for by its name.
        corpus = parts.corpus(name).name
        return _model(name, parts.created, parts.stores.stores.name_of(corpus) if parts.stores else None)


def _model(name: str, created: int, title: str | None) -> dict[str, Any]:
    """title: of a vector store, "" where it has none; None for a corpus."""
    kind = "corpus" if title is None else "vector_store"
    return wire.model(name, created, title or name, kind).model_dump()
