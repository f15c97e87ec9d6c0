"""A conversation's messages as a question with what stands before and behind it."""

from __future__ import annotations

from collections.abc import Sequence

from ragkit.records import AskRequest, ChatMessage, Filter, Sampling
from ragkit.serve.api.http_errors import HttpProblem


def ask_of(
    messages: Sequence[ChatMessage], sampling: Sampling, where: Filter | None = None, param: str = "messages"
) -> AskRequest:
    """The last user message is the question, what stands before it the history, with all system messages.

    Calls of tools behind the question, and their results, stay behind it.

    Raises:
        HttpProblem: 400, there is no question, or calls and results of tools do not belong together.
    """
    _check_calls(messages, param)
    asked = max((i for i, message in enumerate(messages) if message.role == "user"), default=-1)
    if asked < 0 or not messages[asked].content.strip():
        shows = asked >= 0 and messages[asked].images
        there = "it has images and no text; say in words what is asked of them" if shows else "there is none"
        raise HttpProblem(400, f"the last user message is the question, and {there}", param=param)
    behind = messages[asked + 1 :]
    system = [message for message in behind if message.role == "system"]
    turns = [message for message in behind if message.role != "system"]
    question = messages[asked]
    return AskRequest(
        question.content,
        (*messages[:asked], *system),
        sampling,
        where,
        question.images,
        # A bare assistant message would be the beginning of the answer, which is ours to write.
        tuple(turns) if any(message.role == "tool" for message in turns) else (),
    )


def _check_calls(messages: Sequence[ChatMessage], param: str) -> None:
    """Servers of models refuse calls without results, and results without calls, each in words of its own."""
    waiting: set[str] = set()
    for message in messages:
        if message.role == "tool":
            if message.tool_call_id not in waiting:
                raise HttpProblem(
                    400,
                    f"the result of the tool call {message.tool_call_id!r:.80} follows no message with that call",
                    param=param,
                )
            waiting.discard(message.tool_call_id)
        elif waiting:
            break
        else:
            waiting = {call.id for call in message.tool_calls}
    if waiting:
        missing = ", ".join(sorted(waiting))
        raise HttpProblem(
            400, f"each tool call must be followed by its result; missing: {missing:.200}", param=param
        )
