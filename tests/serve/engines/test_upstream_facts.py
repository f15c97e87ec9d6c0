from __future__ import annotations

import asyncio
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from PIL import Image

from ragkit.records import ChatMessage, ImageLimits, Readiness
from ragkit.serve.engines.openai_engine import OpenAIEngine
from ragkit.serve.engines.token_estimate import estimate_tokens
from ragkit.serve.engines.upstream_facts import UpstreamFacts
from tests.serve.house import running, wait_until

MESSAGES = [ChatMessage("system", "Be brief."), ChatMessage("user", "Größe? 🐟")]
ESTIMATE = 16 + sum(estimate_tokens(message.content) for message in MESSAGES)


def card(**fields: Any) -> dict[str, Any]:
    return {"id": "m", "object": "model", "owned_by": "vllm", "max_model_len": 1234, **fields}


@dataclass
class Server:
    """Answers GET with a list of models, POST with a count; remembers what it was asked."""

    models: Any = field(default_factory=lambda: {"object": "list", "data": [card()]})
    count: Any = field(default_factory=lambda: {"count": 42, "max_model_len": 1234, "tokens": [1]})
    status: int = 200
    count_status: int = 200
    wait_s: float = 0
    asked: list[tuple[str, Any, str]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        key = dict(scope["headers"]).get(b"authorization", b"").decode()
        self.asked.append((scope["path"], json.loads(body) if body else None, key))
        await asyncio.sleep(self.wait_s)
        counting = scope["method"] == "POST"
        reply = self.count if counting else self.models
        data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        status = self.count_status if counting else self.status
        await send({"type": "http.response.start", "status": status, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": data})


def paths(server: Server) -> list[str]:
    return [path for path, _, _ in server.asked]


def test_vllm_counts_and_says_how_long_its_context_is() -> None:
    server = Server()
    with running(server) as address:
        engine = OpenAIEngine(f"{address}/v1/", "m", api_key="secret")
        assert (engine.count_tokens(MESSAGES), engine.context_tokens) == (42, 1234)
        assert engine.count_tokens(MESSAGES) == 42
        assert engine.context_tokens == 1234
    body = {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Größe? 🐟"}],
    }
    # Each is asked once.
    assert server.asked == [("/v1/models", None, "Bearer secret"), ("/tokenize", body, "Bearer secret")]


def test_images_are_estimated_beside_the_counted_text() -> None:
    server = Server()
    red = Image.new("RGB", (56, 28))
    with running(server) as address:
        engine = OpenAIEngine(f"{address}/v1", "m", image_limits=ImageLimits(1, 10_000))
        assert engine.count_tokens([ChatMessage("user", "What?", (red,))]) == 42 + 2 + 16
    assert server.asked[-1][1]["messages"] == [{"role": "user", "content": "What?"}]


def test_what_the_settings_say_is_not_asked_for() -> None:
    server = Server()
    with running(server) as address:
        assert OpenAIEngine(f"{address}/v1", "m", context_tokens=999).context_tokens == 999
    assert server.asked == []


@pytest.mark.parametrize(
    "models",
    [
        {"object": "list", "data": [card(owned_by="openai", max_model_len=None)]},
        {"object": "list", "data": [card(owned_by="ollama", id="m:latest", max_model_len="8k")]},
        {"object": "list", "data": [card(owned_by="llamacpp", id="/models/m.gguf", max_model_len=-1)]},
        {"object": "list", "data": [card(id="other")]},
        {"data": {}},
        [],
        b"<html>",
        b"[" * 100_000,
    ],
)
def test_others_are_estimated(models: Any) -> None:
    server = Server(models)
    with running(server) as address:
        engine = OpenAIEngine(f"{address}/v1", "m")
        assert (engine.count_tokens(MESSAGES), engine.context_tokens) == (ESTIMATE, 8192)
    assert "/tokenize" not in paths(server)


@pytest.mark.parametrize("count", [{"count": "many"}, {"count": 0}, [], b"<html>", {"tokens": [1, 2]}])
def test_a_count_that_is_none_is_estimated(count: Any) -> None:
    with running(Server(count=count)) as address:
        assert OpenAIEngine(f"{address}/v1", "m").count_tokens(MESSAGES) == ESTIMATE


def test_a_prompt_that_cannot_be_counted_does_not_hinder_the_next() -> None:
    server = Server(count_status=400)
    with running(server) as address:
        engine = OpenAIEngine(f"{address}/v1", "m")
        assert engine.count_tokens(MESSAGES) == ESTIMATE
        server.count_status = 200
        assert engine.count_tokens(MESSAGES) == 42


def test_a_server_that_is_not_there_is_not_asked_for_each_prompt() -> None:
    server = Server(status=500)
    with running(server) as address:
        engine = OpenAIEngine(f"{address}/v1", "m")
        assert {engine.count_tokens(MESSAGES) for _ in range(20)} == {ESTIMATE}
    assert paths(server) == ["/v1/models"]


@pytest.mark.parametrize(
    ("server", "model", "state"),
    [
        (Server(), "m", "ready"),
        (Server(), "other", "does not serve the model 'other'"),
        (Server(), "/secret/place/other", "does not serve the model 'other'"),
        (Server({"object": "list", "data": []}), "m", "does not serve the model 'm'"),
        (Server(status=401), "m", "refuses the key"),
        (Server(status=404), "m", "ready"),
        (Server(status=503), "m", "answers with status 503"),
        (Server(b"<html>"), "m", "is no server of models"),
        (Server({"data": [1, None, card()]}), "m", "ready"),
        (Server({"data": [card(owned_by="ollama", id="m:latest")]}), "m", "ready"),
        (Server({"data": [card(owned_by="llamacpp", id="x.gguf")]}), "m", "ready"),
    ],
)
def test_readiness_is_what_the_server_says(server: Server, model: str, state: str) -> None:
    with running(server) as address:
        found = asyncio.run(OpenAIEngine(f"{address}/v1", model).readiness())
    assert found == Readiness(model.rpartition("/")[2], state == "ready", state)


def test_readiness_of_a_server_that_is_away_or_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragkit.serve.engines.upstream_facts._TIMEOUT_S", 0.2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    away = asyncio.run(OpenAIEngine(f"http://127.0.0.1:{port}/v1", "m").readiness())
    assert away == Readiness("m", False, "cannot be reached")
    with running(Server(wait_s=1)) as address:
        started = time.monotonic()
        silent = asyncio.run(OpenAIEngine(f"{address}/v1", "m").readiness())
        assert time.monotonic() - started < 1
    assert silent == Readiness("m", False, "does not answer in time")


def test_readiness_is_asked_for_anew_after_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    with running(server) as address:
        engine = OpenAIEngine(f"{address}/v1", "m")
        assert asyncio.run(engine.readiness()).is_ready
        server.models = {"data": []}
        assert asyncio.run(engine.readiness()).is_ready
        monkeypatch.setattr("ragkit.serve.engines.upstream_facts._FRESH_S", 0.0)
        assert not asyncio.run(engine.readiness()).is_ready
        # What was known of the model stays known.
        assert engine.context_tokens == 1234


def test_what_is_known_is_told_while_the_server_is_slow_to_list_its_models(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server()
    monkeypatch.setattr("ragkit.serve.engines.upstream_facts._FRESH_S", 0.0)
    with running(server) as address, ThreadPoolExecutor(1) as thread:
        engine = OpenAIEngine(f"{address}/v1", "m")
        assert engine.count_tokens(MESSAGES) == 42
        server.wait_s, asked = 1.0, len(server.asked)
        probe = thread.submit(engine._facts.card)
        wait_until(lambda: len(server.asked) > asked)
        assert (engine.context_tokens, engine.count_tokens(MESSAGES)) == (1234, 42)
        engine._facts.forget()
        assert not probe.done()
        # What is forgotten is waited for again, and had from the same probe.
        assert engine.context_tokens == 1234
    assert len(server.asked) == asked + 1


def test_who_asks_while_another_asks_gets_the_same_card() -> None:
    server = Server(wait_s=0.3)
    with running(server) as address, ThreadPoolExecutor(3) as threads:
        facts = OpenAIEngine(f"{address}/v1", "m")._facts
        cards = [threads.submit(facts.card) for _ in range(3)]
        assert [card.result().context_tokens for card in cards] == [1234] * 3
    assert paths(server) == ["/v1/models"]


def test_only_the_last_counts_are_kept() -> None:
    server = Server()
    with running(server) as address:
        engine = OpenAIEngine(f"{address}/v1", "m")
        facts: UpstreamFacts = engine._facts
        for number in range(300):
            facts._counts[number] = number
        engine.count_tokens(MESSAGES)
        assert len(facts._counts) == 256
        assert next(iter(facts._counts)) == 45
