"""Requests and replies of OpenAI's chat API: ragkit's records as its JSON, and what servers send as records."""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Iterable
from typing import Any

from ragkit.pictures import image_url
from ragkit.records import ChatMessage, Sampling, TokenLogprob, ToolCall, ToolCallDelta

_FINISH_REASONS = ("length", "tool_calls", "content_filter")
# DeepSeek's name and vLLM's own.
_REASONING_FIELDS = ("reasoning_content", "reasoning")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# What OpenAI's API says for a probability of zero; JSON has no infinity.
_ZERO_LOGPROB = -9999.0


def sampling_json(sampling: Sampling, *, is_openai: bool = False) -> dict[str, Any]:
    """The request's fields, as arguments of the client; log-probabilities are `logprobs_json`.

    is_openai: OpenAI's own newer models refuse the name of max_tokens that every other server knows.
    """
    choosing = {
        "top_p": sampling.top_p,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "logit_bias": None if sampling.logit_bias is None else dict(sampling.logit_bias),
        "response_format": None if sampling.response_format is None else dict(sampling.response_format),
        "reasoning_effort": sampling.reasoning_effort,
        "verbosity": sampling.verbosity,
        "extra_body": None if sampling.extra is None else dict(sampling.extra),
    }
    # Servers refuse a choice among no tools.
    tools = {
        "tools": [dict(tool) for tool in sampling.tools],
        "tool_choice": sampling.tool_choice,
        "parallel_tool_calls": sampling.parallel_tool_calls,
    }
    given = choosing | tools if sampling.tools else choosing
    return {
        "max_completion_tokens" if is_openai else "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
    } | {name: value for name, value in given.items() if value is not None}


def logprobs_json(sampling: Sampling, *, wanted: bool = False) -> dict[str, Any]:
    """The fields that ask for log-probabilities; none where nobody wants them. wanted: by ragkit itself."""
    if not sampling.logprobs:
        return {"logprobs": True} if wanted else {}
    top = {} if sampling.top_logprobs is None else {"top_logprobs": sampling.top_logprobs}
    return {"logprobs": True, **top}


def message_json(message: ChatMessage) -> dict[str, Any]:
    """A turn of the conversation; text alone as a string, which every server reads."""
    whole: dict[str, Any] = {"role": message.role, "content": _content(message)}
    if message.tool_calls:
        whole["content"] = whole["content"] or None
        whole["tool_calls"] = [tool_call_json(call) for call in message.tool_calls]
    if message.role == "tool":
        whole["tool_call_id"] = message.tool_call_id
    return whole


def tool_call_json(call: ToolCall) -> dict[str, Any]:
    """A call as messages and replies hold it."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def field_of(value: Any, name: str) -> Any:
    """A field of a server's JSON; None where there is no such field, or no object that could have one."""
    return value.get(name) if isinstance(value, dict) else None


def finish_reason_of(choice: Any) -> str:
    """One that OpenAI's API knows; whatever else a server says is "stop"."""
    reason = field_of(choice, "finish_reason")
    return reason if reason in _FINISH_REASONS else "stop"


def reasoning_of(message: Any) -> str:
    """The thinking in a message or delta; "" where there is none."""
    for name in _REASONING_FIELDS:
        if text := text_of(field_of(message, name)):
            return text
    return ""


def tool_calls_of(message: Any) -> tuple[ToolCall, ...]:
    """The calls of functions in a whole message, of which each entry is one; those without a name are none."""
    calls = (call for call in calls_in(message) if call.name)
    return tuple(ToolCall(call.id or new_call_id(), call.name, call.arguments) for call in calls)


def calls_in(message: Any) -> list[ToolCallDelta]:
    """As the server sent and numbered them; by position where it gave no numbers."""
    calls = field_of(message, "tool_calls")
    found = []
    for position, call in enumerate(calls if isinstance(calls, list) else []):
        function, index = field_of(call, "function"), field_of(call, "index")
        if function is None:
            continue
        number = index if isinstance(index, int) and index >= 0 else position
        id_, name = text_of(field_of(call, "id")), text_of(field_of(function, "name"))
        found.append(ToolCallDelta(number, id_, name, _arguments(field_of(function, "arguments"))))
    return found


def new_call_id() -> str:
    """Clients answer a call by its id, and some servers give none."""
    return f"call_{uuid.uuid4().hex}"


def is_whole(arguments: str) -> bool:
    """Whether a call's arguments are a JSON object to its end."""
    if not arguments.rstrip().endswith("}"):
        return False
    try:
        return isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        return False


def joined_calls(deltas: Iterable[ToolCallDelta]) -> tuple[ToolCall, ...]:
    """The calls that the pieces make, by their numbers; those that never got a name are none."""
    calls: dict[int, ToolCall] = {}
    for delta in deltas:
        before = calls.get(delta.index, ToolCall("", "", ""))
        calls[delta.index] = ToolCall(
            before.id or delta.id, before.name or delta.name, before.arguments + delta.arguments
        )
    return tuple(calls[index] for index in sorted(calls) if calls[index].name)


def token_logprobs_of(choice: Any) -> tuple[TokenLogprob, ...] | None:
    """None where the server sent none, as those do that cannot, or sent something else."""
    content = field_of(field_of(choice, "logprobs"), "content")
    if not isinstance(content, list):
        return None
    tokens = [_token(entry) for entry in content]
    known = tuple(token for token in tokens if token is not None)
    return known if len(known) == len(tokens) else None


def _arguments(sent: Any) -> str:
    """Some servers send the object itself in place of its text."""
    return text_of(json.dumps(sent, ensure_ascii=False) if isinstance(sent, dict) else sent)


def _token(entry: Any, *, with_top: bool = True) -> TokenLogprob | None:
    token, logprob, bytes_ = (field_of(entry, name) for name in ("token", "logprob", "bytes"))
    if not isinstance(logprob, int | float) or isinstance(logprob, bool):
        return None
    top = field_of(entry, "top_logprobs") if with_top else None
    likely = [_token(other, with_top=False) for other in top] if isinstance(top, list) else []
    octets = isinstance(bytes_, list) and all(isinstance(b, int) and 0 <= b < 256 for b in bytes_)
    return TokenLogprob(
        text_of(token),
        float(logprob) if math.isfinite(logprob) else _ZERO_LOGPROB,
        tuple(bytes_) if octets and isinstance(bytes_, list) else None,
        tuple(other for other in likely if other is not None),
    )


def text_of(value: Any) -> str:
    """A server's text; "" for what is none. Halves of characters, which embedders do not read, become U+FFFD."""
    return _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else ""


def _content(message: ChatMessage) -> str | list[dict[str, Any]]:
    """With images the parts of OpenAI's API, images first."""
    if not message.images:
        return message.content
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": image_url(image)}} for image in message.images
    ]
    return [*parts, {"type": "text", "text": message.content}]
