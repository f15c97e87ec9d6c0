from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from PIL import Image

from ragkit.config import GenerationConfig
from ragkit.errors import ConfigError, ContextLengthError, EngineError, ImageInputError
from ragkit.records import ChatMessage, ChatReply, ChatRequest, ImageLimits, Sampling, Usage
from ragkit.serve.chat.image_url import image_of_url
from ragkit.serve.engines.openai_engine import OpenAIEngine
from tests.serve.house import running, wait_until

REQUEST = ChatRequest((ChatMessage("system", "Be brief."), ChatMessage("user", "Hi")), "Hi")
MESSAGE = {"role": "assistant", "content": "Hello."}
COMPLETION = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
DELTA = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chunk(text: str | None, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    return f"data: {json.dumps({**DELTA, 'choices': [choice]})}\n\n".encode()


@dataclass
class Upstream:
    """A server that answers with given bytes and remembers what it was asked."""

    body: bytes = b""
    status: int = 200
    content_type: bytes = b"application/json"
    wait_s: float = 0.0
    hold_open: bool = False
    bodies: list[Any] = field(default_factory=list)
    headers: dict[bytes, bytes] = field(default_factory=dict)
    left: bool = False

    async def __call__(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            return
        self.headers = dict(scope["headers"])
        received = b""
        while True:
            message = await receive()
            received += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.bodies.append(json.loads(received))
        await asyncio.sleep(self.wait_s)
        headers = [(b"content-type", self.content_type)]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": self.hold_open})
        if self.hold_open:
            self.left = (await receive())["type"] == "http.disconnect"


def stream_of(*chunks: bytes, **settings: Any) -> Upstream:
    return Upstream(b"".join(chunks), content_type=b"text/event-stream", **settings)


def chat(upstream: Upstream, request: ChatRequest = REQUEST, **settings: Any) -> ChatReply:
    with running(upstream) as address:
        return asyncio.run(OpenAIEngine(f"{address}/v1", "m", **settings).chat(request))


def stream(upstream: Upstream, **settings: Any) -> list[Any]:
    async def collect(address: str) -> list[Any]:
        engine = OpenAIEngine(f"{address}/v1", "m", **settings)
        return [delta async for delta in engine.stream(REQUEST)]

    with running(upstream) as address:
        return asyncio.run(collect(address))


def test_a_request_carries_messages_and_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    upstream = Upstream(json.dumps(COMPLETION).encode())
    sampling = Sampling(max_tokens=9, temperature=0.5, top_p=0.9, stop=("x",), seed=3)
    request = ChatRequest(REQUEST.messages, "Hi", sampling=sampling)
    assert chat(upstream, request, api_key_env="MY_KEY") == ChatReply("Hello.", "length", Usage(3, 2))
    assert upstream.bodies == [
        {
            "model": "m",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
            "max_tokens": 9,
            "temperature": 0.5,
            "top_p": 0.9,
            "stop": ["x"],
            "seed": 3,
        }
    ]
    assert upstream.headers[b"authorization"] == b"Bearer secret"


def test_what_is_not_set_is_not_sent_and_no_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    upstream = Upstream(json.dumps(COMPLETION).encode())
    chat(upstream, api_key_env="NO_KEY")
    assert set(upstream.bodies[0]) == {"model", "messages", "max_tokens", "temperature"}
    assert upstream.headers[b"authorization"] == b"Bearer none"


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://api.openai.com/v1", "sk-secret"),
        ("https://API.openai.com:443/v1", "sk-secret"),
        ("https://api.openai.com.example.org/v1", "none"),
        ("https://api.openai.com@example.org/v1", "none"),
        ("http://localhost:8000/v1", "none"),
    ],
)
def test_openais_key_goes_to_openai_alone(monkeypatch: pytest.MonkeyPatch, url: str, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert OpenAIEngine(url, "m")._client().api_key == key
    assert OpenAIEngine(url, "m", api_key_env=GenerationConfig().api_key_env)._client().api_key == key
    assert OpenAIEngine(url, "m", api_key_env="OPENAI_API_KEY")._client().api_key == "sk-secret"


def test_a_stream_is_passed_on_and_ends_with_usage() -> None:
    usage = f"data: {json.dumps({**DELTA, 'choices': [], 'usage': COMPLETION['usage']})}\n\n".encode()
    upstream = stream_of(chunk("He"), chunk("llo."), chunk(None, "stop"), usage, b"data: [DONE]\n\n")
    deltas = stream(upstream)
    assert [delta.text for delta in deltas] == ["He", "llo.", ""]
    assert (deltas[-1].finish_reason, deltas[-1].usage) == ("stop", Usage(3, 2))
    assert upstream.bodies[0]["stream_options"] == {"include_usage": True}


DETAILED = {
    "prompt_tokens": 9,
    "completion_tokens": 8,
    "prompt_tokens_details": {"cached_tokens": 5},
    "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": None},
}


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (DETAILED, Usage(9, 8, 5, 3)),
        ({**DETAILED, "prompt_tokens_details": None, "completion_tokens_details": {}}, Usage(9, 8)),
        ({**DETAILED, "prompt_tokens_details": "none"}, Usage(9, 8, 0, 3)),
    ],
)
def test_what_was_cached_and_what_was_thought_is_counted(told: dict[str, Any], usage: Usage) -> None:
    assert chat(Upstream(json.dumps({**COMPLETION, "usage": told}).encode())).usage == usage
    last = f"data: {json.dumps({**DELTA, 'choices': [], 'usage': told})}\n\n".encode()
    assert stream(stream_of(chunk("Hi", "stop"), last))[-1].usage == usage


