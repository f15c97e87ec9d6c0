"""The `input` of a responses request, text or items, as messages of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from ragkit.records import ChatMessage, ToolCall
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.chat.request_images import GivenImages
from ragkit.serve.chat.sampling_fields import check_text

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_ITEMS = 10_000
# What earlier replies held beside messages and calls of functions; clients send it back, and it says nothing new.
_PASSED_OVER = ("file_search_call", "reasoning")
_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}


def messages_of(given: str | Sequence[Mapping[str, Any]], images: GivenImages) -> list[ChatMessage]:
    """The messages that an input makes. It looks at images: not in a loop.

    images: takes those of the input, for which blanks stand in the result.

    Raises:
        HttpProblem: 400, naming the item that cannot be read.
    """
    if isinstance(given, str):
        check_text("input", given)
        return [ChatMessage("user", given)]
    if len(given) > _MOST_ITEMS:
        raise HttpProblem(400, f"input has {len(given)} items; at most {_MOST_ITEMS} are read", param="input")
    messages: list[ChatMessage] = []
    for index, item in enumerate(given):
        _add(messages, item, f"input[{index}]", images)
    images.check_pixels()
    return messages


def _add(messages: list[ChatMessage], item: Mapping[str, Any], place: str, images: GivenImages) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        messages.append(_message(item, place, images))
    elif kind == "function_call":
        fields = [_text(item, name, place) for name in ("call_id", "name", "arguments")]
        call = ToolCall(fields[0], fields[1], fields[2])
        # Calls of one turn, and the text before them, are one message.
        if messages and messages[-1].role == "assistant":
            messages[-1] = replace(messages[-1], tool_calls=(*messages[-1].tool_calls, call))
        else:
            messages.append(ChatMessage("assistant", "", tool_calls=(call,)))
    elif kind == "function_call_output":
        content, _ = _content(item.get("output"), f"{place}.output", "tool", images)
        messages.append(ChatMessage("tool", content, tool_call_id=_text(item, "call_id", place)))
    elif kind not in _PASSED_OVER:
        known = ", ".join(("message", "function_call", "function_call_output", *_PASSED_OVER))
        raise HttpProblem(400, f"{place}.type = {kind!r:.60} is not supported; known: {known}", param=place)


def _message(item: Mapping[str, Any], place: str, given: GivenImages) -> ChatMessage:
    role = _ROLES.get(str(item.get("role")))
    if role is None:
        raise HttpProblem(
            400, f"{place}.role = {item.get('role')!r:.60}; known: {', '.join(_ROLES)}", param=f"{place}.role"
        )
    content, images = _content(item.get("content"), f"{place}.content", role, given)
    return ChatMessage(role, content, images)


def _content(value: Any, place: str, role: str, given: GivenImages) -> tuple[str, tuple[Image, ...]]:
    """Text, and the images that users alone may show."""
    if isinstance(value, str):
        check_text(place, value)
        return value, ()
    if not isinstance(value, list):
        raise HttpProblem(400, f"{place} = {value!r:.60} is neither text nor a list of parts", param=place)
    texts: list[str] = []
    images: list[Image] = []
    for index, part in enumerate(value):
        at = f"{place}[{index}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, dict) and isinstance(kind, str) and kind in _TEXTS:
            texts.append(_text(part, _TEXTS[kind], at))
        elif isinstance(part, dict) and kind == "input_image" and role == "user":
            if not isinstance(part.get("image_url"), str):
                raise HttpProblem(400, f"{at} has no image_url that is a text; files are not read here", param=at)
            images.append(given.blank(part["image_url"], at))
        else:
            known = "input_text, output_text and refusal" + (", input_image" if role == "user" else "")
            raise HttpProblem(
                400, f"{at} is a part of type {kind!r:.60}; for {role!r} there are {known}", param=at
            )
    return "\n".join(texts), tuple(images)


def _text(item: Mapping[str, Any], name: str, place: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise HttpProblem(400, f"{place}.{name} = {value!r:.60} is no text", param=f"{place}.{name}")
    check_text(f"{place}.{name}", value)
    return value
