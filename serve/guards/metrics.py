"""What the server counts, in Prometheus' terms. Labels hold names of routes and stages, never what users write."""

from __future__ import annotations

from typing import Any

from ragkit.extras import require
from ragkit.serve.guards.admission import Admission
from ragkit.serve.guards.request_record import RequestRecord

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_LAG_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5)
# Of paths that no route has: their own text would make labels without end.
NO_ROUTE = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class ServerMetrics:
    """The figures of one application, in a registry of its own."""

    def __init__(self, admission: Admission) -> None:
        prometheus = require("prometheus_client")
        self.registry = prometheus.CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self._requests = prometheus.Counter(
            "ragkit_requests", "Requests that have ended.", ["method", "route", "status"], **own
        )
        self._seconds = prometheus.Histogram(
            "ragkit_request_seconds",
            "From the request to the end of its reply.",
            ["route"],
            buckets=_SECONDS,
            **own,
        )
        self._stages = prometheus.Histogram(
            "ragkit_stage_seconds", "Stages of answers and searches.", ["stage"], buckets=_SECONDS, **own
        )
        self._waits = prometheus.Histogram(
            "ragkit_queue_seconds", "From the request until a place was free.", buckets=_SECONDS, **own
        )
        self._tokens = prometheus.Counter("ragkit_tokens", "Tokens of prompts and answers.", ["kind"], **own)
        self._lag = prometheus.Histogram(
            "ragkit_event_loop_lag_seconds", "How late the event loop wakes a sleeper.", buckets=_LAG_S, **own
        )
        self._in_flight = prometheus.Gauge("ragkit_requests_in_flight", "Requests that have not ended.", **own)
        self._upstreams = prometheus.Gauge(
            "ragkit_upstream_ready", "Whether answers can be had from it.", ["upstream"], **own
        )
        self._files = prometheus.Counter(
            "ragkit_index_files", "Files whose indexing has ended.", ["status"], **own
        )
        self._jobs = self._gauge("ragkit_index_jobs", "Changes of vector stores that are not done.")
        self._gauge("ragkit_places_taken", "Asking requests that are worked on.").set_function(
            lambda: admission.running
        )
        self._gauge("ragkit_queue_length", "Asking requests that wait.").set_function(lambda: admission.waiting)

    def begin(self) -> None:
        """A request has come."""
        self._in_flight.inc()

    def end(self, record: RequestRecord, route: str, status: int) -> None:
        """Its reply has ended."""
        method = record.method if record.method in _METHODS else "other"
        self._in_flight.dec()
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(record.seconds)
        if record.queued_s is not None:
            self._waits.observe(record.queued_s)
        for stage, took_ms in record.stages_ms.items():
            self._stages.labels(stage).observe(took_ms / 1000)
        if record.prompt_tokens or record.completion_tokens:
            self._tokens.labels("prompt").inc(record.prompt_tokens)
            self._tokens.labels("completion").inc(record.completion_tokens)

    def lag(self, seconds: float) -> None:
        """The event loop was so late."""
        self._lag.observe(seconds)

    def upstream(self, name: str, is_ready: bool) -> None:
        """Whether something that answers depend on can be used now."""
        self._upstreams.labels(name).set(is_ready)

    def index_file(self, status: str) -> None:
        """Indexing a file has ended so."""
        self._files.labels(status).inc()

    def index_jobs(self, number: int) -> None:
        """So many files wait to be indexed or changed, or are in work."""
        self._jobs.set(number)

    def text(self) -> bytes:
        """Prometheus' text format."""
        made: bytes = require("prometheus_client").generate_latest(self.registry)
        return made

    def _gauge(self, name: str, help_text: str) -> Any:
        return require("prometheus_client").Gauge(name, help_text, registry=self.registry)
