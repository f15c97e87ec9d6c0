"""Heads of requests, as bytes on the wire."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator

import pytest
import uvicorn

from ragkit.serve.api.app import create_app
from ragkit.serve.guards.head_limit import head_limited_protocol
from tests.serve.house import FakeLibrary, wait_until


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    app = create_app(FakeLibrary())
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", http=head_limited_protocol())
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def exchanged(port: int, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """What comes back until the connection is closed."""

    async def talk() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
            async with asyncio.timeout(10):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    return asyncio.run(talk())


def test_a_head_without_end_is_refused(port: int) -> None:
    # No more than it takes: what nobody reads would reset the connection.
    reply = exchanged(port, b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: ", *[b"a" * 8_192] * 9, pause_s=0.01)
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ")
    assert json.loads(body)["error"]["message"] == "the head of the request has more than 65536 bytes"


def test_many_small_headers_are_refused_too(port: int) -> None:
    many = b"".join(b"x%d: a\r\n" % i for i in range(1000))
    pieces = [many] * (65_536 // len(many) + 1)
    assert exchanged(port, b"GET /health HTTP/1.1\r\n", *pieces, pause_s=0.01).startswith(b"HTTP/1.1 431 ")


def refusal(reply: bytes) -> tuple[int, str]:
    """Status and message of the only reply there is, which must have the form of every other."""
    head, _, body = reply.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert headers["x-request-id"].startswith("req_")
    assert (headers["content-type"], headers["connection"]) == ("application/json", "close")
    assert headers["x-content-type-options"] == "nosniff"
    assert int(headers["content-length"]) == len(body)
    return int(first.split()[1]), json.loads(body)["error"]["message"]


TOO_LONG = (431, "the head of the request has more than 65536 bytes")
NO_HTTP = (400, "the request is no valid HTTP")


@pytest.mark.parametrize("size", [66_000, 140_000, 300_000, 3_000_000])
def test_whole_heads_beyond_the_limit_are_refused_without_a_reset(port: int, size: int) -> None:
    line = b"GET /health?" + b"a" * size + b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    header = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx: " + b"a" * size + b"\r\n\r\n"
    many = b"GET /health HTTP/1.1\r\nconnection: close\r\n" + b"x: aaaaaa\r\n" * (size // 9) + b"\r\n"
    for request in (line, header, many):
        assert refusal(exchanged(port, request)) == TOO_LONG
        half = len(request) // 2
        assert refusal(exchanged(port, request[:half], request[half:], pause_s=0.05)) == TOO_LONG


def test_what_is_no_http_is_refused_in_the_form_of_every_error(port: int) -> None:
    assert refusal(exchanged(port, b"\x16\x03\x01 hello\r\n\r\n")) == NO_HTTP
    assert refusal(exchanged(port, b"GET /health HTTP/1.1\r\nno colon\r\n\r\n")) == NO_HTTP
    assert refusal(exchanged(port, b"GET http://x:123456/ HTTP/1.1\r\nhost: localhost\r\n\r\n")) == NO_HTTP


POST = b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
POST += b"transfer-encoding: chunked\r\n\r\n"


def test_a_body_that_is_broken_is_refused_where_nothing_was_answered_yet(port: int) -> None:
    embeddings = POST % b"/v1/embeddings"
    assert refusal(exchanged(port, embeddings, b"zz\r\n", pause_s=0.05)) == NO_HTTP
    trailers = b"2\r\n{}\r\n0\r\n" + b"x: a\r\n" * 20_000
    assert refusal(exchanged(port, embeddings + trailers)) == TOO_LONG
    # An error behind an answer is none of the next request's.
    replies = exchanged(port, POST % b"/nowhere", b"zz\r\n", pause_s=0.2)
    assert replies.startswith(b"HTTP/1.1 404 ")
    assert replies.count(b"HTTP/1.1 ") == 1


def test_a_slow_head_is_not_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragkit.serve.guards.head_limit._HEAD_S", 0.2)
    assert exchanged(port, b"GET /health HT").startswith(b"HTTP/1.1 408 ")
    assert exchanged(port).startswith(b"HTTP/1.1 408 ")
    first = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
    replies = exchanged(port, first, b"GET /hea", pause_s=0.05)
    assert replies.startswith(b"HTTP/1.1 200 ")
    assert replies.count(b"HTTP/1.1 408 ") == 1


def test_large_heads_within_the_limit_and_long_bodies_pass(port: int) -> None:
    head = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx: " + b"a" * 50_000 + b"\r\n\r\n"
    assert exchanged(port, head[:30_000], head[30_000:], pause_s=0.01).startswith(b"HTTP/1.1 200 ")
    body = b'{"x": "' + b"a" * 500_000 + b'"}'
    post = b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: "
    post += b"%d\r\n\r\n" % len(body)
    replies = exchanged(port, post + body + head)
    assert replies.startswith(b"HTTP/1.1 400 ")
    assert replies.count(b"HTTP/1.1 200 ") == 1