def test_a_refusal_is_told_apart_from_text() -> None:
    message = {"role": "assistant", "content": None, "refusal": "I cannot."}
    completion = {**COMPLETION, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    reply = chat(Upstream(json.dumps(completion).encode()))
    assert (reply.text, reply.refusal) == ("", "I cannot.")
    choices = [{"index": 0, "delta": {"refusal": text}} for text in ("I ", "cannot.")]
    pieces = [f"data: {json.dumps({**DELTA, 'choices': [choice]})}\n\n".encode() for choice in choices]
    deltas = stream(stream_of(*pieces, chunk(None, "stop")))
    assert [(delta.text, delta.refusal) for delta in deltas] == [("", "I "), ("", "cannot."), ("", "")]


@pytest.mark.parametrize(
    "event", [b"retry: 3000\n\n", b"event: ping\n\n", b"event: ping\ndata\n\n", b"id: 7\n\n\n"]
)
def test_events_without_data_are_passed_over(event: bytes) -> None:
    pieces = (chunk("He"), chunk("llo."), chunk(None, "stop"), b"data: [DONE]\n\n")
    deltas = stream(stream_of(*(event + piece for piece in pieces)))
    assert [delta.text for delta in deltas] == ["He", "llo.", ""]


def test_streamed_calls_that_share_a_number_are_two() -> None:
    calls = [{"id": id_, "function": {"name": id_, "arguments": "{}"}} for id_ in ("f", "g")]
    choices = [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None} for call in calls]
    chunks = [f"data: {json.dumps({**DELTA, 'choices': [choice]})}\n\n".encode() for choice in choices]
    *deltas, _ = stream(stream_of(*chunks, chunk(None, "tool_calls"), b"data: [DONE]\n\n"))
    assert [(call.index, call.id) for delta in deltas for call in delta.tool_calls] == [(0, "f"), (1, "g")]


