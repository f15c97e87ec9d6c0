from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any
from urllib.request import Request, urlopen

import httpx
import openai
import pytest
from PIL import Image

from ragkit.errors import ConfigError, ContextLengthError, CorpusError, EngineError
from ragkit.pictures import image_url
from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest
from ragkit.serve.api.app import create_app
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.prompting.prompts import NOT_FOUND_TEXT
from tests.serve.house import BRIDGE, LAKE, FakeAnswerer, FakeLibrary, running, wait_until
from tests.serve.picture_house import SeeingEngine

ECHO = "Lake Ohm lies in the north. It is [1]\nThe Stone Bridge was opened in 1874. Clara [2]"
QUESTION: Any = [{"role": "user", "content": "How deep is Lake Ohm?"}]


class FailingEngine:
    """Raises `error`, in a stream after `num_pieces` pieces."""

    name = "failing"
    context_tokens = 8192
    image_limits = None

    def __init__(self, error: Exception, num_pieces: int = 0) -> None:
        self._error, self._num_pieces = error, num_pieces

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return 1

    async def chat(self, request: ChatRequest) -> ChatReply:
        raise self._error

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        for _ in range(self._num_pieces):
            yield ChatDelta("word ")
        raise self._error

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        raise NotImplementedError


SLOW = EchoEngine(pause_s=0.05)
SEEING = SeeingEngine(["It is 41 metres deep [1]."])
ANSWERERS = {
    "papers": FakeAnswerer("papers", EchoEngine()),
    "slow": FakeAnswerer("slow", SLOW),
    "seeing": FakeAnswerer("seeing", SEEING),
    "broken": FakeAnswerer("broken", FailingEngine(EngineError("http://secret answered 500"))),
    "damaged": FakeAnswerer("damaged", FailingEngine(CorpusError("/secret/path/catalogue.sqlite is damaged"))),
    "unset": FakeAnswerer("unset", FailingEngine(ConfigError("/secret/path is no folder"))),
    "breaks": FakeAnswerer("breaks", FailingEngine(EngineError("secret went away"), 2)),
    "buggy": FakeAnswerer("buggy", FailingEngine(ZeroDivisionError("secret"))),
    "buggy later": FakeAnswerer("buggy later", FailingEngine(ZeroDivisionError("secret"), 2)),
    "short": FakeAnswerer("short", FailingEngine(ContextLengthError("too long: 9 > 8"))),
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running(create_app(FakeLibrary(*ANSWERERS.values()))) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def post(address: str, body: bytes, path: str = "/v1/chat/completions") -> tuple[int, Any, Any]:
    request = Request(f"{address}{path}", body, {"content-type": "application/json"})
    try:
        with urlopen(request) as reply:
            return reply.status, json.load(reply), reply.headers
    except OSError as error:
        with error:  # type: ignore[attr-defined]
            return error.code, json.load(error), error.headers  # type: ignore[attr-defined]


def test_a_plain_answer_through_the_openai_client(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="papers", messages=QUESTION)
    message = reply.choices[0].message
    assert (message.role, message.content, reply.choices[0].finish_reason) == ("assistant", ECHO, "stop")
    assert (reply.object, reply.model) == ("chat.completion", "papers")
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0
    assert message.annotations is not None
    places = [item.url_citation for item in message.annotations]
    pages = f"{client.base_url!s}ragkit/pages/papers"
    assert [(p.title, p.url.partition("&")[0]) for p in places] == [
        ("lake.txt, page 1", f"{pages}/1?document=lake.txt"),
        ("bridge.txt, page 3", f"{pages}/3?document=bridge.txt"),
    ]
    # "It is" is a beginning of a sentence of its own; the mark stands behind it.
    assert ECHO[places[0].start_index : places[0].end_index] == "It is [1]"


def test_the_record_is_in_the_namespaced_field(client: openai.OpenAI) -> None:
    reply: Any = client.chat.completions.create(model="papers", messages=QUESTION)
    record = reply.ragkit
    assert (record["answer"], record["found"], record["engine"]) == (ECHO, True, "echo")
    assert [(hit["document"], hit["page"], hit["score"]) for hit in record["hits"]] == [
        ("lake.txt", 1, 0.75),
        ("bridge.txt", 3, 0.5),
    ]
    citation = record["citations"][1]
    assert BRIDGE[citation["page_start"] : citation["page_end"]] == citation["quote"]
    assert set(citation["boxes"][0]) == {"left", "top", "right", "bottom"}
    assert record["timings_ms"]["retrieve"] == 2.5


@pytest.mark.parametrize("with_usage", [False, True])
def test_a_streamed_answer_through_the_openai_client(client: openai.OpenAI, with_usage: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if with_usage else {}
    with client.chat.completions.create(model="papers", messages=QUESTION, stream=True, **options) as stream:
        chunks: list[Any] = list(stream)
    if with_usage:
        usage = chunks.pop()
        assert usage.choices == []
        assert usage.usage.total_tokens == usage.usage.prompt_tokens + usage.usage.completion_tokens > 0
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ECHO
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)
    assert [item["url_citation"]["title"] for item in chunks[-1].choices[0].delta.annotations] == [
        "lake.txt, page 1",
        "bridge.txt, page 3",
    ]
    assert chunks[-1].ragkit["answer"] == ECHO


def test_a_stream_on_the_wire_ends_with_done(address: str) -> None:
    body = json.dumps({"model": "papers", "messages": QUESTION, "stream": True}).encode()
    request = Request(f"{address}/v1/chat/completions", body, {"content-type": "application/json"})
    with urlopen(request) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        events = reply.read().decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: {") for event in events[:-2])


def test_the_earlier_turns_reach_the_answerer(client: openai.OpenAI) -> None:
    earlier: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    client.chat.completions.create(model="papers", messages=earlier + QUESTION, temperature=0.5, seed=4)
    asked = ANSWERERS["papers"].asked[-1]
    assert [message.content for message in asked.history] == ["Be brief.", "Hello"]
    assert (asked.sampling.temperature, asked.sampling.seed) == (0.5, 4)


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == list(ANSWERERS)
    model = client.models.retrieve("buggy later")
    assert (model.id, model.object, model.owned_by) == ("buggy later", "model", "ragkit")


def test_health(address: str) -> None:
    with urlopen(f"{address}/health") as reply:
        assert json.load(reply) == {"status": "ok"}
        assert reply.headers["x-request-id"].startswith("req_")


def test_an_unknown_model_is_404_and_lists_the_known(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="'nope' does not exist; models here: papers, slow") as caught:
        client.chat.completions.create(model="nope", messages=QUESTION)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert caught.value.request_id is not None
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nope")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "status", "message", "code"),
    [
        ("broken", 502, "the language model could not answer; .* under request req_", "engine_error"),
        ("damaged", 503, "the corpus cannot be read; .* under request req_", "corpus_error"),
        ("unset", 500, "could not be answered; .* under request req_", None),
        ("short", 400, "too long: 9 > 8", "context_length_exceeded"),
        ("buggy", 500, "internal error; .* under request req_", None),
    ],
)
def test_errors_before_the_first_piece_are_a_status(
    client: openai.OpenAI,
    caplog: pytest.LogCaptureFixture,
    stream: bool,
    model: str,
    status: int,
    message: str,
    code: str | None,
) -> None:
    with pytest.raises(openai.APIStatusError, match=message) as caught:
        client.chat.completions.create(model=model, messages=QUESTION, stream=stream)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert "secret" not in str(caught.value)
    assert caught.value.request_id is not None
    if model != "short":
        assert caught.value.request_id in str(caught.value)
        logged = [record for record in caplog.records if record.name == "ragkit.serve"]
        assert [caught.value.request_id in record.getMessage() for record in logged] == [True]
        assert "secret" in caplog.text


@pytest.mark.parametrize(
    ("model", "message"),
    [("breaks", "the language model could not answer; .*req_"), ("buggy later", "internal error; .*req_")],
)
def test_errors_within_a_stream_are_an_event(
    client: openai.OpenAI, caplog: pytest.LogCaptureFixture, model: str, message: str
) -> None:
    received = []
    with (
        pytest.raises(openai.APIError, match=message) as caught,
        client.chat.completions.create(model=model, messages=QUESTION, stream=True) as stream,
    ):
        for chunk in stream:
            received.append(chunk.choices[0].delta.content)
    assert "".join(received).strip() == "word word"
    assert "secret" not in str(caught.value)
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        (b"{", "the body is not valid JSON", None),
        (b"[]", "body", None),
        (b'{"messages": []}', "model: Field required", "model"),
        (
            json.dumps({"model": "papers", "messages": QUESTION, "temperature": "hot"}).encode(),
            "'hot'",
            "temperature",
        ),
        (json.dumps({"model": "papers", "messages": QUESTION, "n": 99}).encode(), "n = 99", "n"),
        (
            b'{"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "image_url": "x"}]}]}',
            "messages.0.content.0.image_url = 'x': Input should be a valid dictionary",
            "messages.0.content.0.image_url",
        ),
        (
            b'{"model": "m", "messages": [{"role": "user", "content": [{"text": "x"}]}]}',
            "messages.0.content.0.type: Field required",
            "messages.0.content.0.type",
        ),
        (
            b'{"model": "m", "messages": [{"role": "user", "content": 5}]}',
            "messages.0.content = 5: Input should be a valid string or a valid list",
            "messages.0.content",
        ),
        (
            rb'{"model": "papers", "messages": [{"role": "user", "content": "\ud800"}]}',
            r"messages[0].content holds the lone surrogate '\ud800'",
            "messages[0].content",
        ),
        (
            rb'{"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "a\udfff"}]}]}',
            r"messages[0].content holds the lone surrogate '\udfff'",
            "messages[0].content",
        ),
        (
            rb'{"model": "\ud800", "messages": [{"role": "user", "content": "Why?"}]}',
            "model holds the lone surrogate",
            "model",
        ),
        (
            rb'{"model": "papers", "stop": "\ud800", "messages": [{"role": "user", "content": "Why?"}]}',
            "stop holds the lone surrogate",
            "stop",
        ),
        (
            rb'{"model": "papers", "\ud800": 1, "messages": [{"role": "user", "content": "Why?"}]}',
            "'\\ud800'",
            None,
        ),
    ],
)
def test_bad_requests_are_400_and_name_the_field(
    address: str, body: bytes, message: str, param: str | None
) -> None:
    status, reply, headers = post(address, body)
    assert status == 400
    assert message in reply["error"]["message"]
    assert reply["error"]["type"] == "invalid_request_error"
    assert reply["error"]["param"] == param
    assert headers["x-request-id"].startswith("req_")


