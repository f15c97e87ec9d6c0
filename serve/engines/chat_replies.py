"""What OpenAI-compatible servers send back, as records; the client library checks nothing of it."""

from __future__ import annotations

from typing import Any

from ragkit.records import ChatDelta, ChatReply, ChatRequest, Usage
from ragkit.serve.engines.chat_json import (
    field_of,
    finish_reason_of,
    reasoning_of,
    text_of,
    token_logprobs_of,
    tool_calls_of,
)
from ragkit.serve.engines.streamed_calls import StreamedCalls


def read_reply(reply: Any, request: ChatRequest) -> ChatReply | None:
    """The reply to a request that was not streamed; None where it holds no message."""
    choice = _first_choice(reply)
    message = field_of(choice, "message")
    if message is None:
        return None
    asked = request.logprobs or request.sampling.logprobs
    tokens = token_logprobs_of(choice) if asked else None
    return ChatReply(
        text_of(field_of(message, "content")),
        finish_reason_of(choice),
        usage_of(reply),
        tuple(token.logprob for token in tokens) if request.logprobs and tokens is not None else None,
        tool_calls_of(message),
        reasoning_of(message),
        tokens if request.sampling.logprobs else None,
        text_of(field_of(message, "refusal")),
    )


def read_delta(chunk: Any, request: ChatRequest, calls: StreamedCalls) -> ChatDelta | None:
    """What a chunk of a stream adds to the reply; None for one that adds nothing. calls: of the whole stream."""
    choice = _first_choice(chunk)
    delta = field_of(choice, "delta")
    read = ChatDelta(
        text_of(field_of(delta, "content")),
        tool_calls=calls.pieces_of(delta),
        reasoning=reasoning_of(delta),
        tokens=(token_logprobs_of(choice) or ()) if request.sampling.logprobs else (),
        refusal=text_of(field_of(delta, "refusal")),
    )
    return None if read == ChatDelta() else read


def end_of(chunk: Any) -> str | None:
    """Why the reply ends with this chunk; None where it goes on."""
    choice = _first_choice(chunk)
    return finish_reason_of(choice) if field_of(choice, "finish_reason") else None


def usage_of(reply: Any) -> Usage:
    """Zeros where the server does not count."""
    usage = field_of(reply, "usage")
    counts = (
        field_of(usage, "prompt_tokens"),
        field_of(usage, "completion_tokens"),
        field_of(field_of(usage, "prompt_tokens_details"), "cached_tokens"),
        field_of(field_of(usage, "completion_tokens_details"), "reasoning_tokens"),
    )
    return Usage(*map(_count, counts))


def _count(sent: Any) -> int:
    return sent if isinstance(sent, int) and not isinstance(sent, bool) and sent >= 0 else 0


def _first_choice(reply: Any) -> Any:
    """None where there is none."""
    choices = field_of(reply, "choices")
    return choices[0] if isinstance(choices, list) and choices else None
