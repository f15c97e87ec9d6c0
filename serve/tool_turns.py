"""Calls of tools and their results as turns of a conversation that fit a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ragkit.errors import ContextLengthError
from ragkit.protocols import Engine
from ragkit.records import ChatMessage, ToolCall

# Of the room for a prompt.
_MOST_SHARE = 0.5
_CUT = " … (cut)"


def turns_as_text(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """For engines that know no tools: calls are what the assistant says, results what the user says."""
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    return tuple(_as_text(message, names) for message in messages)


def fit_after(
    after: Sequence[ChatMessage], engine: Engine, max_tokens: int
) -> tuple[tuple[ChatMessage, ...], int, list[str]]:
    """The turns behind a question, results cut to leave half of the prompt's room, their tokens, and notes.

    Raises:
        ContextLengthError: the calls do not fit even without their results.
    """
    if not after:
        return (), 0, []
    # An answer may be shortened to half of the context, for its length is only a limit.
    most = int((engine.context_tokens - min(max_tokens, engine.context_tokens // 2)) * _MOST_SHARE)
    size = _size(after, engine)
    if size <= most:
        return tuple(after), size, []
    low, high = 0, max(len(message.content) for message in after)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(_cut(after, middle), engine) <= most else (low, middle - 1)
    cut = _cut(after, low)
    size = _size(cut, engine)
    if size > most:
        raise ContextLengthError(
            f"the calls of tools behind the question have {size} tokens, and at most {most} of the context of "
            f"{engine.name} are left to them: make fewer calls at once or set a smaller max_tokens"
        )
    return cut, size, [f"Results of tools were cut to {low} characters each to fit the engine's context."]


def _as_text(message: ChatMessage, names: dict[str, str]) -> ChatMessage:
    if message.role == "tool":
        name = names.get(message.tool_call_id, "the tool")
        return ChatMessage("user", f"Result of {name}:\n{message.content}")
    if message.tool_calls:
        calls = [f"Call of {call.name} with {call.arguments}" for call in message.tool_calls]
        return ChatMessage("assistant", "\n".join([message.content, *calls] if message.content else calls))
    return message


def _cut(messages: Sequence[ChatMessage], length: int) -> tuple[ChatMessage, ...]:
    return tuple(
        replace(message, content=message.content[:length] + _CUT)
        if message.role != "assistant" and len(message.content) > length
        else message
        for message in messages
    )


def _size(messages: Sequence[ChatMessage], engine: Engine) -> int:
    """Behind a user's message, because templates want one first; with what the calls' JSON takes."""
    calls = [ChatMessage("user", _call_text(call)) for message in messages for call in message.tool_calls]
    plain = [replace(message, tool_calls=()) for message in messages]
    return engine.count_tokens([ChatMessage("user", ""), *turns_as_text(plain), *calls])


def _call_text(call: ToolCall) -> str:
    return f'{{"id": "{call.id}", "name": "{call.name}", "arguments": {call.arguments}}}'