@pytest.mark.parametrize(
    ("upstream", "message"),
    [
        (Upstream(b'{"error": {"message": "no such model"}}', 404), r"http://.*/v1 answered 404: .*no such model"),
        (Upstream(b"out of order", 500), "answered 500: .*out of order"),
        (Upstream(b"<html>hello</html>", content_type=b"text/html"), "answered without a message: .*<html>"),
        (Upstream(b'{"choices": []}'), "answered without a message"),
        (Upstream(b"{not json"), "did not answer in the form of a chat API"),
        (Upstream(b'{"choices": [{"text": "x"}]}'), "answered without a message"),
        (Upstream(b'{"choices": 5, "usage": 3}'), "answered without a message"),
        (Upstream(b"[1, 2]"), "answered without a message"),
    ],
)
def test_a_bad_reply_is_an_engine_error(upstream: Upstream, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        chat(upstream)
    assert len(upstream.bodies) == 1


@pytest.mark.parametrize(
    ("upstream", "message"),
    [
        (stream_of(chunk("He")), "ended the stream before the answer was finished"),
        (stream_of(chunk("He"), b"data: {garbage\n\n"), "did not answer in the form of a chat API"),
        (stream_of(b'data: {"error": {"message": "out of memory"}}\n\n'), "out of memory"),
        (stream_of(chunk("He"), b"data: [1]\n\n"), "ended the stream"),
        (stream_of(b'data: {"choices": [{}], "usage": {}}\n\n'), "ended the stream"),
        (Upstream(b"busy", 503), "answered 503: .*busy"),
    ],
)
def test_a_bad_stream_is_an_engine_error(upstream: Upstream, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        stream(upstream)


def test_too_long_a_prompt_is_its_own_error() -> None:
    body = b'{"error": {"message": "too long", "code": "context_length_exceeded"}}'
    with pytest.raises(ContextLengthError, match="^the server of m answered 400: .*too long"):
        chat(Upstream(body, 400))


def test_a_slow_server_times_out() -> None:
    with pytest.raises(EngineError, match=r"did not answer within 0\.1 s"):
        chat(Upstream(b"{}", wait_s=1), timeout_s=0.1)
    with pytest.raises(EngineError, match=r"did not answer within 0\.1 s"):
        stream(stream_of(chunk("He"), hold_open=True), timeout_s=0.1)


def test_no_server_is_an_engine_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(EngineError, match=rf"cannot reach {url}: .*is the server running"):
        asyncio.run(OpenAIEngine(url, "m").chat(REQUEST))
    secret = url.replace("http://", "http://user:secret@") + "?key=secret"
    with pytest.raises(EngineError, match=rf"cannot reach {url}: ") as caught:
        asyncio.run(OpenAIEngine(secret, "m").chat(REQUEST))
    assert "secret" not in str(caught.value)


def test_closing_a_stream_closes_the_connection() -> None:
    upstream = stream_of(chunk("He"), hold_open=True)

    async def take_one(address: str) -> None:
        deltas = OpenAIEngine(f"{address}/v1", "m").stream(REQUEST)
        assert (await anext(deltas)).text == "He"
        assert not upstream.left
        await deltas.aclose()  # type: ignore[attr-defined]

    with running(upstream) as address:
        asyncio.run(take_one(address))
        wait_until(lambda: upstream.left)


def test_url_and_model_are_needed() -> None:
    with pytest.raises(ConfigError, match=r"generation\.url = 'localhost:8000'"):
        OpenAIEngine("localhost:8000", "m")
    with pytest.raises(ConfigError, match=r"generation\.url = 'ftp://host/v1'"):
        OpenAIEngine("ftp://user:secret@host/v1?key=secret", "m")
    with pytest.raises(ConfigError, match=r"generation\.model is empty"):
        OpenAIEngine("http://localhost:8000/v1", "")


RED = Image.new("RGB", (56, 28), (200, 0, 0))
SEEING = ChatRequest((ChatMessage("user", "What is it?", (RED,)),), "", logprobs=True)


def completion(**choice: Any) -> Upstream:
    return Upstream(json.dumps({**COMPLETION, "choices": [{**COMPLETION["choices"][0], **choice}]}).encode())  # type: ignore[index]


def test_images_are_content_parts_before_the_text() -> None:
    upstream = completion()
    chat(upstream, SEEING, image_limits=ImageLimits(1, 10_000))
    (message,) = upstream.bodies[0]["messages"]
    image, text = message["content"]
    assert text == {"type": "text", "text": "What is it?"}
    assert image["type"] == "image_url"
    assert image_of_url(image["image_url"]["url"]).tobytes() == RED.tobytes()
    assert upstream.bodies[0]["logprobs"] is True


class WithoutLogprobs(Upstream):
    """Refuses every request that asks for them."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_refusal(message: Any) -> None:
            refuses = message["type"] == "http.response.start" and "logprobs" in self.bodies[-1]
            await send(message | {"status": 400} if refuses else message)

        await super().__call__(scope, receive, send_refusal)


def test_a_server_that_refuses_logprobs_is_asked_again_without_once() -> None:
    upstream = WithoutLogprobs(json.dumps(COMPLETION).encode())
    with running(upstream) as address:
        engine = OpenAIEngine(f"{address}/v1", "m", image_limits=ImageLimits(1, 10_000))
        replies = [asyncio.run(engine.chat(SEEING)) for _ in range(2)]
    assert [(reply.text, reply.logprobs) for reply in replies] == [("Hello.", None)] * 2
    assert ["logprobs" in body for body in upstream.bodies] == [True, False, False]


class FewAlternatives(Upstream):
    """Refuses more than five alternatives a token, as a vLLM server of `--max-logprobs 5`."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_refusal(message: Any) -> None:
            refuses = message["type"] == "http.response.start" and self.bodies[-1].get("top_logprobs", 0) > 5
            await send(message | {"status": 400} if refuses else message)

        await super().__call__(scope, receive, send_refusal)


def test_alternatives_that_are_refused_do_not_take_log_probabilities_from_later_requests() -> None:
    upstream = FewAlternatives(json.dumps(COMPLETION).encode())
    with running(upstream) as address:
        engine = OpenAIEngine(f"{address}/v1", "m")
        asked = [Sampling(logprobs=True, top_logprobs=top) for top in (None, 6, None, 5)]
        for sampling in asked:
            asyncio.run(engine.chat(ChatRequest(REQUEST.messages, "", sampling=sampling)))
    assert [body.get("top_logprobs") for body in upstream.bodies] == [None, 6, None, None, 5]
    assert ["logprobs" in body for body in upstream.bodies] == [True, True, False, True, True]


def test_a_request_refused_for_something_else_is_an_error_and_logprobs_are_asked_for_again() -> None:
    upstream = Upstream(b'{"error": {"message": "no such model"}}', status=400)
    with running(upstream) as address:
        engine = OpenAIEngine(f"{address}/v1", "m", image_limits=ImageLimits(1, 10_000))
        for _ in range(2):
            with pytest.raises(EngineError, match="no such model"):
                asyncio.run(engine.chat(SEEING))
    assert ["logprobs" in body for body in upstream.bodies] == [True, False, True, False]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1}]}, (-0.5, -1.0)),
        ({"content": []}, ()),
        (None, None),
        ({"content": None}, None),
        ({"content": [{"token": "a"}]}, None),
        ({"content": [{"token": "a", "logprob": "x"}]}, None),
        ([1], None),
    ],
)
def test_logprobs_are_read_where_there_are_any(sent: Any, expected: tuple[float, ...] | None) -> None:
    reply = chat(completion(logprobs=sent), SEEING, image_limits=ImageLimits(1, 10_000))
    assert (reply.text, reply.logprobs) == ("Hello.", expected)
    assert chat(completion(logprobs=sent)).logprobs is None


def test_halves_of_characters_become_what_models_can_read() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '"\ud800"'}}
    said = {"role": "assistant", "content": "a\ud83d b", "reasoning_content": "\udfff", "tool_calls": [call]}
    reply = chat(completion(message=said))
    assert (reply.text, reply.reasoning) == ("a\ufffd b", "\ufffd")
    assert reply.tool_calls[0].arguments == '"\ufffd"'
    assert chat(completion(message={"role": "assistant", "content": "a\ud83d\ude00"})).text == "a😀"


def test_too_many_images_are_refused_before_anything_is_sent() -> None:
    upstream = completion()
    with pytest.raises(ImageInputError, match="an image and m reads text alone"):
        chat(upstream, SEEING)
    assert upstream.bodies == []


def test_images_count_as_tokens() -> None:
    engine = OpenAIEngine("http://localhost:1/v1", "m", image_limits=ImageLimits(1, 10_000))
    text = [ChatMessage("user", "What is it?")]
    assert engine.count_tokens(SEEING.messages) - engine.count_tokens(text) == 16 + 2
