"""A chat request as OpenAI's clients send it, checked and turned into a question."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from ragkit.filter_json import filter_from_json
from ragkit.filter_text import parse_filter
from ragkit.filters import Condition
from ragkit.records import AskRequest, ChatMessage, Filter, Sampling
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.api.image_url import image_of_url, pixels_of_url

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

# Fields of OpenAI's API that do not change what an answer says.
_HARMLESS = frozenset(
    {
        "metadata",
        "moderation",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
        "verbosity",
    }
)
# Fields that would change the answer and are not supported yet, with the values that change nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "audio": (None,),
    "frequency_penalty": (None, 0),
    "function_call": (None, "none", "auto"),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "modalities": (None, ["text"]),
    "n": (None, 1),
    "presence_penalty": (None, 0),
    "response_format": (None, {"type": "text"}),
    "tool_choice": (None, "none", "auto"),
    "tools": (None, []),
    "top_logprobs": (None, 0),
    "web_search_options": (None,),
}
# All images of a request, decoded, at three bytes a pixel.
_MOST_PIXELS = 150_000_000
# The JSON reader has joined those that come in pairs.
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class ImageUrl(BaseModel):
    """An image as a data URI; `detail` has no effect, because the engine's own limit decides."""

    url: StrictStr
    detail: StrictStr | None = None


class ContentPart(BaseModel):
    """A piece of a message's content: text or an image."""

    type: StrictStr
    text: StrictStr = ""
    image_url: ImageUrl | None = None


class ApiMessage(BaseModel):
    """One message; content is text or a list of parts."""

    role: Literal["system", "developer", "user", "assistant"]
    content: StrictStr | list[ContentPart] | None = None


class StreamOptions(BaseModel):
    """What a stream holds beside the text."""

    include_usage: StrictBool = False


class ChatBody(BaseModel):
    """The fields that are read; `ask_request` judges the others, which are in `model_extra`.

    filters: not of OpenAI's chat, but in the form that its vector stores take, or in ragkit's text form.
    """

    model_config = ConfigDict(extra="allow")

    model: StrictStr
    messages: list[ApiMessage] = Field(min_length=1)
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, strict=True)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, strict=True)] | None = None
    stop: Annotated[tuple[StrictStr, ...], Field(max_length=4), BeforeValidator(_as_tuple)] | None = None
    seed: StrictInt | None = None
    filters: Any = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk of usage."""
        return self.stream_options is not None and self.stream_options.include_usage


def ask_request(body: ChatBody, default: Sampling) -> AskRequest:
    """The last user message is the question, what stands before it the history. It decodes images: not in a loop.

    Raises:
        HttpProblem: 400, naming the field that is not supported, not known, no text or no image.
        FilterError: `filters` is no filter.
    """
    _check_text("model", body.model)
    for stop in body.stop or ():
        _check_text("stop", stop)
    _check_extra(body.model_extra or {})
    _check_pixels(body.messages)
    messages = [_message(i, message) for i, message in enumerate(body.messages)]
    asked = max((i for i, message in enumerate(messages) if message.role == "user"), default=-1)
    if asked < 0 or not messages[asked].content.strip():
        there = "it has images and no text" if asked >= 0 and messages[asked].images else "there is none"
        raise HttpProblem(400, f"the last user message is the question, and {there}", param="messages")
    behind = [message for message in messages[asked + 1 :] if message.role == "system"]
    history = tuple(messages[:asked] + behind)
    question = messages[asked]
    where = None if body.filters is None else Filter(condition=_condition(body.filters))
    return AskRequest(question.content, history, _sampling(body, default), where, question.images)


def _condition(filters: object) -> Condition:
    return parse_filter(filters) if isinstance(filters, str) else filter_from_json(filters)


def _check_extra(extra: dict[str, Any]) -> None:
    for name, value in extra.items():
        if name in _NEUTRAL:
            if value not in _NEUTRAL[name]:
                raise HttpProblem(400, f"{name} = {value!r} is not supported", param=name)
        elif name not in _HARMLESS:
            near = difflib.get_close_matches(name, [*ChatBody.model_fields, *_NEUTRAL, *_HARMLESS], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise HttpProblem(400, f"unknown field {name!r}{hint}", param=name, code="unknown_parameter")


def _message(index: int, message: ApiMessage) -> ChatMessage:
    role: Literal["system", "user", "assistant"] = "system" if message.role == "developer" else message.role
    place = f"messages[{index}].content"
    parts = message.content if isinstance(message.content, list) else [_text_part(message.content or "")]
    content = "\n".join(part.text for part in parts if part.type == "text")
    _check_text(place, content)
    images = [_image(f"{place}[{i}]", part, role) for i, part in enumerate(parts) if part.type != "text"]
    return ChatMessage(role, content, tuple(images))


def _text_part(text: str) -> ContentPart:
    return ContentPart(type="text", text=text)


def _check_text(place: str, text: str) -> None:
    r"""JSON's "\ud800" is half of a character, which no tokenizer, database or reply can hold."""
    if lone := _SURROGATE.search(text):
        raise HttpProblem(400, f"{place} holds the lone surrogate {lone.group()!r}, which is no text", param=place)


def _image(place: str, part: ContentPart, role: str) -> Image:
    if part.type != "image_url":
        known = "only text and image_url are supported"
        raise HttpProblem(400, f"{place} has a part of type {part.type!r}; {known}", param=place)
    if role != "user":
        raise HttpProblem(
            400, f"{place} is an image in a message of {role!r}; only users show images", param=place
        )
    if part.image_url is None:
        raise HttpProblem(400, f"{place} has no image_url", param=place)
    return _read(image_of_url, part.image_url.url, place)


def _read(read: Callable[[str], T], url: str, place: str) -> T:
    try:
        return read(url)
    except ValueError as error:
        raise HttpProblem(400, f"{place}.image_url.url: {error}", param=place, code="invalid_image") from error


def _check_pixels(messages: list[ApiMessage]) -> None:
    """Before any image is decoded: a file of a few kilobytes can hold a gigabyte of one colour."""
    number, pixels = 0, 0
    for index, message in enumerate(messages):
        parts = message.content if isinstance(message.content, list) else []
        for place, part in enumerate(parts):
            if part.image_url is not None:
                number += 1
                pixels += _read(pixels_of_url, part.image_url.url, f"messages[{index}].content[{place}]")
    if pixels > _MOST_PIXELS:
        raise HttpProblem(
            400,
            f"the {number} images of the request have {pixels} pixels; at most {_MOST_PIXELS} are read: "
            "send fewer or smaller ones",
            param="messages",
            code="invalid_image",
        )


def _sampling(body: ChatBody, default: Sampling) -> Sampling:
    max_tokens = body.max_completion_tokens or body.max_tokens or default.max_tokens
    return Sampling(
        max_tokens=max_tokens,
        temperature=default.temperature if body.temperature is None else body.temperature,
        top_p=default.top_p if body.top_p is None else body.top_p,
        stop=default.stop if body.stop is None else tuple(stop for stop in body.stop if stop),
        seed=default.seed if body.seed is None else body.seed,
    )
