"""Several answers to one question: the search is done once, the engine is asked for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from typing import Any

from ragkit.protocols import Answerer
from ragkit.records import Answer, AnswerEvent, AskRequest, Found

_LARGE_SEED = 2**62

ChoiceEvent = tuple[int, AnswerEvent]


async def ask_choices(answerer: Answerer, request: AskRequest, number: int) -> list[Answer]:
    """The answers, in order. Answer i has the seed of the request, plus i."""
    if number == 1:
        return [await answerer.ask(request)]
    answers: dict[int, Answer] = {}
    events = stream_choices(answerer, request, number)
    try:
        async for index, event in events:
            if event.answer is not None:
                answers[index] = event.answer
    finally:
        await _close(events)
    return [answers[index] for index in range(number)]


async def stream_choices(answerer: Answerer, request: AskRequest, number: int) -> AsyncIterator[ChoiceEvent]:
    """The events of all answers, each with its answer's number, as they come; hits come once."""
    streams = [answerer.stream(request)]
    try:
        if number > 1:
            first = await _next(streams[0])
            if first is not None:
                yield 0, first
            found = None if first is None or first.hits is None else Found(first.hits, searched=first.searched)
            streams += [answerer.stream(_choice(request, index, found)) for index in range(1, number)]
        events = _joined(streams)
        try:
            async for index, event in events:
                if index == 0 or event.hits is None:
                    yield index, event
        finally:
            await _close(events)
    finally:
        for stream in streams:
            await _close(stream)


async def _joined(streams: Sequence[AsyncIterator[AnswerEvent]]) -> AsyncIterator[ChoiceEvent]:
    """Whatever comes next from any of the streams."""
    if len(streams) == 1:
        async for event in streams[0]:
            yield 0, event
        return
    waiting = {_next(stream): index for index, stream in enumerate(streams)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=lambda task: waiting[task]):
                index = waiting.pop(task)
                if (next_event := task.result()) is not None:
                    waiting[_next(streams[index])] = index
                    yield index, next_event
    finally:
        await _stop(waiting)


def _choice(request: AskRequest, index: int, found: Found | None) -> AskRequest:
    """The request for one of the other answers; equal seeds would make equal answers."""
    sampling = request.sampling
    # Near the largest seed there is, downwards.
    step = index if (sampling.seed or 0) < _LARGE_SEED else -index
    seed = None if sampling.seed is None else sampling.seed + step
    return replace(request, sampling=replace(sampling, seed=seed), found=request.found or found)


def _next(stream: AsyncIterator[AnswerEvent]) -> asyncio.Future[AnswerEvent | None]:
    async def event() -> AnswerEvent | None:
        return await anext(stream, None)

    return asyncio.ensure_future(event())


async def _stop(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Cancel them and wait until they have let go, also where whoever waits is cancelled more than once."""
    for task in tasks:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while left := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError as error:
            # A stream that still runs cannot be closed.
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _close(stream: Any) -> None:
    if close := getattr(stream, "aclose", None):
        await close()
