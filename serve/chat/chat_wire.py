"""Answers as the replies and chunks of OpenAI's chat API.

They are built as plain JSON, because a stream has a chunk for every token; the tests hold them against the types
of the `openai` package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ragkit.records import Answer, AnswerEvent, TokenLogprob, ToolCallDelta, Usage
from ragkit.serve.api import wire
from ragkit.serve.engines.chat_json import tool_call_json
from ragkit.serve.pages.page_links import PageLinks


def completion(
    answers: Sequence[Answer], reply_id: str, created: int, model: str, corpus: str, links: PageLinks
) -> dict[str, Any]:
    """The reply to a chat request that is not streamed; `ragkit` is the record of the first answer.

    Where there are several answers, each choice has its record too. model: as the request names the corpus, which
    may be a vector store's name; corpus: as links do, which outlive that name.
    """
    records = [wire.answer_json(answer, corpus, links) for answer in answers]
    choices = [
        {
            "index": index,
            "message": _message(answer, corpus, links),
            "finish_reason": answer.finish_reason,
            "logprobs": logprobs_json(answer.logprobs),
        }
        for index, answer in enumerate(answers)
    ]
    if len(answers) > 1:
        for choice, record in zip(choices, records, strict=True):
            choice["ragkit"] = record
    return {
        "id": reply_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": choices,
        "usage": wire.usage_json([answer.usage for answer in answers]),
        "ragkit": records[0],
    }


@dataclass(frozen=True, slots=True)
class ChunkMaker:
    """Makes the chunks of one streamed reply. with_usage: the client asked for a last chunk with usage.

    model, corpus: as in `completion`.
    """

    reply_id: str
    created: int
    model: str
    corpus: str
    with_usage: bool
    links: PageLinks

    def first(self, index: int = 0) -> dict[str, Any]:
        """Says that the assistant speaks."""
        return self._chunk(index, {"role": "assistant", "content": ""})

    def piece(self, event: AnswerEvent, index: int = 0) -> dict[str, Any] | None:
        """A piece of the answer; None for an event that holds none."""
        delta: dict[str, Any] = {}
        if event.delta or event.logprobs:
            delta["content"] = event.delta
        if event.refusal:
            delta["refusal"] = event.refusal
        if event.reasoning:
            delta["reasoning_content"] = event.reasoning
        if event.tool_calls:
            delta["tool_calls"] = [_call_piece(call) for call in event.tool_calls]
        return self._chunk(index, delta, logprobs=logprobs_json(event.logprobs or None)) if delta else None

    def last(self, answer: Answer, sent: str, index: int = 0) -> dict[str, Any]:
        """Annotations, whose places are those in the text that was `sent`, and the answer's record."""
        delta = {"annotations": wire.url_citations(answer, self.corpus, self.links, sent)}
        chunk = self._chunk(index, delta, answer.finish_reason)
        return chunk | {"ragkit": wire.answer_json(answer, self.corpus, self.links)}

    def usage(self, used: Sequence[Usage]) -> dict[str, Any]:
        """The chunk after the last one, without choices."""
        return self._make([]) | {"usage": wire.usage_json(used)}

    def _chunk(
        self, index: int, delta: dict[str, Any], finish_reason: str | None = None, logprobs: Any = None
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}
        return self._make([choice]) | ({"usage": None} if self.with_usage else {})

    def _make(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.reply_id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def logprobs_json(tokens: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
    """A choice's `logprobs`; the tokens are those that the engine wrote."""
    if tokens is None:
        return None
    return {"content": [_token(token) for token in tokens], "refusal": None}


def _message(answer: Answer, corpus: str, links: PageLinks) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text or None if answer.tool_calls or answer.refusal else answer.text,
        "refusal": answer.refusal or None,
        "annotations": wire.url_citations(answer, corpus, links),
    }
    if answer.tool_calls:
        message["tool_calls"] = [tool_call_json(call) for call in answer.tool_calls]
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    return message


def _call_piece(call: ToolCallDelta) -> dict[str, Any]:
    function = {"arguments": call.arguments} | ({"name": call.name} if call.name else {})
    head = {"id": call.id, "type": "function"} if call.id else {}
    return {"index": call.index, **head, "function": function}


def _token(token: TokenLogprob) -> dict[str, Any]:
    return {**_plain(token), "top_logprobs": [_plain(other) for other in token.top]}


def _plain(token: TokenLogprob) -> dict[str, Any]:
    octets = None if token.bytes is None else list(token.bytes)
    return {"token": token.token, "logprob": token.logprob, "bytes": octets}
