from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from ragkit.errors import EngineError
from ragkit.records import Readiness
from ragkit.serve.api.app import create_app
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.guards.access_log import JsonLines
from ragkit.serve.guards.tracing import Tracer, wants_traces
from ragkit.serve_config import ServeConfig
from tests.serve.house import FakeAnswerer, FakeLibrary, running, wait_until
from tests.serve.stores.store_house import store_server

QUESTION: Any = [{"role": "user", "content": "How deep is Lake Ohm?"}]


class _Failing(EchoEngine):
    async def chat(self, request: Any) -> Any:
        raise EngineError("http://secret answered 500")


def library() -> FakeLibrary:
    return FakeLibrary(FakeAnswerer("papers", EchoEngine()), FakeAnswerer("broken", _Failing()))


def metrics_of(address: str) -> dict[str, float]:
    lines = httpx.get(f"{address}/metrics").text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def ask(address: str, model: str, stream: bool = False) -> httpx.Response:
    body = {"model": model, "messages": QUESTION, "stream": stream}
    return httpx.post(f"{address}/v1/chat/completions", json=body)


def test_metrics_count_what_happened() -> None:
    with running(create_app(library())) as address:
        used = ask(address, "papers").json()["usage"]
        for stream in (True, True):
            ask(address, "papers", stream)
        ask(address, "broken")
        ask(address, "nobody")
        for path in ("/v1/models/papers", "/v1/models/no/such", "/secret/user/text", "/other"):
            httpx.get(f"{address}{path}")
        httpx.request("PURGE", f"{address}/coffee")
        wait_until(lambda: metrics_of(address).get("ragkit_requests_in_flight") == 1)
        seen = metrics_of(address)
    count = 'ragkit_requests_total{{method="{}",route="{}",status="{}"}}'
    chat = "/v1/chat/completions"
    assert seen[count.format("POST", chat, 200)] == 3
    assert seen[count.format("POST", chat, 502)] == 1
    assert seen[count.format("POST", chat, 404)] == 1
    assert seen[count.format("GET", "/v1/models/{name:path}", 200)] == 1
    assert seen[count.format("GET", "none", 404)] == 2
    assert seen[count.format("other", "none", 404)] == 1
    assert seen['ragkit_request_seconds_count{route="/v1/chat/completions"}'] == 5
    # The fake's retrieval says 2.5 ms each time.
    assert seen['ragkit_stage_seconds_count{stage="retrieve"}'] == 3
    assert seen['ragkit_stage_seconds_sum{stage="retrieve"}'] == pytest.approx(0.0075)
    assert seen['ragkit_stage_seconds_count{stage="generate"}'] == 3
    assert seen['ragkit_stage_seconds_count{stage="cite"}'] == 3
    assert seen['ragkit_tokens_total{kind="prompt"}'] == 3 * used["prompt_tokens"]
    assert seen['ragkit_tokens_total{kind="completion"}'] == 3 * used["completion_tokens"]
    assert seen["ragkit_queue_seconds_count"] == 5
    assert (seen["ragkit_queue_length"], seen["ragkit_places_taken"]) == (0, 0)
    assert seen["ragkit_event_loop_lag_seconds_count"] > 0
    assert not any("secret" in name or "nobody" in name for name in seen)


class _Upstream:
    async def readiness(self) -> Readiness:
        return Readiness("echo", False, "away")


def test_metrics_tell_of_upstreams_and_of_files_that_wait(tmp_path: Path) -> None:
    with running(create_app(library(), upstreams=[_Upstream()])) as address:
        assert metrics_of(address)['ragkit_upstream_ready{upstream="echo"}'] == 0
    with store_server(tmp_path) as server:
        files = [server.upload(f"{i}.txt", f"Lake Ohm is {i} metres deep.") for i in range(20)]
        store = server.client.vector_stores.create().id
        server.client.vector_stores.file_batches.create(store, file_ids=files)
        assert metrics_of(server.url)["ragkit_index_jobs"] > 0
        server.wait(lambda: metrics_of(server.url)["ragkit_index_jobs"] == 0)
        assert server.client.vector_stores.retrieve(store).file_counts.completed == 20


def test_indexing_is_logged_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ragkit.serve")
    with store_server(tmp_path) as server:
        store = server.store_of({"private name.txt": "Lake Ohm is deep.", "private.zip": b"PK\x03\x04 Lake Ohm"})
        seen = metrics_of(server.url)
        files = {file.status: file.id for file in server.client.vector_stores.files.list(store)}
    count = 'ragkit_index_files_total{{status="{}"}}'
    assert (seen[count.format("completed")], seen[count.format("failed")]) == (1, 1)
    lines = [JsonLines().format(one) for one in caplog.records if "indexing of a file" in one.getMessage()]
    ended = sorted(map(json.loads, lines), key=lambda line: str(line["status"]))
    assert [(one["level"], one["status"], one.get("code"), one["pages"]) for one in ended] == [
        ("info", "completed", None, 1),
        ("warning", "failed", "unsupported_file", 0),
    ]
    assert [(one["store"], one["file"]) for one in ended] == [(store, files[one["status"]]) for one in ended]
    assert not any("private" in line or "Ohm" in line for line in lines)


