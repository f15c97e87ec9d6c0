"""An engine for tests: it repeats the beginning of each source with its mark."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest, ImageLimits
from ragkit.serve.grounding.marks import defuse_marks
from ragkit.serve.grounding.word_usage import count_words, word_usage
from ragkit.serve.prompting.image_size import check_images
from ragkit.serve.prompting.prompts import NOT_FOUND_TEXT

_WORD_WITH_SPACE = re.compile(r"\s*\S+")


class EchoEngine:
    """Says the first words of every source, each line with its mark; a token is a word.

    pause_s: seconds before each word of a stream. `running` and `cancelled` count streams, so that a
    test can see that a reply nobody waits for any more was given up.
    """

    name = "echo"
    image_limits: ImageLimits | None = None
    heeds = frozenset({"max_tokens", "stop"})

    def __init__(self, *, num_words: int = 8, pause_s: float = 0.0, context_tokens: int = 8192) -> None:
        self.context_tokens = context_tokens
        self.running = 0
        self.cancelled = 0
        self._num_words = num_words
        self._pause_s = pause_s

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return count_words(messages)

    async def chat(self, request: ChatRequest) -> ChatReply:
        reply = self._reply(request)
        with self._counted():
            # As one wait: each wakes all that stands between the network and the engine.
            await asyncio.sleep(self._pause_s * len(_WORD_WITH_SPACE.findall(reply.text)))
        return reply

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        reply = self._reply(request)
        with self._counted():
            for word in _WORD_WITH_SPACE.findall(reply.text):
                await asyncio.sleep(self._pause_s)
                yield ChatDelta(word)
        yield ChatDelta(finish_reason=reply.finish_reason, usage=reply.usage)

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        return [self._reply(request) for request in requests]

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.running += 1
        try:
            yield
        except BaseException:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    def _reply(self, request: ChatRequest) -> ChatReply:
        check_images(request.messages, self.image_limits, self.name)
        lines = [
            f"{' '.join(defuse_marks(source.hit.passage.text).split()[: self._num_words])} [{source.marker}]"
            for source in request.sources
        ]
        text = "\n".join(lines) or NOT_FOUND_TEXT
        for stop in request.sampling.stop:
            text = text.partition(stop)[0]
        words = _WORD_WITH_SPACE.findall(text)
        kept = words[: request.sampling.max_tokens]
        text = "".join(kept)
        return ChatReply(text, "stop" if len(kept) == len(words) else "length", word_usage(request, text))
