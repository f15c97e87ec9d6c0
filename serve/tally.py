"""The pieces of a streamed reply, added up."""

from __future__ import annotations

from dataclasses import dataclass, field

from ragkit.records import (
    AnswerEvent,
    ChatDelta,
    ChatReply,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from ragkit.serve.engines.chat_json import joined_calls


@dataclass
class Tally:
    """What the deltas of a reply say beside its text. Tokens wait for the next piece of text."""

    reasoning: str = ""
    refusal: str = ""
    last: ChatDelta = field(default_factory=ChatDelta)
    calls: list[ToolCallDelta] = field(default_factory=list)
    tokens: list[TokenLogprob] = field(default_factory=list)
    waiting: list[TokenLogprob] = field(default_factory=list)

    def event(self, delta: ChatDelta, piece: str) -> AnswerEvent | None:
        """What a delta of which `piece` was passed on is to the asker; None for nothing."""
        self.last = delta if delta.finish_reason else self.last
        self.reasoning += delta.reasoning
        self.refusal += delta.refusal
        self.calls += delta.tool_calls
        self.tokens += delta.tokens
        self.waiting += delta.tokens
        if not (piece or delta.reasoning or delta.tool_calls or delta.refusal):
            return None
        return AnswerEvent(
            piece,
            reasoning=delta.reasoning,
            tool_calls=delta.tool_calls,
            logprobs=self._passed(piece),
            refusal=delta.refusal,
        )

    def last_event(self, piece: str) -> AnswerEvent | None:
        """For the text that was held back to the end."""
        return AnswerEvent(piece, logprobs=self._passed("last")) if piece or self.waiting else None

    def reply(self, text: str) -> ChatReply:
        """The whole reply, read as `text`."""
        calls: tuple[ToolCall, ...] = joined_calls(self.calls)
        reason, used = self.last.finish_reason or "stop", self.last.usage or Usage()
        tokens = tuple(self.tokens) or None
        return ChatReply(text, reason, used, None, calls, self.reasoning, tokens, self.refusal)

    def _passed(self, piece: str) -> tuple[TokenLogprob, ...]:
        if not piece:
            return ()
        passed, self.waiting = tuple(self.waiting), []
        return passed
