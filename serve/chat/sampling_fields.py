"""The fields of a request that say how the engine writes."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StrictBool, StrictInt, StrictStr

from ragkit.records import Sampling
from ragkit.serve.api.http_errors import HttpProblem

# The JSON reader has joined those that come in pairs.
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_MOST_TOOLS = 128
# Python reads JSON some 900 deep, and what writes it again on the way to a model does so from deeper stacks.
_DEEPEST = 200
_INT32, _INT64 = 2**31 - 1, 2**63 - 1
_FORMATS = ("text", "json_object", "json_schema")


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


_FUNCTION_FIELDS: dict[str, type] = {"description": str, "parameters": dict, "strict": bool}

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Verbosity = Literal["low", "medium", "high"]
Stops = Annotated[tuple[StrictStr, ...], Field(max_length=4), BeforeValidator(_as_tuple)]
Penalty = Annotated[float, Field(ge=-2, le=2, strict=True)]
TokenCount = Annotated[StrictInt, Field(ge=1, le=_INT32)]


class SamplingFields(BaseModel):
    """What chat and responses share; names and ranges are OpenAI's."""

    temperature: Annotated[float, Field(ge=0, le=2, strict=True)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, strict=True)] | None = None
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    parallel_tool_calls: StrictBool | None = None


class VllmFields(BaseModel):
    """Fields of vLLM's own; engines that do not know them say so in the answer's record."""

    top_k: Annotated[StrictInt, Field(ge=-1, le=_INT32)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1, strict=True)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2, strict=True)] | None = None
    min_tokens: Annotated[StrictInt, Field(ge=0, le=_INT32)] | None = None
    ignore_eos: StrictBool | None = None
    stop_token_ids: Annotated[list[StrictInt], Field(max_length=64)] | None = None
    bad_words: Annotated[list[StrictStr], Field(max_length=64)] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    def extra(self) -> dict[str, Any] | None:
        """Those that were given."""
        given = {name: getattr(self, name) for name in VllmFields.model_fields}
        set_ = {name: value for name, value in given.items() if value is not None}
        for name, value in set_.items():
            check_text(name, value)
        return set_ or None


