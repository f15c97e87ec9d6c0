"""What becomes known of one request: for the log, the metrics and the traces."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class RequestRecord:
    """queued_s: from its start until it had a place. stages_ms: of the answer. question: where it is logged."""

    request_id: str
    method: str
    started: float = field(default_factory=time.perf_counter)
    key: str = ""
    queued_s: float | None = None
    corpus: str = ""
    stages_ms: dict[str, float] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    question: str | None = None

    @property
    def seconds(self) -> float:
        """Since the request came."""
        return time.perf_counter() - self.started


_current: ContextVar[RequestRecord | None] = ContextVar("ragkit_request_record", default=None)


def current_record() -> RequestRecord | None:
    """Of the request that is worked on; None outside of requests."""
    return _current.get()


def begin_record(record: RequestRecord) -> None:
    """From here on the running task, and what it starts, works on this request."""
    _current.set(record)
