from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from ragkit.serve.api.app import create_app
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.guards.server_end import ServerEnd
from ragkit.serve.guards.time_limit import TimeLimitMiddleware
from ragkit.serve_config import ServeConfig
from tests.serve.house import FakeAnswerer, FakeLibrary, running, wait_until

QUESTION: Any = [{"role": "user", "content": "How deep is Lake Ohm?"}]
SLOW = EchoEngine(pause_s=0.05)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    settings = ServeConfig(max_body_mb=0.01, request_timeout_s=0.4)
    library = FakeLibrary(FakeAnswerer("papers", EchoEngine()), FakeAnswerer("slow", SLOW))
    with running(create_app(library, settings=settings)) as address:
        yield address


def body_of(num_bytes: int) -> bytes:
    body = {"model": "papers", "messages": [{"role": "user", "content": ""}]}
    spare = num_bytes - len(json.dumps(body))
    body["messages"][0]["content"] = "x" * spare  # type: ignore[index]
    return json.dumps(body).encode()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/nothing", "/v1/models"])
def test_a_body_over_the_limit_is_413(address: str, path: str, chunked: bool) -> None:
    body = body_of(10_001)

    def pieces() -> Iterator[bytes]:
        yield body[:6000]
        yield body[6000:]

    reply = httpx.post(
        f"{address}{path}", content=pieces() if chunked else body, headers={"content-type": "application/json"}
    )
    if path != "/v1/chat/completions" and chunked:
        # Nobody reads it.
        assert reply.status_code in (404, 405, 413)
        return
    assert reply.status_code == 413
    error = reply.json()["error"]
    assert error["message"] == "the body has more than 0.01 MB ([serve] max_body_mb)"
    assert set(error) == {"message", "type", "param", "code"}


def test_a_body_at_the_limit_passes(address: str) -> None:
    assert len(body_of(10_000)) == 10_000
    headers = {"content-type": "application/json"}
    assert (
        httpx.post(f"{address}/v1/chat/completions", content=body_of(10_000), headers=headers).status_code == 200
    )


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/vector_stores", "/v1/vector_stores/papers/search", "/v1/files/x"]
)
def test_multipart_is_no_way_around_the_limit(address: str, path: str) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    reply = httpx.post(f"{address}{path}", content=body_of(10_001), headers=headers)
    assert reply.status_code == 413


def test_a_request_that_takes_too_long_is_504(address: str) -> None:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="slow", messages=QUESTION)
        assert (caught.value.status_code, caught.value.code) == (504, "request_timeout")
        wait_until(lambda: SLOW.running == 0)
        assert client.chat.completions.create(model="papers", messages=QUESTION).choices


def test_a_stream_that_takes_too_long_ends_in_an_error_event(address: str) -> None:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        received = []
        with (
            pytest.raises(openai.APIError, match="took more than 0.4 s"),
            client.chat.completions.create(model="slow", messages=QUESTION, stream=True) as stream,
        ):
            for chunk in stream:
                received.append(chunk)
        assert len(received) > 2
    wait_until(lambda: SLOW.running == 0)


def test_a_stream_that_nobody_reads_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragkit.serve.guards.time_limit._TAKE_S", 0.05)
    headers = [(b"content-type", b"text/event-stream")]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: x", "more_body": True})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    limited = TimeLimitMiddleware(app, 0.05, (), ServerEnd())
    scope: Any = {"type": "http", "method": "POST", "path": "/", "headers": []}
    with pytest.raises(ConnectionAbortedError, match="took more than 0.05 s"):
        asyncio.run(asyncio.wait_for(limited(scope, send, send), 20))


def test_browsers_are_told_what_not_to_do(address: str) -> None:
    for path in ("/health", "/v1/models", "/nothing"):
        headers = httpx.get(f"{address}{path}").headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"


def test_no_origin_is_let_in_by_default(address: str) -> None:
    reply = httpx.get(f"{address}/v1/models", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in reply.headers


def test_named_origins_are_let_in() -> None:
    settings = ServeConfig(cors_origins=("https://chat.example",))
    with running(create_app(FakeLibrary(FakeAnswerer("papers", EchoEngine())), settings=settings)) as address:
        asked = {"origin": "https://chat.example", "access-control-request-method": "POST"}
        reply = httpx.options(f"{address}/v1/chat/completions", headers=asked)
        assert reply.status_code == 200
        assert reply.headers["access-control-allow-origin"] == "https://chat.example"
        reply = httpx.get(f"{address}/v1/models", headers={"origin": "https://evil.example"})
        assert reply.headers.get("access-control-allow-origin") != "https://evil.example"
