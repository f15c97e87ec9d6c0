"""Every error of the server in the shape that OpenAI's clients read."""

from typing import TYPE_CHECKING, Any

from ragkit.errors import RagkitError
from ragkit.serve.api.connection import ClientGoneError
from ragkit.serve.api.http_errors import HttpProblem, internal_problem, problem_of
from ragkit.serve.guards.request_id import request_id_of
from ragkit.serve.guards.security_headers import with_security_headers

if TYPE_CHECKING:
    from fastapi import FastAPI

_CLIENT_GONE = 499


def handle_errors(app: "FastAPI") -> None:
    """Problems, ragkit's own errors, bad bodies, and what nobody foresaw."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    def reply(problem: HttpProblem) -> Response:
        return JSONResponse(problem.body(), problem.status, problem.headers)

    async def on_problem(_: Request, error: HttpProblem) -> Response:
        return reply(error)

    async def on_ragkit_error(request: Request, error: RagkitError) -> Response:
        return reply(problem_of(error, request_id_of(request)))

    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        return reply(_invalid(error.errors()[0]))

    async def on_http_error(_: Request, error: HTTPException) -> Response:
        return reply(HttpProblem(error.status_code, str(error.detail), headers=error.headers))

    async def on_gone(_: Request, __: ClientGoneError) -> Response:
        return Response(status_code=_CLIENT_GONE)

    async def on_any(request: Request, error: Exception) -> Response:
        # Starlette calls this outside of the middleware that adds the header.
        request_id = request_id_of(request)
        response = reply(internal_problem(error, request_id))
        response.headers["x-request-id"] = request_id
        # The error is raised on, upon which uvicorn closes the connection: the client must not reuse it.
        response.headers["connection"] = "close"
        response.raw_headers = with_security_headers(response.raw_headers)
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
