"""What every `Engine` must do, run over all of them; the remote one against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from ragkit.devices import Placement
from ragkit.errors import ImageInputError
from ragkit.protocols import Engine
from ragkit.records import ChatDelta, ChatReply, ChatRequest, Sampling
from ragkit.serve.api.app import create_app
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.engines.extractive_engine import ExtractiveEngine
from ragkit.serve.engines.openai_engine import OpenAIEngine
from ragkit.serve.engines.transformers_engine import TransformersEngine
from ragkit.serve.prompting.packing import build_request
from tests.fakes import HashEmbedder
from tests.serve.house import FakeAnswerer, FakeLibrary, running, two_hits
from tests.serve.tiny_llm import make_tiny_llama
from tests.serve.tiny_vlm import make_tiny_vlm

ENGINES = ("echo", "extractive", "extractive with embedder", "transformers", "transformers with images", "openai")
IMAGE = Image.new("RGB", (40, 60), (200, 0, 0))


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Engine]]:
    folder = make_tiny_llama(tmp_path_factory.mktemp("tiny"), max_position_embeddings=4096)
    seeing = make_tiny_vlm(tmp_path_factory.mktemp("tiny-vlm"))
    with running(create_app(FakeLibrary(FakeAnswerer("papers", EchoEngine())))) as address:
        yield {
            "echo": EchoEngine(),
            "extractive": ExtractiveEngine(),
            "extractive with embedder": ExtractiveEngine(HashEmbedder()),
            "transformers": TransformersEngine(folder, Placement("cpu", "float32")),
            "transformers with images": TransformersEngine(seeing, Placement("cpu", "float32")),
            "openai": OpenAIEngine(f"{address}/v1", "papers"),
        }


@pytest.fixture(params=ENGINES)
def engine(request: Any, engines: dict[str, Engine]) -> Engine:
    return engines[request.param]


def make_request(engine: Engine, **sampling: Any) -> ChatRequest:
    settings = Sampling(**{"max_tokens": 24, "seed": 7, **sampling})
    return build_request("How deep is Lake Ohm?", two_hits(), engine, (), settings).request


async def collect(engine: Engine, request: ChatRequest) -> list[ChatDelta]:
    return [delta async for delta in engine.stream(request)]


def test_stream_chat_and_batch_agree(engine: Engine) -> None:
    request = make_request(engine)
    deltas = asyncio.run(collect(engine, request))
    reply = asyncio.run(engine.chat(request))
    assert "".join(delta.text for delta in deltas) == reply.text != ""
    assert engine.chat_batch([request, request]) == [reply, reply]
    assert (deltas[-1].finish_reason, deltas[-1].usage) == (reply.finish_reason, reply.usage)
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)


def test_batch_keeps_the_order(engine: Engine) -> None:
    one, other = make_request(engine), replace(make_request(engine), sources=(), question="?", messages=())
    other = replace(other, messages=make_request(engine).messages[-1:])
    assert engine.chat_batch([one, other]) == [asyncio.run(engine.chat(r)) for r in (one, other)]
    assert engine.chat_batch([]) == []


def test_counts_grow_with_the_messages(engine: Engine) -> None:
    messages = make_request(engine).messages
    counts = [engine.count_tokens(messages[:n]) for n in range(1, len(messages) + 1)]
    assert 0 < counts[0] < counts[-1] <= engine.context_tokens


def test_usage_is_counted(engine: Engine) -> None:
    reply = asyncio.run(engine.chat(make_request(engine)))
    assert reply.usage.prompt_tokens > 0
    assert reply.usage.completion_tokens > 0
    assert reply.finish_reason in ("stop", "length")


def test_a_closed_stream_can_be_followed_by_another(engine: Engine) -> None:
    async def take_one() -> tuple[ChatDelta, ChatReply]:
        stream = engine.stream(make_request(engine))
        first = await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        return first, await engine.chat(make_request(engine))

    first, reply = asyncio.run(take_one())
    assert reply.text.startswith(first.text)


def test_a_cancelled_chat_ends(engine: Engine) -> None:
    async def cancel() -> None:
        task = asyncio.ensure_future(engine.chat(make_request(engine, max_tokens=256)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)

    asyncio.run(cancel())


def with_image(request: ChatRequest) -> ChatRequest:
    *before, last = request.messages
    return replace(request, messages=(*before, replace(last, images=(IMAGE,))))


def test_images_are_read_or_refused(engine: Engine) -> None:
    plain, shown = make_request(engine), with_image(make_request(engine))
    if engine.image_limits is None:
        for ask in (engine.chat(shown), collect(engine, shown)):
            with pytest.raises(ImageInputError, match="has an image and .* reads text alone"):
                asyncio.run(ask)
        with pytest.raises(ImageInputError):
            engine.chat_batch([shown])
    else:
        assert engine.image_limits.max_images > 0
        assert engine.count_tokens(shown.messages) > engine.count_tokens(plain.messages)
        assert asyncio.run(engine.chat(shown)).usage.prompt_tokens > 0


def test_logprobs_are_given_only_when_asked_for(engine: Engine) -> None:
    assert asyncio.run(engine.chat(make_request(engine))).logprobs is None
