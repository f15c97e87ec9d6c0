"""Answers from page pictures through a real HTTP server with a vision-language model of random weights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ragkit.config import GenerationConfig
from ragkit.devices import Placement
from ragkit.records import (
    Answer,
    AnswerEvent,
    AskRequest,
    ChatMessage,
    ChatReply,
    ChatRequest,
    ImageLimits,
    Sampling,
)
from ragkit.serve.chat.image_url import image_of_url
from ragkit.serve.engines.openai_engine import OpenAIEngine
from ragkit.serve.engines.transformers_engine import TransformersEngine
from ragkit.serve.prompting.page_concatenation import concatenate_horizontally
from ragkit.serve.prompting.weighted_selection import mean_logprob, select_answer
from tests.serve.house import generate_answer, running, stream_answer
from tests.serve.picture_house import picture_store, three_pictures
from tests.serve.tiny_vlm import make_tiny_vlm

ASK = AskRequest("How deep is Lake Ohm?", sampling=Sampling(max_tokens=12))
LIMITS = ImageLimits(4, 3000)
# The pictures of the house, of 40 x 60, 80 x 60 and 40 x 30 pixels, with at most 3,000 pixels each.
SIZES = [(40, 60), (63, 47), (40, 30)]


@dataclass
class VlmServer:
    """Speaks OpenAI's chat API for a model in process, and remembers what arrived."""

    engine: TransformersEngine
    bodies: list[Any] = field(default_factory=list)
    replies: list[ChatReply] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        received = b""
        while True:
            message = await receive()
            received += message.get("body", b"")
            if not message.get("more_body"):
                break
        body = json.loads(received)
        self.bodies.append(body)
        messages = tuple(ChatMessage(m["role"], texts(m), tuple(images(m))) for m in body["messages"])
        sampling = Sampling(body["max_tokens"], body["temperature"])
        request = ChatRequest(messages, "", sampling=sampling, logprobs=body.get("logprobs", False))
        reply = await self.engine.chat(request)
        self.replies.append(reply)
        kind, sent = (
            (b"text/event-stream", events(reply)) if body.get("stream") else (b"application/json", whole(reply))
        )
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": sent})


def texts(message: Any) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def images(message: Any) -> list[Image.Image]:
    parts = message["content"] if isinstance(message["content"], list) else []
    return [image_of_url(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]


def whole(reply: ChatReply) -> bytes:
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": reply.text},
        "finish_reason": reply.finish_reason,
    }
    if reply.logprobs is not None:
        listed = [{"token": "x", "logprob": value, "top_logprobs": []} for value in reply.logprobs]
        choice["logprobs"] = {"content": listed}
    used = {"prompt_tokens": reply.usage.prompt_tokens, "completion_tokens": reply.usage.completion_tokens}
    return json.dumps({"choices": [choice], "usage": used}).encode()


def events(reply: ChatReply) -> bytes:
    choice = {"index": 0, "delta": {"content": reply.text}, "finish_reason": reply.finish_reason}
    return f"data: {json.dumps({'choices': [choice]})}\n\ndata: [DONE]\n\n".encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> VlmServer:
    folder = make_tiny_vlm(tmp_path_factory.mktemp("models") / "tiny-vlm")
    return VlmServer(TransformersEngine(folder, Placement("cpu", "float32")))


@pytest.fixture(scope="module")
def engine(server: VlmServer) -> Iterator[OpenAIEngine]:
    with running(server) as address:
        yield OpenAIEngine(f"{address}/v1", "tiny-vlm", image_limits=LIMITS)


@pytest.fixture(autouse=True)
def _nothing_asked_yet(server: VlmServer) -> None:
    server.bodies.clear()
    server.replies.clear()


def ask(engine: OpenAIEngine, **settings: Any) -> Answer:
    config = GenerationConfig(**settings)
    return asyncio.run(generate_answer(ASK, three_pictures(), engine, picture_store(), None, None, config))


def kinds(body: Any) -> list[str]:
    return [part["type"] for part in body["messages"][-1]["content"]]


