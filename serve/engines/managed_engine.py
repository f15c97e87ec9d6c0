"""The engine of a model server that ragkit itself runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from ragkit.errors import EngineUnavailableError
from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest, ImageLimits, Readiness
from ragkit.serve.engines.openai_engine import OpenAIEngine
from ragkit.serve.engines.vllm_server import VllmServer

# A server that starts again needs tens of seconds.
_COME_AGAIN_S = 10.0


class ManagedEngine:
    """Asks the server where it now is; while it starts again requests fail at once.

    Args:
        make: an engine for an address.
    """

    def __init__(self, server: VllmServer, make: Callable[[str], OpenAIEngine]) -> None:
        self._server, self._make = server, make
        self._engine: OpenAIEngine | None = None
        server.on_start = self._moved

    @property
    def server(self) -> VllmServer:
        return self._server

    @property
    def name(self) -> str:
        return self._server.name

    @property
    def context_tokens(self) -> int:
        return self._known().context_tokens

    @property
    def image_limits(self) -> ImageLimits | None:
        return self._known().image_limits

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return self._known().count_tokens(messages)

    async def chat(self, request: ChatRequest) -> ChatReply:
        """As `OpenAIEngine.chat`. Raises EngineUnavailableError while the server is not there."""
        return await self._running().chat(request)

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """As `OpenAIEngine.stream`."""
        deltas: Any = self._running().stream(request)
        async with aclosing(deltas):
            async for delta in deltas:
                yield delta

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        return self._running().chat_batch(requests)

    async def readiness(self) -> Readiness:
        """As `Upstream.readiness`."""
        if self._server.state != "running":
            wait = None if self._server.state == "given up" else _COME_AGAIN_S
            return Readiness(self.name, False, self._server.state, wait)
        return await self._known().readiness()

    def _moved(self, url: str) -> None:
        self._engine = self._make(url)

    def _known(self) -> OpenAIEngine:
        if self._engine is None:
            raise EngineUnavailableError(f"the vLLM server of {self.name} has not been started")
        return self._engine

    def _running(self) -> OpenAIEngine:
        state = self._server.state
        if state != "running":
            wait = None if state == "given up" else _COME_AGAIN_S
            raise EngineUnavailableError(f"the vLLM server of {self.name}: {state}", wait)
        return self._known()
