"""An engine for tests that answers what a function says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest, ImageLimits


class ScriptedEngine:
    """Answers each request by `answer`; a token is a word."""

    name = "scripted"

    def __init__(
        self,
        answer: Callable[[ChatRequest], ChatReply],
        context_tokens: int = 100_000,
        image_limits: ImageLimits | None = None,
    ) -> None:
        self.context_tokens, self.image_limits = context_tokens, image_limits
        self.asked: list[ChatRequest] = []
        self._answer = answer

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return sum(len(message.content.split()) for message in messages)

    async def chat(self, request: ChatRequest) -> ChatReply:
        return self.chat_batch([request])[0]

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        yield ChatDelta(self.chat_batch([request])[0].text, "stop")

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        self.asked += requests
        return [self._answer(request) for request in requests]
