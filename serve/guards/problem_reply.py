"""Errors that are sent before any route is reached, or after its work was given up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.pages.problem_page import problem_page

if TYPE_CHECKING:
    from starlette.types import Scope, Send


async def send_problem(send: Send, problem: HttpProblem, scope: Scope | None = None) -> None:
    """The whole reply, in OpenAI's shape; with the request's `scope` a page, where a browser asked for one."""
    page = None if scope is None else problem_page(scope, problem)
    if page is not None:
        body, told = page[0].encode(), page[1]
    else:
        body, told = json.dumps(problem.body()).encode(), {"content-type": "application/json", **problem.headers}
    headers = [(b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
