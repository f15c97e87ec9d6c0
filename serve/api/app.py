"""The OpenAI-compatible HTTP server. Each corpus of the library is a model."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ragkit.errors import RagkitError
from ragkit.extras import require
from ragkit.protocols import CorpusLibrary, Upstream
from ragkit.records import Sampling
from ragkit.serve.api.embedding_routes import add_embedding_routes
from ragkit.serve.api.error_handlers import handle_errors
from ragkit.serve.api.file_routes import add_file_routes
from ragkit.serve.api.health_routes import add_health_routes, log_readiness
from ragkit.serve.api.model_routes import add_model_routes
from ragkit.serve.api.rerank_routes import add_rerank_routes
from ragkit.serve.api.server_parts import ServerParts
from ragkit.serve.api.vector_store_file_routes import add_file_batch_routes, add_vector_store_file_routes
from ragkit.serve.api.vector_store_routes import add_vector_store_routes
from ragkit.serve.chat.chat_routes import add_chat_routes
from ragkit.serve.guards.access_log import start_logging
from ragkit.serve.guards.guards import Guards
from ragkit.serve.guards.head_limit import head_limited_protocol
from ragkit.serve.guards.server_end import ServerEnd
from ragkit.serve.pages.page_routes import add_page_routes
from ragkit.serve.pages.web_routes import add_web_routes
from ragkit.serve.responses.responses_routes import add_responses_routes
from ragkit.serve.stores.server_stores import ServerStores
from ragkit.serve_config import ServeConfig

if TYPE_CHECKING:
    from fastapi import FastAPI
    from uvicorn import Config, Server

# Longer than proxies keep an idle connection: one that closes first can lose a request that is on its way.
_KEEP_ALIVE_S = 75
_SWITCH_S = 0.001
# For clients to take what they are told when the time of a server that ends is over.
_TAKE_S = 2.0
_ROUTES = (
    add_chat_routes,
    add_responses_routes,
    add_file_routes,
    add_vector_store_routes,
    add_vector_store_file_routes,
    add_file_batch_routes,
    add_embedding_routes,
    add_rerank_routes,
    add_model_routes,
    add_health_routes,
    add_page_routes,
    add_web_routes,
)


def create_app(
    library: CorpusLibrary,
    sampling: Sampling | None = None,
    settings: ServeConfig | None = None,
    upstreams: Sequence[Upstream] = (),
    stores: ServerStores | None = None,
    end: ServerEnd | None = None,
    any_host: bool = False,
) -> FastAPI:
    """An ASGI application that answers from the corpora of `library`.

    sampling: what holds where a request does not say otherwise. upstreams: what /ready asks after.
    stores: files and vector stores, indexed for as long as the application runs. end: that of `run_server`.
    any_host: whether a server without API keys may be asked by whatever name.

    Raises:
        MissingExtraError: the extra `serve` is not installed.
        ConfigError: the file of API keys cannot be read.
    """
    require("fastapi")
    require("openai")
    from fastapi import FastAPI

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with nullcontext() if stores is None else stores.desk.running():
            looking = asyncio.create_task(log_readiness(upstreams))
            try:
                yield
            finally:
                looking.cancel()

    app = FastAPI(title="ragkit", docs_url=None, redoc_url=None, lifespan=lifespan)
    settings = settings or ServeConfig()
    guards = Guards(settings, end or ServerEnd(), any_host)
    shown = guards.library(library)
    parts = ServerParts(
        shown, sampling or Sampling(), settings, signer=guards.signer, upstreams=upstreams, stores=stores
    )
    for add_routes in _ROUTES:
        add_routes(app, parts)
    handle_errors(app)
    guards.protect(app, parts)
    return app


def run_server(
    app: FastAPI,
    sockets: list[socket.socket],
    ssl_certfile: Path | None = None,
    ssl_keyfile: Path | None = None,
    end: ServerEnd | None = None,
) -> None:
    """Serve on bound sockets until interrupted; with a certificate over TLS. It logs JSON lines to stderr.

    end: what the application was made with.

    Raises:
        RagkitError: it did not start; the log says why.
    """
    start_logging()
    # Threads that search and cite give way to the event loop sooner than by Python's own 5 ms.
    sys.setswitchinterval(_SWITCH_S)
    # Libraries and models are very many objects that live as long as the server: a full collection would look
    # through them all, and nobody is answered meanwhile.
    gc.collect()
    gc.freeze()
    config = require("uvicorn").Config(
        app,
        http=head_limited_protocol(),
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=None if end is None else end.seconds + _TAKE_S,
        ssl_certfile=ssl_certfile,
        ssl_keyfile=ssl_keyfile,
        log_config=None,
        access_log=False,
        server_header=False,
    )
    server = _server_of(config, end or ServerEnd())
    # Ctrl-C, which the server has heeded, is raised once more behind it; so is SIGTERM, which `ragkit serve` makes
    # an exit. What keeps it from starting ends newer versions of it by an exit of their own.
    with suppress(KeyboardInterrupt, SystemExit):
        server.run(sockets)
    if not server.started:
        raise RagkitError("the server did not start; its log says why")


def _server_of(config: Config, end: ServerEnd) -> Server:
    base: type[Server] = require("uvicorn").Server

    async def shutdown(self: Server, sockets: list[socket.socket] | None = None) -> None:
        end.begin()
        try:
            # It waits for requests under way, unless it is told to end once more.
            await base.shutdown(self, sockets)
        finally:
            end.finish()

    made: Server = type("HeedingServer", (base,), {"shutdown": shutdown})(config)
    return made
