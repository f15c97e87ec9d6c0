"""Spans of requests and of the stages of answers, where OpenTelemetry's environment variables ask for them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ragkit.extras import require
from ragkit.serve.guards.request_record import RequestRecord

if TYPE_CHECKING:
    from starlette.types import Scope

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_NS_PER_MS = 1_000_000
_FAILED = 500


def wants_traces(environment: Mapping[str, str]) -> bool:
    """Whether an exporter or the address of a collector is named, and tracing is not switched off."""
    exporter = environment.get("OTEL_TRACES_EXPORTER", "")
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporter == "none":
        return False
    return bool(exporter) or any(environment.get(name) for name in _ENDPOINTS)


def make_tracer() -> Tracer | None:
    """None where no traces are wanted; nothing of OpenTelemetry is imported then.

    Raises:
        MissingExtraError: they are wanted, and the extra `otel` is not installed.
    """
    return Tracer(_provider()) if wants_traces(os.environ) else None


class Tracer:
    """Makes the spans of a provider of OpenTelemetry's SDK."""

    def __init__(self, provider: Any) -> None:
        self._trace = require("opentelemetry.trace")
        self._propagate = require("opentelemetry.propagate")
        self._tracer = provider.get_tracer("ragkit")

    def begin(self, scope: Scope) -> Any:
        """The span of a request; part of its client's trace where the client says which."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        return self._tracer.start_span(
            scope["method"], context=self._propagate.extract(headers), kind=self._trace.SpanKind.SERVER
        )

    def end(self, span: Any, record: RequestRecord, route: str, status: int) -> None:
        """Name the span by its route, and put the stages below it."""
        span.update_name(f"{record.method} {route}")
        span.set_attributes(
            {
                "http.request.method": record.method,
                "http.route": route,
                "http.response.status_code": status,
                "ragkit.request_id": record.request_id,
            }
        )
        if status >= _FAILED:
            span.set_status(self._trace.StatusCode.ERROR)
        self._stages(span, record)
        span.end()

    def _stages(self, span: Any, record: RequestRecord) -> None:
        """They follow one another, and the last one ends with the answer."""
        context = self._trace.set_span_in_context(span)
        begin = time.time_ns() - int(sum(record.stages_ms.values()) * _NS_PER_MS)
        for stage, took_ms in record.stages_ms.items():
            end = begin + int(took_ms * _NS_PER_MS)
            self._tracer.start_span(stage, context=context, start_time=begin).end(end)
            begin = end


def _provider() -> Any:
    """The one that is set already, as by `opentelemetry-instrument`; else one as the environment says."""
    trace = require("opentelemetry.trace")
    sdk = require("opentelemetry.sdk.trace")
    provider = trace.get_tracer_provider()
    if isinstance(provider, sdk.TracerProvider):
        return provider
    made = sdk.TracerProvider()
    export = require("opentelemetry.sdk.trace.export")
    if os.environ.get("OTEL_TRACES_EXPORTER") == "console":
        made.add_span_processor(export.SimpleSpanProcessor(export.ConsoleSpanExporter()))
    else:
        otlp = require("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        made.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter()))
    return made
