"""A streamed answer as server-sent events in the form of OpenAI's API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from ragkit.errors import RagkitError
from ragkit.records import AnswerEvent
from ragkit.serve.api.connection import ClientGoneError, Connection
from ragkit.serve.api.http_errors import HttpProblem, internal_problem, problem_of
from ragkit.serve.api.wire import ChunkMaker

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionChunk

_DONE = b"data: [DONE]\n\n"


class EventStream:
    """Begins an answer, so that early errors can still be a status, then gives the events."""

    def __init__(
        self, events: AsyncIterator[AnswerEvent], connection: Connection, chunks: ChunkMaker, request_id: str
    ) -> None:
        self._events = events
        self._connection = connection
        self._chunks = chunks
        self._request_id = request_id
        self._sent = ""

    async def begin(self) -> None:
        """Wait for the first event.

        Raises:
            RagkitError: retrieval or the engine failed before any text.
            ClientGoneError: the client did not wait.
        """
        try:
            self._first = await self._next()
        except BaseException:
            await self._close()
            raise

    async def body(self) -> AsyncIterator[bytes]:
        """The events' bytes. An error behind the first piece becomes an event and ends the stream."""
        try:
            yield _event(self._chunks.first())
            event = self._first
            while event is not None:
                for chunk in self._chunks_of(event):
                    yield _event(chunk)
                event = await self._next()
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

    def _chunks_of(self, event: AnswerEvent) -> list[ChatCompletionChunk]:
        self._sent += event.delta
        chunks = [self._chunks.text(event.delta)] if event.delta else []
        if event.answer is not None:
            chunks.append(self._chunks.last(event.answer, self._sent))
            if self._chunks.with_usage:
                chunks.append(self._chunks.usage(event.answer))
        return chunks

    async def _next(self) -> AnswerEvent | None:
        return await self._connection.run(_next_or_none(self._events))

    async def _close(self) -> None:
        close: Any = getattr(self._events, "aclose", None)
        if close is not None:
            await close()
        await self._connection.close()


async def _next_or_none(events: AsyncIterator[AnswerEvent]) -> AnswerEvent | None:
    return await anext(events, None)


def _event(chunk: ChatCompletionChunk) -> bytes:
    return f"data: {chunk.model_dump_json(exclude_unset=True)}\n\n".encode()


def _error_event(problem: HttpProblem) -> bytes:
    return f"data: {json.dumps(problem.body())}\n\n".encode()