def test_work_that_goes_on_after_a_restart_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ragkit.serve")
    with store_server(tmp_path) as server:
        store = server.client.vector_stores.create().id
        files = [server.upload(f"{i}.txt", "Lake Ohm is deep.") for i in range(200)]
        server.client.vector_stores.file_batches.create(store, file_ids=files)
    assert not [one for one in caplog.records if "goes on" in one.getMessage()]
    with store_server(tmp_path):
        (line,) = [one for one in caplog.records if "goes on" in one.getMessage()]
    assert 0 < json.loads(JsonLines().format(line))["jobs"] <= 200


def test_two_servers_count_for_themselves() -> None:
    with running(create_app(library())) as one, running(create_app(library())) as other:
        ask(one, "papers")
        assert not any("chat" in name for name in metrics_of(other))


@pytest.mark.parametrize("log_questions", [False, True])
def test_the_log_has_a_line_a_request(caplog: pytest.LogCaptureFixture, log_questions: bool) -> None:
    caplog.set_level(logging.INFO, "ragkit.access")
    with running(create_app(library(), settings=ServeConfig(log_questions=log_questions))) as address:
        reply = ask(address, "papers", stream=True)
        httpx.get(f"{address}/v1/models/no%20%7B%22fake%22%3A1%7D?q=How+deep")
        wait_until(lambda: len([one for one in caplog.records if one.name == "ragkit.access"]) == 2)
    lines = [JsonLines().format(one) for one in caplog.records if one.name == "ragkit.access"]
    assert all("\n" not in line for line in lines)
    first, second = map(json.loads, lines)
    assert first["request_id"] == reply.headers["x-request-id"]
    assert (first["method"], first["route"], first["status"]) == ("POST", "/v1/chat/completions", 200)
    assert (first["corpus"], first["level"], first["event"]) == ("papers", "info", "request")
    assert first["ms"] > 0
    assert first["completion_tokens"] == 18
    assert first.get("question") == ("How deep is Lake Ohm?" if log_questions else None)
    assert (second["route"], second["status"]) == ("/v1/models/{name:path}", 404)
    assert "fake" not in lines[1]
    for line in lines:
        assert "Stone Bridge" not in line
        assert log_questions or "deep" not in line


def test_a_log_line_cannot_be_faked() -> None:
    record = logging.LogRecord("ragkit", logging.ERROR, "", 0, "%s", ('a\n{"event": "x"}\u2028\ud800',), None)
    line = JsonLines().format(record)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["event"].startswith("a\n{")


def test_a_failure_nobody_foresaw_is_logged_with_its_trace() -> None:
    try:
        raise ZeroDivisionError("x")
    except ZeroDivisionError:
        import sys

        record = logging.LogRecord("ragkit", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    assert "ZeroDivisionError" in json.loads(JsonLines().format(record))["trace"]


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, False),
    ],
)
def test_when_traces_are_wanted(environment: dict[str, str], wanted: bool) -> None:
    assert wants_traces(environment) is wanted


def test_spans_of_a_request_and_its_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    held, provider = InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(held))
    monkeypatch.setattr("ragkit.serve.guards.guards.make_tracer", lambda: Tracer(provider))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with running(create_app(library())) as address:
        body = {"model": "papers", "messages": QUESTION}
        httpx.post(f"{address}/v1/chat/completions", json=body, headers={"traceparent": parent})
        ask(address, "broken")
        wait_until(lambda: len(held.get_finished_spans()) == 5)
    spans = {span.name: span for span in held.get_finished_spans()}
    assert [span.name for span in held.get_finished_spans()][:3] == ["retrieve", "generate", "cite"]
    broken, whole = [span for span in held.get_finished_spans() if span.name.startswith("POST")][::-1]
    assert whole.name == "POST /v1/chat/completions"
    assert f"{whole.context.trace_id:032x}" == parent.split("-")[1]
    assert whole.attributes["http.response.status_code"] == 200
    assert spans["retrieve"].parent.span_id == whole.context.span_id
    assert spans["retrieve"].end_time - spans["retrieve"].start_time == 2_500_000
    assert spans["generate"].start_time == spans["retrieve"].end_time
    assert whole.start_time <= spans["retrieve"].start_time + 2_500_000
    assert broken.attributes["http.response.status_code"] == 502
    assert not broken.status.is_ok
    assert not any("deep" in str(span.attributes) for span in spans.values())
