"""A line of JSON for each request, and for what else the server says."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from ragkit.serve.guards.request_record import RequestRecord

_requests = logging.getLogger("ragkit.access")
# uvicorn's own; its access log says less than ours.
_LOGGERS = ("ragkit", "uvicorn", "uvicorn.error")


def log_request(record: RequestRecord, route: str, status: int) -> None:
    """Neither the question nor any text of the documents, unless `log_questions` is set."""
    if not _requests.isEnabledFor(logging.INFO):
        return
    fields = {
        "request_id": record.request_id,
        "method": record.method,
        "route": route,
        "status": status,
        "ms": round(record.seconds * 1000, 1),
        "key": record.key or None,
        "corpus": record.corpus or None,
        "queued_ms": None if record.queued_s is None else round(record.queued_s * 1000, 1),
        "stages_ms": {name: round(took, 1) for name, took in record.stages_ms.items()} or None,
        "prompt_tokens": record.prompt_tokens or None,
        "completion_tokens": record.completion_tokens or None,
        "question": record.question,
    }
    known = {name: value for name, value in fields.items() if value is not None}
    _requests.info("request", extra={"fields": known})


class JsonLines(logging.Formatter):
    """One JSON object a record; line breaks in messages are escaped, so that none can fake a line."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def start_logging() -> None:
    """Send what ragkit and the HTTP server log to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers = [handler] if name != "uvicorn.error" else []
        logger.propagate = name == "uvicorn.error"
