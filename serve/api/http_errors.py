"""Errors in the shape that OpenAI's clients read."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from ragkit.errors import (
    ContextLengthError,
    CorpusDeletedError,
    CorpusError,
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    FilterError,
    ImageInputError,
    RagkitError,
    RequestRefusedError,
    UnsupportedRequestError,
)

_log = logging.getLogger("ragkit.serve")
# What the asker can mend: the field that is wrong, and the code.
_MENDABLE: tuple[tuple[type[RagkitError], str | None, str], ...] = (
    (ContextLengthError, "messages", "context_length_exceeded"),
    (ImageInputError, "messages", "image_not_supported"),
    (FilterError, "filters", "invalid_filter"),
    (RequestRefusedError, None, "request_refused"),
)


class HttpProblem(Exception):  # noqa: N818
    """What goes over the wire when a request fails. param: the field of the request that is wrong.

    headers: of the reply, such as retry-after.
    """

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        # What it quotes may hold halves of characters, which JSON's escapes can say and UTF-8 cannot.
        self.message = message.encode("utf-8", "backslashreplace").decode()
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, dict[str, str | None]]:
        """The reply's JSON."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}


def problem_of(error: RagkitError, request_id: str) -> HttpProblem:
    """How an error of ragkit looks to a client: 4xx where it can mend it, 502 to 504 where an engine failed.

    Paths and addresses of the server are no business of its clients: what they cannot mend is told to
    the log, under the request's id, and they get that id.
    """
    for kind, param, code in _MENDABLE:
        if isinstance(error, kind):
            return HttpProblem(400, str(error), param=param, code=code)
    if isinstance(error, UnsupportedRequestError):
        return HttpProblem(400, str(error), param=error.field, code="unsupported_parameter")
    if isinstance(error, CorpusDeletedError):
        return HttpProblem(404, str(error), code="not_found")
    _log.error("%s: %s: %s", request_id, type(error).__name__, error)
    log = f"the server's log says why, under request {request_id}"
    if isinstance(error, EngineError):
        return _engine_problem(error, log)
    if isinstance(error, CorpusError):
        return HttpProblem(503, f"the corpus cannot be read; {log}", "server_error", code="corpus_error")
    return HttpProblem(500, f"the request could not be answered; {log}", "server_error")


def _engine_problem(error: EngineError, log: str) -> HttpProblem:
    if isinstance(error, EngineUnavailableError):
        wait = error.retry_after_s
        headers = None if wait is None else {"retry-after": str(max(1, math.ceil(wait)))}
        message = f"the language model is not available now; {log}"
        return HttpProblem(503, message, "server_error", code="engine_unavailable", headers=headers)
    if isinstance(error, EngineTimeoutError):
        return HttpProblem(504, f"the language model took too long; {log}", "server_error", code="engine_timeout")
    return HttpProblem(502, f"the language model could not answer; {log}", "server_error", code="engine_error")


def internal_problem(error: Exception, request_id: str) -> HttpProblem:
    """What a client gets of an error that nobody foresaw; the caller raises it on, to the server's own log."""
    _log.error("%s: internal error: %r", request_id, error)
    return HttpProblem(500, f"internal error; see the server's log under request {request_id}", "server_error")
