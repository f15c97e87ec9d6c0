"""Errors that are sent before any route is reached, or after its work was given up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ragkit.serve.api.http_errors import HttpProblem

if TYPE_CHECKING:
    from starlette.types import Send


async def send_problem(send: Send, problem: HttpProblem) -> None:
    """The whole reply, in OpenAI's shape."""
    body = json.dumps(problem.body()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in problem.headers.items()
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
