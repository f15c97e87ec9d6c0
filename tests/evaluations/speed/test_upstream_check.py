from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ragkit.config import parse_config
from ragkit.corpus import Corpus
from ragkit.errors import RagkitError
from ragkit.eval.speed.load_client import LoadPlan, LoadSeen
from ragkit.evaluations.speed.load_server import run_load
from ragkit.evaluations.speed.upstream_check import (
    UpstreamScale,
    cached_tokens,
    measure_upstream,
    prepared_prompts,
)
from ragkit.records import TextRecord

WORDS = 5


class FakeVllm(ThreadingHTTPServer):
    """Streams the same words to everybody, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        # As vLLM tells it, for each of its engines; or nothing where it is another server.
        self.has_metrics = False
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeVllm

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._send(self._metrics().encode(), "text/plain")
            return
        self._send(json.dumps({"data": [{"id": "m", "max_model_len": 4096}]}).encode(), "application/json")

    def _metrics(self) -> str:
        if not self.server.has_metrics:
            return ""
        name, found = "vllm:prefix_cache_hits_total", 100.0 * len(self.server.asked)
        engines = [f'{name}{{engine="0",model_name="m"}} {found}', f'{name}{{engine="1",model_name="m"}} 1e3']
        return "\n".join([f"# TYPE {name} counter", *engines, ""])

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/v1/chat/completions":
            self._send(json.dumps({"count": 7, "max_model_len": 4096}).encode(), "application/json")
            return
        self.server.asked.append(body)
        deltas = [{"content": f"word{i} "} for i in range(WORDS)]
        chunks = [self._chunk(delta, None) for delta in deltas] + [self._chunk({}, "length")]
        events = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
        self._send(events + b"data: [DONE]\n\n", "text/event-stream")

    @staticmethod
    def _chunk(delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        if kind == "text/event-stream":
            # In one chunk, for the generator of load tells streams by it.
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
            return
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def upstream() -> Iterator[FakeVllm]:
    with FakeVllm() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_both_ways_send_the_same_prompts_at_the_same_times(
    upstream: FakeVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[LoadPlan] = []

    def load(plan: LoadPlan) -> LoadSeen:
        plans.append(plan)
        return run_load(plan)

    monkeypatch.setattr("ragkit.evaluations.speed.upstream_check.run_load", load)
    report = measure_upstream(upstream.url, "m", UpstreamScale(2.0, 2, documents=20), tell=lambda _: None)
    figures = {figure.name: figure for figure in report.figures}
    assert figures["errors"].value == 0
    assert figures["answers directly"].value > 0
    assert figures["answers through ragkit"].value > 0
    ratio = figures["answers through ragkit"].value / figures["answers directly"].value
    assert figures["through a direct one"].value == pytest.approx(ratio)
    timed = [(plan.address in upstream.url, plan.rate, plan.seed, plan.seconds) for plan in plans if plan.rate]
    half = min(figures["answers directly"].value, figures["answers through ragkit"].value) / 2
    assert sorted(timed) == [(past, half, turn, 2.0 / 16) for past in (False, True) for turn in range(4)]
    added_ms = figures["first text p50 through ragkit"].value - figures["first text p50 directly"].value
    assert figures["added to the first text, p50"].value == pytest.approx(added_ms)
    assert figures["timed answers, each way"].value > 0
    assert "prompt tokens found in the prefix cache" not in figures
    through = [body for body in upstream.asked if "stream_options" in body]
    past = [body for body in upstream.asked if "stream_options" not in body]
    prompts = [{json.dumps(body["messages"]) for body in bodies} for bodies in (past, through)]
    # Of 500 questions chance chooses some each way; the same question makes the same prompt.
    questions = [{prompt.rpartition("Question")[2]: prompt for prompt in one} for one in prompts]
    both = questions[0].keys() & questions[1].keys()
    assert both
    assert all(questions[0][question] == questions[1][question] for question in both)
    assert all("[1]" in prompt for prompt in prompts[0])
    sampling = {(body["max_tokens"], body["temperature"], body["ignore_eos"]) for body in upstream.asked}
    assert sampling == {(64, 0.0, True)}


def test_what_the_prefix_cache_gave_is_told(upstream: FakeVllm) -> None:
    assert cached_tokens(upstream.url) is None
    assert cached_tokens("http://127.0.0.1:9/v1") is None
    upstream.has_metrics = True
    assert cached_tokens(upstream.url) == 1000.0
    asked_before = []

    def tell(line: str) -> None:
        if line.startswith("turn 1"):
            asked_before.append(len(upstream.asked))

    report = measure_upstream(upstream.url, "m", UpstreamScale(1.0, 1, documents=20), tell)
    (found,) = [figure for figure in report.figures if "prefix cache" in figure.name]
    # What warms up both ways is not counted.
    assert asked_before[0] > 0
    assert found.value == 100.0 * (len(upstream.asked) - asked_before[0]) > 0
    assert found.is_met is False


def test_prompts_hold_the_passages_that_are_found(upstream: FakeVllm, tmp_path: Path) -> None:
    config = parse_config(
        {
            "embedder": {"name": "none"},
            "retrieval": {"method": "bm25"},
            "generation": {"engine": "openai", "url": upstream.url, "model": "m", "num_passages": 1},
        }
    )
    with Corpus.open(tmp_path / "c", config=config) as corpus:
        corpus.add([TextRecord("a", "The crane was greased."), TextRecord("b", "The rope was replaced.")])
    ((*_, asked),) = prepared_prompts(tmp_path / "c", config, ["Which rope?"])
    assert asked["role"] == "user"
    assert "The rope was replaced." in asked["content"]
    assert "crane" not in asked["content"]
    assert upstream.asked == []
    with pytest.raises(RagkitError, match="made 0 prompts and not one"):
        prepared_prompts(tmp_path / "c", config, ["zzz"])
