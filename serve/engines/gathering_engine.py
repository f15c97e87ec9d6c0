"""Chats that come at the same time, worked on together as one batch: for offline work with vLLM in process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from ragkit.errors import EngineError
from ragkit.protocols import Engine
from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest, ImageLimits
from ragkit.serve.sampling_effect import HeedsSome


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    request: ChatRequest
    reply: asyncio.Future[ChatReply]


class GatheringEngine:
    """An engine's `chat_batch` behind `chat`; replies are those of the engine.

    A batch begins when for `quiet_s` no other chat has come, or `max_requests` are there. A request that the
    engine refuses fails alone: its batch is halved until it is found. All chats belong to one event loop.
    """

    def __init__(self, engine: Engine, *, max_requests: int = 256, quiet_s: float = 0.05) -> None:
        self._engine = engine
        self._max_requests = max_requests
        self._quiet_s = quiet_s
        self._waiting: list[_Waiting] = []
        self._work: asyncio.Task[None] | None = None
        if isinstance(engine, HeedsSome):
            self.heeds = engine.heeds

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def context_tokens(self) -> int:
        return self._engine.context_tokens

    @property
    def image_limits(self) -> ImageLimits | None:
        return self._engine.image_limits

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return self._engine.count_tokens(messages)

    async def chat(self, request: ChatRequest) -> ChatReply:
        """As the engine's `chat_batch` for this request, with those that come beside it."""
        one = _Waiting(request, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._work_off())
        return await one.reply

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """The whole text as one piece."""
        reply = await self.chat(request)
        if reply.text:
            yield ChatDelta(reply.text)
        yield ChatDelta(finish_reason=reply.finish_reason, usage=reply.usage)

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        return self._engine.chat_batch(requests)

    async def _work_off(self) -> None:
        while self._waiting:
            count = 0
            while count < len(self._waiting) < self._max_requests:
                count = len(self._waiting)
                await asyncio.sleep(self._quiet_s)
            batch = self._waiting[: self._max_requests]
            del self._waiting[: len(batch)]
            await self._answer([one for one in batch if not one.reply.done()])

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        try:
            replies = await asyncio.to_thread(self._engine.chat_batch, [one.request for one in batch])
        except EngineError as error:
            if len(batch) == 1:
                _fail(batch, error)
                return
            middle = len(batch) // 2
            await self._answer(batch[:middle])
            await self._answer(batch[middle:])
        except Exception as error:
            _fail(batch, error)
        else:
            for one, reply in zip(batch, replies, strict=True):
                if not one.reply.done():
                    one.reply.set_result(reply)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    """Whoever waits gets the error."""
    for one in batch:
        if not one.reply.done():
            one.reply.set_exception(error)
