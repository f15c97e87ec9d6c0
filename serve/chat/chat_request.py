"""A chat request as OpenAI's clients send it, checked and turned into a question."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from ragkit.records import AskRequest, ChatMessage, Sampling, ToolCall
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.chat.conversation import ask_of
from ragkit.serve.chat.known_fields import check_extra
from ragkit.serve.chat.request_images import GivenImages
from ragkit.serve.chat.retrieval_fields import RetrievalFields, where_of
from ragkit.serve.chat.sampling_fields import ChatSamplingFields, check_text

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_CHOICES = 16
# Kinds of parts whose text stands in a field of that name.
_TEXTS = frozenset({"text", "refusal"})
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "audio": (None,),
    "function_call": (None, "none", "auto"),
    "functions": (None, []),
    "modalities": (None, ["text"]),
    "web_search_options": (None,),
}


class ImageUrl(BaseModel):
    """An image as a data URI; `detail` has no effect, because the engine's own limit decides."""

    url: StrictStr
    detail: StrictStr | None = None


class ContentPart(BaseModel):
    """A piece of a message's content: text, an image, or what an assistant said instead of an answer."""

    type: StrictStr
    text: StrictStr | None = None
    refusal: StrictStr | None = None
    image_url: ImageUrl | None = None


class CalledFunction(BaseModel):
    """A function that a model called. arguments: JSON, as the model wrote it."""

    name: StrictStr
    arguments: StrictStr = ""


class ApiToolCall(BaseModel):
    """A call of a tool in an assistant's message."""

    id: Annotated[StrictStr, Field(min_length=1, max_length=200)]
    type: Literal["function"] = "function"
    function: CalledFunction


class ApiMessage(BaseModel):
    """One message; content is text or a list of parts. refusal: of the assistant, as clients send it back."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: StrictStr | list[ContentPart] | None = None
    refusal: StrictStr | None = None
    tool_calls: list[ApiToolCall] | None = None
    tool_call_id: StrictStr | None = None


class StreamOptions(BaseModel):
    """What a stream holds beside the text."""

    include_usage: StrictBool = False


class ChatBody(ChatSamplingFields):
    """The fields that are read; `ask_request` judges the others, which are in `model_extra`.

    filters: not of OpenAI's chat, but in the form that its vector stores take, or in ragkit's text form.
    ragkit: further wishes about the search.
    """

    model_config = ConfigDict(extra="allow")

    model: StrictStr
    messages: list[ApiMessage] = Field(min_length=1)
    n: Annotated[StrictInt, Field(ge=1, le=MOST_CHOICES)] | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    filters: Any = None
    ragkit: RetrievalFields | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a chunk of usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def is_plain(self) -> bool:
        """Whether it has neither images nor filters: nothing to decode, to fetch or to look up."""
        pieces = (part for message in self.messages for part in _parts(message))
        return (
            self.filters is None
            and self.ragkit is None
            and all(part.type in _TEXTS and part.image_url is None for part in pieces)
        )

    @property
    def number(self) -> int:
        """How many answers are wanted."""
        return self.n or 1


def ask_request(body: ChatBody, default: Sampling, images: GivenImages) -> AskRequest:
    """The last user message is the question, what stands before it the history. On an event loop only if plain.

    images: takes those of the request, for which blanks stand in the result.

    Raises:
        HttpProblem: 400, naming the field that is not supported, not known, no text or no image.
        FilterError: `filters` is no filter.
    """
    check_text("model", body.model)
    check_extra(body.model_extra or {}, ChatBody.model_fields, _NEUTRAL)
    messages = [_message(i, message, images) for i, message in enumerate(body.messages)]
    images.check_pixels()
    ask = ask_of(messages, body.sampling(default), where_of(body.filters, body.ragkit))
    if body.ragkit is None:
        return ask
    return replace(ask, num_passages=body.ragkit.num_passages, min_score=body.ragkit.min_score)


def _message(index: int, message: ApiMessage, given: GivenImages) -> ChatMessage:
    role: Literal["system", "user", "assistant", "tool"] = (
        "system" if message.role == "developer" else message.role
    )
    place = f"messages[{index}].content"
    parts = _parts(message)
    said = _TEXTS if role == "assistant" else {"text"}
    content = "\n".join(_text(f"{place}[{i}]", part) for i, part in enumerate(parts) if part.type in said)
    check_text(place, content)
    images = [_image(f"{place}[{i}]", part, role, given) for i, part in enumerate(parts) if part.type not in said]
    return ChatMessage(role, content, tuple(images), _calls(index, message), _call_id(index, message))


def _parts(message: ApiMessage) -> list[ContentPart]:
    """Its pieces; a content that is one text is one of them."""
    content = message.content
    parts = content if isinstance(content, list) else [ContentPart(type="text", text=content or "")]
    if message.role != "assistant" or not message.refusal:
        return parts
    said = [part for part in parts if part.text or isinstance(content, list)]
    return [*said, ContentPart(type="refusal", refusal=message.refusal)]


def _text(place: str, part: ContentPart) -> str:
    text = part.refusal if part.type == "refusal" else part.text
    if text is None:
        raise HttpProblem(400, f"{place} has no {part.type}", param=place)
    return text


def _calls(index: int, message: ApiMessage) -> tuple[ToolCall, ...]:
    calls = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    place = f"messages[{index}].tool_calls"
    if calls and message.role != "assistant":
        raise HttpProblem(400, f"{place} in a message of {message.role!r}; only assistants call", param=place)
    check_text(place, calls)
    return tuple(ToolCall(*call) for call in calls)


def _call_id(index: int, message: ApiMessage) -> str:
    if message.role != "tool":
        return ""
    place = f"messages[{index}].tool_call_id"
    if not message.tool_call_id:
        raise HttpProblem(400, f"{place} is missing: which call's result is it?", param=place)
    check_text(place, message.tool_call_id)
    return message.tool_call_id


def _image(place: str, part: ContentPart, role: str, given: GivenImages) -> Image:
    if part.type != "image_url":
        known = "only text and image_url are supported"
        raise HttpProblem(400, f"{place} has a part of type {part.type!r:.60}; {known}", param=place)
    if role != "user":
        raise HttpProblem(
            400, f"{place} is an image in a message of {role!r}; only users show images", param=place
        )
    if part.image_url is None:
        raise HttpProblem(400, f"{place} has no image_url", param=place)
    return given.blank(part.image_url.url, place)
