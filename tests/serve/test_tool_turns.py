from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from ragkit.errors import ContextLengthError
from ragkit.records import ChatMessage, ToolCall
from ragkit.serve.tool_turns import fit_after, turns_as_text

CALL = ToolCall("c", "clock", '{"zone": 1}')


def engine(context: int) -> Any:
    def count(messages: Sequence[ChatMessage]) -> int:
        return sum(len(message.content) for message in messages)

    return SimpleNamespace(name="e", context_tokens=context, count_tokens=count)


def turns(*results: str) -> list[ChatMessage]:
    calls = tuple(ToolCall(f"c{i}", "f", "{}") for i in range(len(results)))
    said = [ChatMessage("tool", result, tool_call_id=f"c{i}") for i, result in enumerate(results)]
    return [ChatMessage("assistant", "", tool_calls=calls), *said]


def test_calls_and_results_as_text() -> None:
    messages = [
        ChatMessage("user", "When?"),
        ChatMessage("assistant", "Let me see.", tool_calls=(CALL,)),
        ChatMessage("tool", "Noon.", tool_call_id="c"),
        ChatMessage("tool", "Night.", tool_call_id="other"),
    ]
    assert turns_as_text(messages) == (
        messages[0],
        ChatMessage("assistant", 'Let me see.\nCall of clock with {"zone": 1}'),
        ChatMessage("user", "Result of clock:\nNoon."),
        ChatMessage("user", "Result of the tool:\nNight."),
    )


def test_what_fits_stays() -> None:
    assert fit_after([], engine(10), 5) == ((), 0, [])
    after = turns("Noon.")
    kept, size, notes = fit_after(after, engine(1000), 100)
    assert (kept, notes) == (tuple(after), [])
    # Its text, the heading that stands for its role, and the call's JSON.
    assert size == len("Result of the tool:\nNoon.") + len('{"id": "c0", "name": "f", "arguments": {}}')


def test_long_results_are_cut_alike_and_short_ones_stay() -> None:
    kept, size, (note,) = fit_after(turns("x" * 900, "Noon.", "y" * 500), engine(1100), 100)
    lengths = [len(message.content) for message in kept[1:]]
    assert lengths[0] == lengths[2] > 100
    assert kept[2].content == "Noon."
    assert size <= 500
    assert size + 2 * 2 > 500 - 2
    assert f"cut to {lengths[0] - len(' … (cut)')} characters each" in note


def test_calls_that_do_not_fit_are_an_error() -> None:
    call = ToolCall("c", "f", "x" * 1000)
    after = [ChatMessage("assistant", "", tool_calls=(call,)), ChatMessage("tool", "y", tool_call_id="c")]
    with pytest.raises(ContextLengthError, match="calls of tools behind the question have"):
        fit_after(after, engine(1000), 100)
