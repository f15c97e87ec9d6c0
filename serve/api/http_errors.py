"""Errors in the shape that OpenAI's clients read."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ragkit.errors import ContextLengthError, CorpusError, EngineError, FilterError, ImageInputError, RagkitError

_log = logging.getLogger("ragkit.serve")


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
    """How an error of ragkit looks to a client: 400 where it can mend it, 502 where an engine failed.

    Paths and addresses of the server are no business of its clients: what they cannot mend is told to
    the log, under the request's id, and they get that id.
    """
    if isinstance(error, ContextLengthError):
        return HttpProblem(400, str(error), param="messages", code="context_length_exceeded")
    if isinstance(error, ImageInputError):
        return HttpProblem(400, str(error), param="messages", code="image_not_supported")
    if isinstance(error, FilterError):
        return HttpProblem(400, str(error), param="filters", code="invalid_filter")
    _log.error("%s: %s: %s", request_id, type(error).__name__, error)
    log = f"the server's log says why, under request {request_id}"
    if isinstance(error, EngineError):
        return HttpProblem(502, f"the language model could not answer; {log}", "server_error", code="engine_error")
    if isinstance(error, CorpusError):
        return HttpProblem(503, f"the corpus cannot be read; {log}", "server_error", code="corpus_error")
    return HttpProblem(500, f"the request could not be answered; {log}", "server_error")


def internal_problem(error: Exception, request_id: str) -> HttpProblem:
    """What a client gets of an error that nobody foresaw; the caller raises it on, to the server's own log."""
    _log.error("%s: internal error: %r", request_id, error)
    return HttpProblem(500, f"internal error; see the server's log under request {request_id}", "server_error")
