"""Errors in the shape that OpenAI's clients read."""

from __future__ import annotations

from ragkit.errors import ContextLengthError, CorpusError, EngineError, RagkitError


class HttpProblem(Exception):  # noqa: N818
    """What goes over the wire when a request fails. param: the field of the request that is wrong."""

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code

    def body(self) -> dict[str, dict[str, str | None]]:
        """The reply's JSON."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}


def problem_of(error: RagkitError) -> HttpProblem:
    """How an error of ragkit looks to a client: 400 where it can mend it, 502 where an engine failed."""
    message = str(error)
    if isinstance(error, ContextLengthError):
        return HttpProblem(400, message, param="messages", code="context_length_exceeded")
    if isinstance(error, EngineError):
        return HttpProblem(502, message, "server_error", code="engine_error")
    if isinstance(error, CorpusError):
        return HttpProblem(503, message, "server_error", code="corpus_error")
    return HttpProblem(500, message, "server_error")