def test_images_for_an_engine_that_reads_none_are_400(client: openai.OpenAI) -> None:
    url = image_url(Image.new("RGB", (4, 2)))
    content: Any = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}]
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="echo reads text alone") as caught:
            client.chat.completions.create(
                model="papers", messages=[{"role": "user", "content": content}], stream=stream
            )
        assert (caught.value.code, caught.value.param) == ("image_not_supported", "messages")


def test_images_reach_an_engine_that_reads_them(client: openai.OpenAI) -> None:
    image = Image.new("RGB", (4, 2), (200, 0, 0))
    content: Any = [
        {"type": "text", "text": "How deep?"},
        {"type": "image_url", "image_url": {"url": image_url(image)}},
    ]
    reply = client.chat.completions.create(model="seeing", messages=[{"role": "user", "content": content}])
    assert reply.choices[0].message.content == "It is 41 metres deep [1]."
    assert [seen.tobytes() for seen in SEEING.last.images] == [image.tobytes()]
    assert SEEING.last.content.endswith("Question: How deep?")


def test_unknown_paths_have_openais_shape(address: str) -> None:
    told = {
        "/v1/nothing": "nothing is served at POST /v1/nothing; /openapi.json lists what is",
        "/v1/completions": "nothing is served at POST /v1/completions; did you mean /v1/chat/completions?",
        "/chat/completions": "nothing is served at POST /chat/completions; did you mean /v1/chat/completions? "
        "The base_url of clients ends in /v1",
    }
    for path, message in told.items():
        status, reply, _ = post(address, b"{}", path)
        assert (status, reply["error"]["message"]) == (404, message)
    status, reply, _ = post(address, b"{}", "/health")
    assert (status, reply["error"]["message"]) == (405, "nothing is served at POST /health; it takes GET")


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (
            b'{"model": "papers"}',
            "text/plain",
            "the body has content-type 'text/plain' and was not read; send JSON",
        ),
        (
            b'{"model": "papers"}',
            None,
            "the body has no content-type and was not read; send JSON with content-type: ",
        ),
        (b'"secret"', "application/json", "the body is JSON, but no object of fields"),
    ],
)
def test_a_body_that_is_no_object_is_not_repeated(
    address: str, body: bytes, kind: str | None, message: str
) -> None:
    headers = {} if kind is None else {"content-type": kind}
    reply = httpx.post(f"{address}/v1/chat/completions", content=body, headers=headers)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith(message)
    assert not {"papers", "secret"} & set(reply.text.split('"'))


