"""A response as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any

from ragkit.errors import RagkitError
from ragkit.records import AnswerEvent
from ragkit.serve.api.connection import ClientGoneError, Connection
from ragkit.serve.api.http_errors import HttpProblem, internal_problem, problem_of
from ragkit.serve.api.wire import json_bytes
from ragkit.serve.responses.response_events import Event, ResponseEvents


class ResponseStream:
    """Begins a response, so that errors of the search can still be a status, then gives the events.

    finished: called with the response, once it is whole and before it is sent.
    """

    def __init__(
        self,
        answer: AsyncIterator[AnswerEvent],
        connection: Connection,
        events: ResponseEvents,
        request_id: str,
        finished: Callable[[dict[str, Any]], None],
    ) -> None:
        self._answer = answer
        self._connection = connection
        self._events = events
        self._request_id = request_id
        self._finished = finished
        self._num_sent = 0
        self._items_sent: list[dict[str, Any]] = []

    async def begin(self) -> None:
        """Wait until the search is over.

        Raises:
            RagkitError: the search failed, or no prompt can be made.
            ClientGoneError: the client did not wait.
        """
        try:
            self._first = await self._next()
        except BaseException:
            await self._close()
            raise

    async def body(self) -> AsyncIterator[bytes]:
        """The events' bytes. Where the engine fails the last one is response.failed."""
        async with aclosing(self._made()) as events:
            async for event in events:
                yield _bytes(event)
                self._num_sent += 1
                if event["type"] == "response.output_item.done":
                    self._items_sent.append(event["item"])

    def last_event(self, problem: HttpProblem) -> bytes:
        """Goes on from the events that were sent, where no more are taken from `body`."""
        return _bytes(self._failed(problem))

    async def _made(self) -> AsyncGenerator[Event]:
        try:
            event = self._first
            found = event if event is not None else AnswerEvent()
            begun = self._events.begin(found.hits or (), found.searched)
            for made in await asyncio.to_thread(_all, begun):
                yield made
            while event is not None:
                for made in self._events.piece(event):
                    yield made
                if event.answer is not None:
                    for made in await asyncio.to_thread(_all, self._events.end(event.answer)):
                        if "response" in made:
                            self._finished(made["response"])
                        yield made
                event = await self._next()
        except RagkitError as error:
            yield self._failed(problem_of(error, self._request_id))
        except ClientGoneError:
            return
        except Exception as error:
            yield self._failed(internal_problem(error, self._request_id))
            raise
        finally:
            await self._close()

    def _failed(self, problem: HttpProblem) -> Event:
        return self._events.failed(problem, self._num_sent, self._items_sent)

    async def _next(self) -> AnswerEvent | None:
        async def event() -> AnswerEvent | None:
            return await anext(self._answer, None)

        return await self._connection.run(event())

    async def _close(self) -> None:
        close: Any = getattr(self._answer, "aclose", None)
        if close is not None:
            await close()
        self._connection.close()


def _all(events: Iterable[Event]) -> list[Event]:
    return list(events)


def _bytes(event: Event) -> bytes:
    return f"event: {event['type']}\ndata: ".encode() + json_bytes(event) + b"\n\n"
