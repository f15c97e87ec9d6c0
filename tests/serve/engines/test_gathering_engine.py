"""Chats that come together become one batch, and a refused one fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from ragkit.errors import ContextLengthError
from ragkit.records import ChatMessage, ChatReply, ChatRequest, Usage
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.engines.gathering_engine import GatheringEngine
from ragkit.serve.sampling_effect import heeds


class Batches(EchoEngine):
    """Replies with the question; refuses a batch that holds "long", as vLLM does before it runs anything."""

    def __init__(self, broken: Exception | None = None) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self._broken = broken

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        self.sizes.append(len(requests))
        if self._broken is not None:
            raise self._broken
        if any(request.question == "long" for request in requests):
            raise ContextLengthError("too long")
        return [ChatReply(request.question, usage=Usage(1, 1)) for request in requests]


def request(question: str) -> ChatRequest:
    return ChatRequest((ChatMessage("user", question),), question)


def chats(engine: GatheringEngine, questions: Sequence[str]) -> list[ChatReply | BaseException]:
    async def all_of_them() -> list[ChatReply | BaseException]:
        asked = [engine.chat(request(question)) for question in questions]
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(all_of_them())


def texts(replies: Sequence[ChatReply | BaseException]) -> list[str]:
    return [reply.text if isinstance(reply, ChatReply) else str(reply) for reply in replies]


def test_chats_that_come_together_are_one_batch_in_their_order():
    engine = Batches()
    questions = [str(number) for number in range(9)]
    assert texts(chats(GatheringEngine(engine, quiet_s=0.01), questions)) == questions
    assert engine.sizes == [9]


def test_a_batch_has_a_greatest_size_and_a_later_loop_may_go_on():
    engine = Batches()
    gathering = GatheringEngine(engine, max_requests=4, quiet_s=0.01)
    questions = [str(number) for number in range(9)]
    assert texts(chats(gathering, questions)) == questions
    assert engine.sizes == [4, 4, 1]
    assert texts(chats(gathering, ["again"])) == ["again"]


def test_a_refused_request_fails_alone():
    engine = Batches()
    questions = ["0", "1", "2", "3", "4", "long", "6", "7"]
    replies = chats(GatheringEngine(engine, quiet_s=0.01), questions)
    assert texts(replies) == ["0", "1", "2", "3", "4", "too long", "6", "7"]
    assert isinstance(replies[5], ContextLengthError)
    # Halved three times: 8; 4; 4 (2 (1, 1), 2).
    assert engine.sizes == [8, 4, 4, 2, 1, 1, 2]


def test_what_breaks_the_engine_reaches_all_who_wait():
    replies = chats(GatheringEngine(Batches(RuntimeError("out of memory")), quiet_s=0.01), ["a", "b"])
    assert texts(replies) == ["out of memory"] * 2


def test_a_stream_is_the_reply_in_one_piece():
    async def pieces() -> list[str]:
        return [delta.text async for delta in GatheringEngine(Batches(), quiet_s=0.01).stream(request("hello"))]

    assert asyncio.run(pieces()) == ["hello", ""]


@pytest.mark.parametrize("field", ["max_tokens", "tools", "top_k"])
def test_it_heeds_what_its_engine_heeds(field):
    assert heeds(GatheringEngine(EchoEngine()), field) is heeds(EchoEngine(), field)