def test_an_unknown_field_below_ragkit_is_told_the_nearest(address: str) -> None:
    body = {"model": "papers", "messages": QUESTION, "ragkit": {"num_passage": 3}}
    error = httpx.post(f"{address}/v1/chat/completions", json=body).json()["error"]
    assert error["message"] == "unknown field 'ragkit.num_passage'; did you mean 'num_passages'?"
    assert (error["param"], error["code"]) == ("ragkit.num_passage", "unknown_parameter")


def test_a_client_that_leaves_a_stream_stops_the_engine(client: openai.OpenAI) -> None:
    cancelled = SLOW.cancelled
    with client.chat.completions.create(model="slow", messages=QUESTION, stream=True) as stream:
        next(iter(stream))
        assert SLOW.running == 1
    wait_until(lambda: SLOW.cancelled == cancelled + 1)
    assert SLOW.running == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_before_the_answer_stops_the_engine(address: str, stream: bool) -> None:
    cancelled = SLOW.cancelled
    body = json.dumps({"model": "slow", "messages": QUESTION, "stream": stream}).encode()
    host, port = address.removeprefix("http://").split(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: SLOW.running == 1)
    wait_until(lambda: SLOW.cancelled == cancelled + 1)


def test_streams_of_many_clients_run_side_by_side(address: str) -> None:
    import asyncio
    import time

    async def one(client: openai.AsyncOpenAI) -> str:
        stream = await client.chat.completions.create(model="slow", messages=QUESTION, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def many() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none") as client:
            return list(await asyncio.gather(*(one(client) for _ in range(8))))

    begin = time.monotonic()
    assert asyncio.run(many()) == [ECHO] * 8
    # One takes 18 words of 50 ms; eight one after the other would take 7 seconds.
    assert time.monotonic() - begin < 4


def test_the_first_words_are_those_of_the_pages() -> None:
    assert ECHO.startswith(" ".join(LAKE.split()[:8]))
    assert NOT_FOUND_TEXT not in ECHO
