"""A streamed answer as server-sent events in the form of OpenAI's API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from ragkit.errors import RagkitError
from ragkit.records import AnswerEvent, Usage
from ragkit.serve.api.connection import ClientGoneError, Connection
from ragkit.serve.api.http_errors import HttpProblem, internal_problem, problem_of
from ragkit.serve.api.wire import json_bytes
from ragkit.serve.chat.chat_wire import ChunkMaker
from ragkit.serve.chat.choices import ChoiceEvent

_DONE = b"data: [DONE]\n\n"


class EventStream:
    """Begins an answer, or several, so that early errors can still be a status, then gives the events."""

    def __init__(
        self,
        events: AsyncIterator[ChoiceEvent],
        connection: Connection,
        chunks: ChunkMaker,
        request_id: str,
        number: int = 1,
    ) -> None:
        self._events = events
        self._connection = connection
        self._chunks = chunks
        self._request_id = request_id
        self._sent = [""] * number
        self._used: list[Usage] = []

    async def begin(self) -> None:
        """Wait for the first piece of an answer.

        Raises:
            RagkitError: retrieval or the engine failed before any text.
            ClientGoneError: the client did not wait.
        """
        try:
            self._first = await self._next()
            while self._first is not None and self._first[1].hits is not None:
                self._first = await self._next()
        except BaseException:
            await self._close()
            raise

    async def body(self) -> AsyncIterator[bytes]:
        """The events' bytes. An error behind the first piece becomes an event and ends the stream."""
        try:
            for index in range(len(self._sent)):
                yield _event(self._chunks.first(index))
            event = self._first
            while event is not None:
                for chunk in self._chunks_of(*event):
                    yield _event(chunk)
                event = await self._next()
            if self._chunks.with_usage:
                yield _event(self._chunks.usage(self._used))
            yield _DONE
        except RagkitError as error:
            yield _error_event(problem_of(error, self._request_id))
        except ClientGoneError:
            return
        except Exception as error:
            yield _error_event(internal_problem(error, self._request_id))
            raise
        finally:
            await self._close()

    def _chunks_of(self, index: int, event: AnswerEvent) -> list[dict[str, Any]]:
        self._sent[index] += event.delta
        piece = self._chunks.piece(event, index)
        chunks = [] if piece is None else [piece]
        if event.answer is not None:
            self._used.append(event.answer.usage)
            chunks.append(self._chunks.last(event.answer, self._sent[index], index))
        return chunks

    async def _next(self) -> ChoiceEvent | None:
        return await self._connection.run(_next_or_none(self._events))

    async def _close(self) -> None:
        close: Any = getattr(self._events, "aclose", None)
        if close is not None:
            await close()
        self._connection.close()


async def _next_or_none(events: AsyncIterator[ChoiceEvent]) -> ChoiceEvent | None:
    return await anext(events, None)


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json_bytes(chunk) + b"\n\n"


def _error_event(problem: HttpProblem) -> bytes:
    return f"data: {json.dumps(problem.body())}\n\n".encode()
