"""Every error of the server in the shape that OpenAI's clients read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ragkit.errors import RagkitError
from ragkit.field_problems import explain, plainest
from ragkit.serve.api.connection import ClientGoneError
from ragkit.serve.api.http_errors import HttpProblem, internal_problem, problem_of
from ragkit.serve.api.missing_route import no_route
from ragkit.serve.guards.request_id import request_id_of
from ragkit.serve.guards.security_headers import with_security_headers
from ragkit.serve.pages.problem_page import problem_page

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

_CLIENT_GONE = 499
# Where no route was found, or none for the method.
_STARLETTES_WORDS = ("Not Found", "Method Not Allowed")


def handle_errors(app: "FastAPI") -> None:
    """Problems, ragkit's own errors, bad bodies, and what nobody foresaw."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, Response

    def reply(request: Request, problem: HttpProblem) -> Response:
        if page := problem_page(request.scope, problem):
            return HTMLResponse(page[0], problem.status, page[1])
        return JSONResponse(problem.body(), problem.status, problem.headers)

    async def on_problem(request: Request, error: HttpProblem) -> Response:
        return reply(request, error)

    async def on_ragkit_error(request: Request, error: RagkitError) -> Response:
        return reply(request, problem_of(error, request_id_of(request)))

    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        return reply(request, _invalid(error.errors(), request))

    async def on_http_error(request: Request, error: HTTPException) -> Response:
        told = no_route(request) if error.detail in _STARLETTES_WORDS else str(error.detail)
        return reply(request, HttpProblem(error.status_code, told, headers=error.headers))

    async def on_gone(_: Request, __: ClientGoneError) -> Response:
        return Response(status_code=_CLIENT_GONE)

    async def on_any(request: Request, error: Exception) -> Response:
        # Starlette calls this outside of the middleware that adds the header.
        request_id = request_id_of(request)
        response = reply(request, internal_problem(error, request_id))
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


def _invalid(problems: Sequence[Any], request: "Request") -> HttpProblem:
    """The first thing that is wrong with a request's body or parameters."""
    field = getattr(request.scope.get("route"), "body_field", None)
    model = None if field is None else field.field_info.annotation
    # FastAPI says first where a field stands: "body", "query" or "path".
    problem = plainest([{**one, "loc": one["loc"][1:]} for one in problems], model)
    location = problem["loc"]
    param = ".".join(map(str, location)) or None
    if problem["type"] == "json_invalid":
        return HttpProblem(400, f"the body is not valid JSON: {problem['ctx']['error']}")
    if not location and isinstance(problem.get("input"), bytes):
        given = request.headers.get("content-type", "")
        kind = f"has content-type {given!r:.80}" if given else "has no content-type"
        return HttpProblem(400, f"the body {kind} and was not read; send JSON with content-type: application/json")
    if not location and problem["type"] == "model_attributes_type":
        return HttpProblem(400, 'the body is JSON, but no object of fields such as {"model": …}')
    told = explain({**problem, "loc": location or ("body",)}, model, "field")
    code = "unknown_parameter" if problem["type"] == "extra_forbidden" else None
    return HttpProblem(400, told, param=param, code=code)