def test_several_pictures_arrive_in_order_before_the_text(server: VlmServer, engine: OpenAIEngine) -> None:
    answer = ask(engine)
    (body,) = server.bodies
    assert kinds(body) == ["image_url"] * 3 + ["text"]
    arrived = images(body["messages"][-1])
    assert [image.size for image in arrived] == SIZES
    assert [image.getpixel((0, 0)) for image in arrived] == [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    assert texts(body["messages"][-1]) == (
        "[1] a.pdf, page 1 (picture 1)\n\n[2] b.pdf, page 4 (picture 2)\n\n[3] a.pdf, page 2 (picture 3)\n\n"
        "Question: How deep is Lake Ohm?"
    )
    assert isinstance(body["messages"][0]["content"], str)
    assert "logprobs" not in body
    (reply,) = server.replies
    assert answer.text == reply.text.strip() != ""
    assert (answer.usage, answer.engine, answer.found) == (reply.usage, "tiny-vlm", True)
    # Three pictures of four tokens between three markers each are in the prompt that the model read.
    assert reply.usage.prompt_tokens > 3 * 7


def test_joined_pages_arrive_as_one_picture(server: VlmServer, engine: OpenAIEngine) -> None:
    answer = ask(engine, show="concatenation")
    (body,) = server.bodies
    assert kinds(body) == ["image_url", "text"]
    (arrived,) = images(body["messages"][-1])
    # 40, 77 and 77 pixels wide once all are 60 tall, 194 x 60 = 11,640 pixels: scaled to at most 3,000.
    pages = [hit.passage.image.load() for hit in three_pictures()]  # type: ignore[union-attr]
    joined = concatenate_horizontally([page if page.size != (80, 60) else page.resize((63, 47)) for page in pages])
    scale = (3000 / (joined.width * joined.height)) ** 0.5
    assert arrived.size == (int(joined.width * scale), int(joined.height * scale))
    strip = np.asarray(arrived)[arrived.height // 2]
    assert [tuple(strip[x]) for x in (2, arrived.width // 2, arrived.width - 3)] == [
        (200, 0, 0),
        (0, 200, 0),
        (0, 0, 200),
    ]
    assert "page 2 from the left in picture 1" in texts(body["messages"][-1])
    assert answer.text == server.replies[0].text.strip() != ""


def test_pages_are_weighed_by_what_the_server_says_of_its_tokens(server: VlmServer, engine: OpenAIEngine) -> None:
    answer = ask(engine, show="weighted-selection")
    assert [body["logprobs"] for body in server.bodies] == [True] * 3
    assert [kinds(body) for body in server.bodies] == [["image_url", "text"]] * 3
    # Requests run side by side: the pictures tell which is whose.
    order = [SIZES.index(images(body["messages"][-1])[0].size) for body in server.bodies]
    assert sorted(order) == [0, 1, 2]
    by_page = dict(zip(order, server.replies, strict=True))
    means = [mean_logprob(by_page[i].logprobs or ()) for i in range(3)]
    assert all(-100 < mean < 0 for mean in means)
    chosen = select_answer([0.75, 0.5, 0.25], means).index
    assert answer.text == f"{by_page[chosen].text.strip()} [1]"
    hit = three_pictures()[chosen].passage
    assert [(c.document, c.page) for c in answer.citations] == [(hit.document, hit.page)]


def test_a_streamed_answer(server: VlmServer, engine: OpenAIEngine) -> None:
    async def collect() -> list[AnswerEvent]:
        events = stream_answer(ASK, three_pictures(), engine, picture_store())
        return [event async for event in events]

    *pieces, last = asyncio.run(collect())
    assert kinds(server.bodies[0]) == ["image_url"] * 3 + ["text"]
    assert last.answer is not None
    assert "".join(piece.delta for piece in pieces) == last.answer.text == server.replies[0].text.strip()


def test_what_came_over_http_is_what_the_model_says_in_process(server: VlmServer, engine: OpenAIEngine) -> None:
    answer = ask(engine)
    in_process = server.engine
    limits, in_process.image_limits = in_process.image_limits, LIMITS
    try:
        same = asyncio.run(generate_answer(ASK, three_pictures(), in_process, picture_store()))
    finally:
        in_process.image_limits = limits
    assert (same.text, same.usage, same.notes) == (answer.text, answer.usage, answer.notes)