class ChatSamplingFields(SamplingFields, VllmFields):
    """What chat has beside."""

    max_tokens: TokenCount | None = None
    max_completion_tokens: TokenCount | None = None
    stop: Stops | None = None
    seed: Annotated[StrictInt, Field(ge=-_INT64, le=_INT64)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[StrictStr, Annotated[float, Field(ge=-100, le=100, strict=True)]] | None = None
    logprobs: StrictBool | None = None
    response_format: dict[str, Any] | None = None
    tools: Annotated[list[dict[str, Any]], Field(max_length=_MOST_TOOLS)] | None = None
    tool_choice: StrictStr | dict[str, Any] | None = None
    reasoning_effort: Effort | None = None
    verbosity: Verbosity | None = None

    def sampling(self, default: Sampling) -> Sampling:
        """Where the request says nothing, what `default` says.

        Raises:
            HttpProblem: 400, naming the field that makes no sense.
        """
        for stop in self.stop or ():
            check_text("stop", stop)
        if self.top_logprobs is not None and not self.logprobs:
            raise HttpProblem(400, "top_logprobs is set, and logprobs is not true", param="top_logprobs")
        tools = checked_tools(self.tools or [])
        return Sampling(
            max_tokens=self.max_completion_tokens or self.max_tokens or default.max_tokens,
            temperature=default.temperature if self.temperature is None else self.temperature,
            top_p=default.top_p if self.top_p is None else self.top_p,
            stop=default.stop if self.stop is None else tuple(stop for stop in self.stop if stop),
            seed=default.seed if self.seed is None else self.seed,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            logit_bias=_checked_bias(self.logit_bias),
            logprobs=bool(self.logprobs),
            top_logprobs=self.top_logprobs,
            response_format=checked_format(self.response_format, "response_format"),
            tools=tools,
            tool_choice=checked_choice(self.tool_choice, tools),
            parallel_tool_calls=self.parallel_tool_calls if tools else None,
            reasoning_effort=self.reasoning_effort,
            verbosity=self.verbosity,
            extra=self.extra(),
        )


def check_text(place: str, value: Any) -> None:
    r"""Refuse what no tokenizer, database, model's server or reply can hold. value: any JSON.

    That is "\ud800", half of a character; NaN and Infinity, which Python's JSON reader takes and JSON does not
    have; and what is nested deeper than 200.

    Raises:
        HttpProblem: 400.
    """
    if value is None:
        return
    if _is_deeper(value, _DEEPEST):
        raise HttpProblem(400, f"{place} is nested deeper than {_DEEPEST}", param=place)
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise HttpProblem(400, f"{place} holds a number that JSON cannot: {error}", param=place) from error
    if lone := _SURROGATE.search(text):
        raise HttpProblem(400, f"{place} holds the lone surrogate {lone.group()!r}, which is no text", param=place)


def _is_deeper(value: Any, most: int) -> bool:
    """Whether lists and objects lie in one another more than so many times."""
    level = [value]
    for _ in range(most + 1):
        if not level:
            return False
        level = [inner for one in level for inner in _members(one)]
    return bool(level)


def _members(value: Any) -> Collection[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def checked_tools(tools: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Tools in the form of OpenAI's chat, functions alone.

    Raises:
        HttpProblem: 400, naming the tool that is none.
    """
    names: set[str] = set()
    for place, tool in enumerate(tools):
        kind, function = tool.get("type"), tool.get("function")
        if kind != "function":
            known = "tools of type 'function' are supported"
            raise HttpProblem(400, f"tools[{place}].type = {kind!r:.60}; {known}", param="tools")
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str) or not _NAME.fullmatch(name):
            form = "1 to 64 of the characters a-z, A-Z, 0-9, '_', '.' and '-'"
            raise HttpProblem(400, f"tools[{place}].function.name = {name!r:.80} is not {form}", param="tools")
        if name in names:
            raise HttpProblem(400, f"tools[{place}]: there are two functions {name!r}", param="tools")
        for field, wanted in _FUNCTION_FIELDS.items():
            if not isinstance(function.get(field), wanted | None):
                raise HttpProblem(400, f"tools[{place}].function.{field} is no {wanted.__name__}", param="tools")
        names.add(name)
    check_text("tools", tools)
    return tuple(tools)


def checked_choice(choice: Any, tools: tuple[Mapping[str, Any], ...]) -> str | dict[str, Any] | None:
    """A choice that `tools` can meet, in the form of OpenAI's chat.

    Raises:
        HttpProblem: 400.
    """
    if choice is None or choice in ("none", "auto"):
        return choice if tools else None
    names = [tool["function"]["name"] for tool in tools]
    if choice == "required":
        if not names:
            raise HttpProblem(400, "tool_choice = 'required', and there are no tools", param="tool_choice")
        return "required"
    function = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    name = function.get("name") if isinstance(function, dict) else None
    if name not in names:
        known = ", ".join(names) or "none"
        raise HttpProblem(
            400,
            f"tool_choice = {choice!r:.120} is neither 'none', 'auto' nor 'required' and names no function of the "
            f"request; functions: {known}",
            param="tool_choice",
        )
    return {"type": "function", "function": {"name": name}}


def checked_format(value: dict[str, Any] | None, place: str) -> dict[str, Any] | None:
    """A form of reply, in that of OpenAI's chat; None for plain text.

    Raises:
        HttpProblem: 400.
    """
    if value is None or value == {"type": "text"}:
        return None
    if value.get("type") not in _FORMATS:
        known = ", ".join(_FORMATS)
        raise HttpProblem(400, f"{place}.type = {value.get('type')!r:.60}; known: {known}", param=place)
    schema = value.get("json_schema")
    if value["type"] == "json_schema" and not (
        isinstance(schema, dict) and isinstance(schema.get("name"), str) and isinstance(schema.get("schema"), dict)
    ):
        raise HttpProblem(400, f"{place}.json_schema needs a name and a schema that is an object", param=place)
    check_text(place, value)
    return value


def _checked_bias(bias: Mapping[str, float] | None) -> Mapping[str, float] | None:
    for token in bias or {}:
        if not (token.isascii() and token.isdigit()):
            raise HttpProblem(400, f"logit_bias: {token!r:.60} is no number of a token", param="logit_bias")
    return bias or None
