"""The engine of a model server that ragkit itself runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
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
        with self._come_again():
            return await self._running().chat(request)

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """As `OpenAIEngine.stream`."""
        with self._come_again():
            deltas: Any = self._running().stream(request)
            async with aclosing(deltas):
                async for delta in deltas:
                    yield delta

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        with self._come_again():
            return self._running().chat_batch(requests)

    async def readiness(self) -> Readiness:
        """As `Upstream.readiness`."""
        if self._server.state != "running":
            return Readiness(self.name, False, self._server.state, self._wait_s)
        return await self._known().readiness()

    @property
    def _wait_s(self) -> float | None:
        """Until requests may be answered again; None where they never will."""
        return None if self._server.state == "given up" else _COME_AGAIN_S

    @contextmanager
    def _come_again(self) -> Iterator[None]:
        """Errors say when, also those of a server that has crashed and counts as running until that is noticed."""
        try:
            yield
        except EngineUnavailableError as error:
            if error.retry_after_s is None and not error.is_busy:
                error.retry_after_s = self._wait_s
            raise

    def _moved(self, url: str) -> None:
        self._engine = self._make(url)

    def _known(self) -> OpenAIEngine:
        if self._engine is None:
            raise EngineUnavailableError(f"the vLLM server of {self.name} has not been started")
        return self._engine

    def _running(self) -> OpenAIEngine:
        state = self._server.state
        if state != "running":
            raise EngineUnavailableError(f"the vLLM server of {self.name}: {state}")
        return self._known()
