from __future__ import annotations

import asyncio

from ragkit.records import ChatRequest, Sampling, Usage
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.prompting.prompts import NOT_FOUND_TEXT
from tests.serve.house import make_source


def reply_to(request: ChatRequest, **settings: int) -> tuple[str, str, Usage]:
    (reply,) = EchoEngine(**settings).chat_batch([request])
    return reply.text, reply.finish_reason, reply.usage


def test_it_says_the_first_words_of_each_source_with_its_mark() -> None:
    sources = (make_source(1, "One two [3] four."), make_source(2, "Five."))
    expected = "One two (3) [1]\nFive. [2]"
    assert reply_to(ChatRequest((), "?", sources), num_words=3) == (expected, "stop", Usage(0, 6))


def test_it_knows_nothing_without_sources() -> None:
    assert reply_to(ChatRequest((), "?"))[0] == NOT_FOUND_TEXT


def test_it_obeys_max_tokens_and_stop() -> None:
    sources = (make_source(1, "One two three."),)
    assert reply_to(ChatRequest((), "?", sources, Sampling(max_tokens=2)))[:2] == ("One two", "length")
    assert reply_to(ChatRequest((), "?", sources, Sampling(stop=("three",))))[:2] == ("One two", "stop")


def test_it_counts_streams_that_were_given_up() -> None:
    engine = EchoEngine(pause_s=60)

    async def give_up() -> None:
        task = asyncio.ensure_future(engine.chat(ChatRequest((), "?", (make_source(1, "One."),))))
        await asyncio.sleep(0.01)
        assert (engine.running, engine.cancelled) == (1, 0)
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(give_up())
    assert (engine.running, engine.cancelled) == (0, 1)
