"""Servers of models that fail in every way, as the engine and as the clients of ragkit's own server see it."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest

from ragkit.errors import EngineError, EngineTimeoutError, EngineUnavailableError, RequestRefusedError
from ragkit.records import ChatMessage, ChatRequest
from ragkit.serve.api.app import create_app
from ragkit.serve.engines.circuit_breaker import CircuitBreaker
from ragkit.serve.engines.openai_engine import OpenAIEngine
from ragkit.serve.engines.upstream_errors import shown_name, without_places
from tests.serve.house import FakeAnswerer, FakeLibrary, running, wait_until

REQUEST = ChatRequest((ChatMessage("user", "Hi"),), "Hi")
BODY = json.dumps(
    {
        "id": "1",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello [1]."}, "finish_reason": "stop"}
        ],
    }
).encode()
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
ERROR = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n%s"

Act = Callable[[socket.socket], None]


def chunk(text: str | None, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"id": "1", "choices": [choice]}).encode() + b"\n\n"


GOOD_STREAM = STREAM + chunk("Hello [1].") + chunk(None, "stop") + b"data: [DONE]\n\n"


def error(status: str, said: str = "no", headers: str = "") -> bytes:
    body = json.dumps({"error": {"message": said}}).encode()
    return ERROR % (status.encode(), len(body), headers.encode(), body)


class Wire:
    """A server of bytes: connection number i meets `acts[i]`, those beyond the last one too."""

    def __init__(self, *acts: bytes | Act) -> None:
        self._acts = acts
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/v1"
        self.asked = 0
        self.left = 0
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Wire:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # Wakes accept.
        socket.create_connection(self._listening.getsockname()[:2]).close()
        for thread in self._threads:
            thread.join()
        self._listening.close()

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            connection, _ = self._listening.accept()
            if not self._over.is_set():
                self._start(self._serve, connection)
            else:
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            head = b""
            while b"\r\n\r\n" not in head:
                if not (received := connection.recv(65536)):
                    return
                head += received
            if head.startswith(b"GET "):
                # Asked what models it has.
                connection.sendall(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                return
            act = self._acts[min(self.asked, len(self._acts) - 1)]
            self.asked += 1
            if callable(act):
                act(connection)
            else:
                connection.sendall(act)

    def hold(self, first: bytes = b"", every: bytes = b"") -> Act:
        """Sends `first`, then `every` so often, until the other side goes."""

        def act(connection: socket.socket) -> None:
            connection.sendall(first)
            connection.settimeout(0.05)
            while not self._over.is_set():
                try:
                    if not connection.recv(65536):
                        break
                except TimeoutError:
                    pass
                except OSError:
                    break
                try:
                    connection.sendall(every)
                except OSError:
                    break
            self.left += 1

        return act


def reset(first: bytes = b"") -> Act:
    """Sends `first` and breaks the connection off."""

    def act(connection: socket.socket) -> None:
        connection.sendall(first)
        if first:
            time.sleep(0.2)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return act


def engine_at(url: str, **settings: Any) -> OpenAIEngine:
    return OpenAIEngine(url, "m", context_tokens=8192, **{"timeout_s": 2, **settings})


def chat(url: str, **settings: Any) -> str:
    return asyncio.run(engine_at(url, **settings).chat(REQUEST)).text


def stream(url: str, **settings: Any) -> list[str]:
    texts: list[str] = []

    async def collect() -> None:
        async for delta in engine_at(url, **settings).stream(REQUEST):
            texts.append(delta.text)

    try:
        asyncio.run(collect())
    except EngineError as failure:
        failure.args = (*failure.args, texts)
        raise
    return texts


@pytest.mark.parametrize(
    "first", [reset(), error("503 Busy"), error("429 Slow down", headers="retry-after: 0\r\n"), b""]
)
def test_what_nobody_took_is_sent_again(first: bytes | Act) -> None:
    for good, ask, expected in ((WHOLE, chat, "Hello [1]."), (GOOD_STREAM, stream, ["Hello [1].", ""])):
        with Wire(first, first, good) as wire:
            assert ask(wire.url) == expected  # type: ignore[operator]
            assert wire.asked == 3


@pytest.mark.parametrize(
    "answer",
    [error("500 Broken"), error("502 Bad gateway"), error("404 No"), WHOLE[:-10], WHOLE[:-40], reset(WHOLE[:90])],
)
def test_what_may_have_been_taken_is_not_sent_again(answer: bytes | Act) -> None:
    with Wire(answer) as wire:
        with pytest.raises(EngineError):
            chat(wire.url)
        assert wire.asked == 1


@pytest.mark.parametrize("broken", [STREAM + chunk("Hel"), reset(STREAM + chunk("Hel"))])
def test_a_stream_that_breaks_is_not_begun_again(broken: bytes | Act) -> None:
    with Wire(broken) as wire:
        with pytest.raises(EngineError) as caught:
            stream(wire.url)
        assert caught.value.args[-1] == ["Hel"]
        assert wire.asked == 1


def test_proxies_are_not_for_servers_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with Wire(WHOLE) as wire:
        assert chat(wire.url) == "Hello [1]."
        assert asyncio.run(engine_at(wire.url).readiness()).is_ready


def test_retries_end_and_may_be_none() -> None:
    for retries, asked in ((0, 1), (1, 2), (3, 4)):
        with Wire(error("503 Busy", "busy")) as wire:
            with pytest.raises(EngineUnavailableError, match="answered 503: busy"):
                chat(wire.url, retries=retries)
            assert wire.asked == asked


def test_a_wait_that_is_too_long_is_passed_on() -> None:
    with Wire(error("429 Slow down", headers="retry-after: 30\r\n")) as wire:
        started = time.monotonic()
        with pytest.raises(EngineUnavailableError) as caught:
            chat(wire.url)
        assert time.monotonic() - started < 1.5
        assert (caught.value.retry_after_s, wire.asked) == (30, 1)


def test_one_waits_as_long_as_the_server_asks() -> None:
    with Wire(error("503 Busy", headers="retry-after-ms: 600\r\n"), WHOLE) as wire:
        started = time.monotonic()
        chat(wire.url)
        assert 0.6 <= time.monotonic() - started < 1.9


def test_a_silent_server_times_out_and_is_left() -> None:
    for ask in (chat, stream):
        with Wire(lambda connection: None) as wire:
            wire._acts = (wire.hold(),)
            started = time.monotonic()
            with pytest.raises(EngineTimeoutError, match=r"did not answer within 0\.4 s"):
                ask(wire.url, timeout_s=0.4)
            assert time.monotonic() - started < 1.5
            wait_until(lambda wire=wire: wire.left == 1)
            assert wire.asked == 1


@pytest.mark.parametrize("drip", [b": still here\n\n", b" "])
def test_bytes_that_say_nothing_do_not_put_off_the_timeout(drip: bytes) -> None:
    with Wire(b"") as wire:
        wire._acts = (wire.hold(STREAM + chunk("Hel"), drip),)
        started = time.monotonic()
        with pytest.raises(EngineTimeoutError) as caught:
            stream(wire.url, timeout_s=0.4)
        assert time.monotonic() - started < 1.5
        assert caught.value.args[-1] == ["Hel"]


def test_a_stream_that_has_ended_need_not_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragkit.serve.engines.openai_engine._LAST_WORDS_S", 0.3)
    with Wire(b"") as wire:
        wire._acts = (wire.hold(STREAM + chunk("Hello.") + chunk(None, "stop")),)
        assert stream(wire.url) == ["Hello.", ""]
        wire._acts = (reset(STREAM + chunk("Hello.") + chunk(None, "stop")),)
        assert stream(wire.url) == ["Hello.", ""]


def test_a_client_that_goes_leaves_no_generation_behind() -> None:
    """Cancelled before the first byte, and in the middle of a stream."""
    for first in (b"", STREAM + chunk("Hel")):
        with Wire(b"") as wire:
            wire._acts = (wire.hold(first, chunk("x") if first else b""),)

            async def ask(url: str = wire.url) -> None:
                async for _ in engine_at(url).stream(REQUEST):
                    pass

            async def cancel(ask: Any = ask, wire: Wire = wire) -> None:
                task = asyncio.ensure_future(ask())
                while not wire.asked:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)
                task.cancel()
                await asyncio.wait({task})
                assert task.cancelled()

            asyncio.run(cancel())
            wait_until(lambda wire=wire: wire.left == 1)


def test_the_breaker_is_told_how_calls_end() -> None:
    now = [0.0]
    breaker = CircuitBreaker(failures=2, open_s=10, clock=lambda: now[0])
    with Wire(
        error("500 Broken"),
        error("400 Bad", "top_k is odd"),
        error("500 Broken"),
        reset(STREAM + chunk("H")),
        WHOLE,
    ) as wire:
        settings = {"breaker": breaker}
        with pytest.raises(EngineError):
            chat(wire.url, **settings)
        with pytest.raises(RequestRefusedError, match="^the server of m answered 400: top_k is odd$"):
            chat(wire.url, **settings)
        with pytest.raises(EngineError):
            chat(wire.url, **settings)
        with pytest.raises(EngineError):
            stream(wire.url, **settings)
        assert (breaker.state, wire.asked) == ("open", 4)
        with pytest.raises(EngineUnavailableError):
            chat(wire.url, **settings)
        readiness = asyncio.run(engine_at(wire.url, **settings).readiness())
        assert not readiness.is_ready
        assert wire.asked <= 5
        now[0] = 10.5
        wire.asked = 4
        assert chat(wire.url, **settings) == "Hello [1]."
        assert breaker.state == "closed"


@contextmanager
def served(wire: Wire, **settings: Any) -> Iterator[openai.OpenAI]:
    engine = engine_at(wire.url, **settings)
    app = create_app(FakeLibrary(FakeAnswerer("papers", engine)), upstreams=[engine])
    with (
        running(app) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


QUESTION: Any = {"model": "papers", "messages": [{"role": "user", "content": "How deep is Lake Ohm?"}]}


@pytest.mark.parametrize(
    ("act", "status", "code"),
    [
        (error("500 Broken", "at /srv/models on http://10.0.0.7:8000"), 502, "engine_error"),
        (error("401 No", "no key"), 502, "engine_error"),
        (error("503 Busy", headers="retry-after: 31\r\n"), 503, "engine_unavailable"),
        (error("422 Bad", "max_tokens is 3 at /srv/models/m and http://10.0.0.7:8000/v1"), 400, "request_refused"),
        (b"garbage\r\n\r\n", 502, "engine_error"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n<htm>", 502, "engine_error"),
        (reset(), 502, "engine_error"),
        (reset(STREAM[:40]), 502, "engine_error"),
    ],
)
def test_clients_get_a_clean_error(act: bytes | Act, status: int, code: str) -> None:
    for streamed in (False, True):
        with Wire(act) as wire, served(wire, retries=0) as client:
            with pytest.raises(openai.APIStatusError) as caught:
                client.chat.completions.create(stream=streamed, **QUESTION)
            assert (caught.value.status_code, caught.value.code) == (status, code)
            assert not {"10.0.0.7", "/srv", "127.0.0.1"} & set(caught.value.message.split())
            for secret in ("10.0.0.7", "/srv", "127.0.0.1"):
                assert secret not in str(caught.value.body)
            if status == 503:
                assert caught.value.response.headers["retry-after"] == "31"


def test_a_break_in_the_middle_is_an_event_and_the_next_question_is_answered() -> None:
    with Wire(reset(STREAM + chunk("Hello [1]. ")), GOOD_STREAM) as wire, served(wire) as client:
        texts = []
        with pytest.raises(openai.APIError, match="the language model could not answer"):
            for piece in client.chat.completions.create(stream=True, **QUESTION):
                texts.append(piece.choices[0].delta.content or "")
        assert "Hello" in "".join(texts)
        assert (
            [c for c in client.chat.completions.create(stream=True, **QUESTION) if c.choices][-1]
            .choices[0]
            .finish_reason
        )


def test_a_server_that_is_away_comes_back_by_itself() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wire = Wire(GOOD_STREAM)
    away = f"http://127.0.0.1:{port}/v1"
    engine = engine_at(away, breaker=CircuitBreaker(2, 0.3), retries=0)
    with running(create_app(FakeLibrary(FakeAnswerer("papers", engine)), upstreams=[engine])) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        codes = []
        for _ in range(3):
            with pytest.raises(openai.APIStatusError) as caught:
                client.chat.completions.create(**QUESTION)
            codes.append((caught.value.status_code, caught.value.response.headers.get("retry-after")))
        assert codes == [(503, None), (503, None), (503, "1")]
        wire._listening.close()
        wire._listening = socket.create_server(("127.0.0.1", port))
        with wire:
            wire._acts = (WHOLE,)
            time.sleep(0.35)
            assert client.chat.completions.create(**QUESTION).choices[0].message.content
            assert engine.breaker.state == "closed"


def test_clients_that_go_leave_no_generation_behind() -> None:
    with Wire(b"") as wire:
        wire._acts = (wire.hold(STREAM + chunk("Hello [1]. "), chunk("more ")),)
        with served(wire) as client:
            pieces = client.chat.completions.create(stream=True, **QUESTION)
            next(iter(pieces))
            assert wire.left == 0
            pieces.close()
            wait_until(lambda: wire.left == 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see http://10.1.2.3:8000/v1/x for more", "see … for more"),
        ("at /srv/models/m.bin: no", "at …: no"),
        ("~/models/m is away", "… is away"),
        ("10.1.2.3:8000 refused", "… refused"),
        ("a/b and 1/2 and and/or", "a/b and 1/2 and and/or"),
        ("version 1.2.3", "version 1.2.3"),
    ],
)
def test_places_are_taken_out_of_what_servers_say(text: str, expected: str) -> None:
    assert without_places(text) == expected


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Qwen/Qwen3", "Qwen/Qwen3"),
        ("/srv/models/m/", "m"),
        ("./m", "m"),
        ("~/models/m", "m"),
        ("C:\\models\\m", "m"),
        ("gpt-4o:2024", "gpt-4o:2024"),
        ("hf://org/m", "m"),
    ],
)
def test_names_of_models_tell_no_places(model: str, name: str) -> None:
    assert shown_name(model) == name
