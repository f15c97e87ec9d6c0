"""A response as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from ragkit.errors import RagkitError
from ragkit.records import AnswerEvent
from ragkit.serve.api.connection import ClientGoneError, Connection
from ragkit.serve.api.http_errors import internal_problem, problem_of
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
        try:
            event = self._first
            found = event if event is not None else AnswerEvent()
            begun = self._events.begin(found.hits or (), found.searched)
            for made in await asyncio.to_thread(_all, begun):
                yield _bytes(made)
            while event is not None:
                for made in self._events.piece(event):
                    yield _bytes(made)
                if event.answer is not None:
                    for made in await asyncio.to_thread(_all, self._events.end(event.answer)):
                        if "response" in made:
                            self._finished(made["response"])
                        yield _bytes(made)
                event = await self._next()
        except RagkitError as error:
            yield _bytes(self._events.failed(problem_of(error, self._request_id)))
        except ClientGoneError:
            return
        except Exception as error:
            yield _bytes(self._events.failed(internal_problem(error, self._request_id)))
            raise
        finally:
            await self._close()

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
