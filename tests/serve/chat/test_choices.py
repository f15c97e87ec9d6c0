from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ragkit.errors import EngineError
from ragkit.records import Answer, AnswerEvent, AskRequest, Found, Sampling
from ragkit.serve.chat.choices import ask_choices, stream_choices
from ragkit.serve.engines.echo_engine import EchoEngine
from tests.serve.house import two_hits


class CountingAnswerer:
    """Each stream gives its seed as text, piece by piece, and counts those that were not closed."""

    name = "counting"
    engine = EchoEngine()

    def __init__(self, fails: int = -1) -> None:
        self.asked: list[AskRequest] = []
        self.open = 0
        self.fails = fails

    async def ask(self, request: AskRequest) -> Answer:
        self.asked.append(request)
        return Answer("?", "whole", "e", True, (), ())

    async def stream(self, request: AskRequest) -> AsyncIterator[AnswerEvent]:
        number = len(self.asked)
        self.asked.append(request)
        self.open += 1
        try:
            yield AnswerEvent(hits=tuple(two_hits()))
            for _ in range(3):
                await asyncio.sleep(0.001)
                yield AnswerEvent("x")
                if number == self.fails:
                    raise EngineError("away")
            yield AnswerEvent(answer=Answer("?", f"answer {request.sampling.seed}", "e", True, (), ()))
        finally:
            self.open -= 1


def ask(seed: int | None = 5) -> AskRequest:
    return AskRequest("?", sampling=Sampling(seed=seed))


def test_one_answer_is_asked_for_whole() -> None:
    (answer,) = asyncio.run(ask_choices(CountingAnswerer(), ask(), 1))
    assert answer.text == "whole"


def test_several_answers_in_order_from_the_hits_of_the_first() -> None:
    answerer = CountingAnswerer()
    answers = asyncio.run(ask_choices(answerer, ask(), 3))
    assert [answer.text for answer in answers] == ["answer 5", "answer 6", "answer 7"]
    assert [request.found for request in answerer.asked] == [None, *[Found(tuple(two_hits()))] * 2]
    assert answerer.open == 0


def test_the_largest_seed_counts_down() -> None:
    answers = asyncio.run(ask_choices(CountingAnswerer(), ask(2**63 - 1), 2))
    assert answers[1].text == f"answer {2**63 - 2}"


def test_hits_come_once() -> None:
    async def collect() -> list[tuple[int, AnswerEvent]]:
        return [event async for event in stream_choices(CountingAnswerer(), ask(None), 3)]

    events = asyncio.run(collect())
    assert [index for index, event in events if event.hits is not None] == [0]
    assert sorted(index for index, event in events if event.answer) == [0, 1, 2]


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("taken", [1, 3])
def test_a_reader_that_stops_early_closes_every_stream(number: int, taken: int) -> None:
    answerer = CountingAnswerer()

    async def stop() -> None:
        events = stream_choices(answerer, ask(), number)
        for _ in range(taken):
            await anext(events)
        await events.aclose()  # type: ignore[attr-defined]
        assert answerer.open == 0

    asyncio.run(stop())


def test_an_error_of_one_ends_all() -> None:
    answerer = CountingAnswerer(fails=1)
    with pytest.raises(EngineError, match="away"):
        asyncio.run(ask_choices(answerer, ask(), 3))
    assert answerer.open == 0


def test_cancelling_closes_every_stream() -> None:
    answerer = CountingAnswerer()

    async def cancel() -> None:
        task = asyncio.ensure_future(ask_choices(answerer, ask(), 3))
        await asyncio.sleep(0.0015)
        assert answerer.open > 0
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert answerer.open == 0

    asyncio.run(cancel())


class SlowToClose:
    """Streams that need a while to let go."""

    name = "slow"
    engine = EchoEngine()

    def __init__(self) -> None:
        self.open = 0

    async def ask(self, request: AskRequest) -> Answer:
        raise NotImplementedError

    async def stream(self, request: AskRequest) -> AsyncIterator[AnswerEvent]:
        self.open += 1
        try:
            yield AnswerEvent(hits=tuple(two_hits()))
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.03)
            self.open -= 1


def test_cancelling_again_and_again_closes_every_stream() -> None:
    answerer = SlowToClose()

    async def cancel() -> None:
        task = asyncio.ensure_future(ask_choices(answerer, ask(), 3))
        await asyncio.sleep(0.05)
        assert answerer.open == 3
        # As cancel scopes do, until it is heeded.
        while not task.done():
            task.cancel()
            await asyncio.sleep(0.002)
        assert task.cancelled()
        assert answerer.open == 0

    asyncio.run(cancel())
