"""The OpenAI-compatible HTTP server. Each corpus of the library is a model."""

# FastAPI reads the endpoints' annotations, which name classes imported inside `create_app`;
# postponed annotations would hide them.
import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any

from ragkit.errors import RagkitError
from ragkit.extras import require
from ragkit.protocols import Answerer, CorpusLibrary
from ragkit.records import Sampling
from ragkit.serve.api import wire
from ragkit.serve.api.chat_request import ChatBody, ask_request
from ragkit.serve.api.connection import ClientGoneError, Connection
from ragkit.serve.api.event_stream import EventStream
from ragkit.serve.api.http_errors import HttpProblem, internal_problem, problem_of
from ragkit.serve.api.request_id import RequestIdMiddleware, request_id_of

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

_CLIENT_GONE = 499


def create_app(library: CorpusLibrary, sampling: Sampling | None = None) -> "FastAPI":
    """An ASGI application that answers from the corpora of `library`.

    sampling: what holds where a request does not say otherwise.

    Raises:
        MissingExtraError: the extra `serve` is not installed.
    """
    require("fastapi")
    require("openai")
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    app = FastAPI(title="ragkit", docs_url=None, redoc_url=None)
    endpoints = _Endpoints(library, sampling or Sampling())

    @app.post("/v1/chat/completions", response_model=None)
    async def chat_completions(body: ChatBody, request: Request) -> Response:
        return await endpoints.chat(body, request)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return endpoints.models()

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        return endpoints.model(name)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    _handle_errors(app)
    app.add_middleware(RequestIdMiddleware)
    return app


def run_server(app: "FastAPI", host: str, port: int) -> None:
    """Serve until interrupted."""
    require("uvicorn").run(app, host=host, port=port)


class _Endpoints:
    def __init__(self, library: CorpusLibrary, sampling: Sampling) -> None:
        self._library = library
        self._sampling = sampling
        self._created = int(time.time())

    async def chat(self, body: ChatBody, request: "Request") -> "Response":
        from starlette.responses import Response, StreamingResponse

        # In a thread: images are decoded there.
        ask = await asyncio.to_thread(ask_request, body, self._sampling)
        answerer = self._answerer(body.model)
        reply_id, created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
        connection = Connection(request)
        if body.stream:
            chunks = wire.ChunkMaker(reply_id, created, body.model, body.wants_usage)
            stream = EventStream(answerer.stream(ask), connection, chunks, request_id_of(request))
            await stream.begin()
            headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
            return StreamingResponse(stream.body(), media_type="text/event-stream", headers=headers)
        async with connection:
            answer = await connection.run(answerer.ask(ask))
        whole = wire.completion(answer, reply_id, created, body.model)
        return Response(whole.model_dump_json(exclude_unset=True), media_type="application/json")

    def models(self) -> dict[str, Any]:
        listed = [wire.model(name, self._created).model_dump() for name in self._library.names()]
        return {"object": "list", "data": listed}

    def model(self, name: str) -> dict[str, Any]:
        self._answerer(name)
        return wire.model(name, self._created).model_dump()

    def _answerer(self, name: str) -> Answerer:
        known = self._library.names()
        if name not in known:
            raise HttpProblem(
                404,
                f"the model {name!r} does not exist; models here: {', '.join(known) or 'none'}",
                param="model",
                code="model_not_found",
            )
        return self._library.answerer(name)


def _handle_errors(app: "FastAPI") -> None:
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    def reply(problem: HttpProblem) -> Response:
        return JSONResponse(problem.body(), problem.status)

    async def on_problem(_: Request, error: HttpProblem) -> Response:
        return reply(error)

    async def on_ragkit_error(request: Request, error: RagkitError) -> Response:
        return reply(problem_of(error, request_id_of(request)))

    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        return reply(_invalid(error.errors()[0]))

    async def on_http_error(_: Request, error: HTTPException) -> Response:
        return reply(HttpProblem(error.status_code, str(error.detail)))

    async def on_gone(_: Request, __: ClientGoneError) -> Response:
        return Response(status_code=_CLIENT_GONE)

    async def on_any(request: Request, error: Exception) -> Response:
        # Starlette calls this outside of the middleware that adds the header.
        request_id = request_id_of(request)
        response = reply(internal_problem(error, request_id))
        response.headers["x-request-id"] = request_id
        # The error is raised on, upon which uvicorn closes the connection: the client must not reuse it.
        response.headers["connection"] = "close"
        return response

    handlers: dict[type[Exception], Any] = {
        HttpProblem: on_problem,
        RagkitError: on_ragkit_error,
        RequestValidationError: on_invalid,
        HTTPException: on_http_error,
        ClientGoneError: on_gone,
        Exception: on_any,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _invalid(problem: Any) -> HttpProblem:
    """The first thing that is wrong with a request's body."""
    param = ".".join(str(part) for part in problem["loc"] if part != "body")
    if problem["type"] == "json_invalid":
        return HttpProblem(400, f"the body is not valid JSON: {problem['ctx']['error']}")
    value = "" if problem["type"] == "missing" else f" = {problem['input']!r:.100}"
    return HttpProblem(400, f"{param or 'body'}{value}: {problem['msg']}", param=param or None)
