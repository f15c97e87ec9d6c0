"""The OpenAI-compatible HTTP server. Each corpus of the library is a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragkit.extras import require
from ragkit.protocols import CorpusLibrary
from ragkit.records import Sampling
from ragkit.serve.api.chat_routes import add_chat_routes
from ragkit.serve.api.error_handlers import handle_errors
from ragkit.serve.api.health_routes import add_health_routes
from ragkit.serve.api.model_routes import add_model_routes
from ragkit.serve.api.page_routes import add_page_routes
from ragkit.serve.api.request_id import RequestIdMiddleware
from ragkit.serve.api.server_parts import ServerParts
from ragkit.serve.api.web_routes import add_web_routes
from ragkit.serve_config import ServeConfig

if TYPE_CHECKING:
    from fastapi import FastAPI

_ROUTES = (add_chat_routes, add_model_routes, add_health_routes, add_page_routes, add_web_routes)


def create_app(
    library: CorpusLibrary, sampling: Sampling | None = None, settings: ServeConfig | None = None
) -> FastAPI:
    """An ASGI application that answers from the corpora of `library`.

    sampling: what holds where a request does not say otherwise.

    Raises:
        MissingExtraError: the extra `serve` is not installed.
    """
    require("fastapi")
    require("openai")
    from fastapi import FastAPI

    app = FastAPI(title="ragkit", docs_url=None, redoc_url=None)
    parts = ServerParts(library, sampling or Sampling(), settings or ServeConfig())
    for add_routes in _ROUTES:
        add_routes(app, parts)
    handle_errors(app)
    app.add_middleware(RequestIdMiddleware)
    return app


def run_server(app: FastAPI, host: str, port: int) -> None:
    """Serve until interrupted."""
    require("uvicorn").run(app, host=host, port=port)
