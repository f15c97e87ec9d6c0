"""An engine for tests that answers what a function says."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Callable, Sequence

from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest, ImageLimits, TokenLogprob


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


def yes_by_shared_words(request: ChatRequest) -> ChatReply:
    """Yes with a probability that grows with the words that question and passage share."""
    passage = request.messages[-1].content.partition("\n")[0].removeprefix("Passage: ")
    yes = 0.05 + 0.9 * _share(request.question, passage)
    top = (TokenLogprob("yes", math.log(yes)), TokenLogprob("no", math.log(1 - yes)))
    return ChatReply("yes", tokens=(TokenLogprob("yes", top[0].logprob, top=top),))


def order_by_shared_words(request: ChatRequest) -> ChatReply:
    """The numbered passages by the words that they share with the question."""
    passages = re.findall(r"^\[\d+\] (.*)$", request.messages[-1].content, re.MULTILINE)
    order = sorted(range(len(passages)), key=lambda i: -_share(request.question, passages[i]))
    return ChatReply(" > ".join(f"[{i + 1}]" for i in order))


def _share(question: str, passage: str) -> float:
    words = set(passage.split())
    return len(words & set(question.split())) / max(1, len(words))
