"""A request to /v1/responses, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from ragkit.field_problems import explain
from ragkit.records import Sampling
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.chat.known_fields import HARMLESS, check_extra
from ragkit.serve.chat.retrieval_fields import RetrievalFields
from ragkit.serve.chat.sampling_fields import (
    Effort,
    SamplingFields,
    TokenCount,
    Verbosity,
    VllmFields,
    check_text,
    checked_choice,
    checked_format,
    checked_tools,
)
from ragkit.serve.stores.rules import CheckedMetadata, RankingOptions

RESULTS, LOGPROBS = "file_search_call.results", "message.output_text.logprobs"
# What can be asked for of tools that are not here is never there.
_INCLUDABLE = (
    RESULTS,
    LOGPROBS,
    "reasoning.encrypted_content",
    "message.input_image.image_url",
    "web_search_call.results",
    "web_search_call.action.sources",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
)
_HARMLESS = HARMLESS | {"context_management", "stream_options"}
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "background": (None, False),
    "background_options": (None,),
    "conversation": (None,),
    "prompt": (None,),
    "image": (None, {}),
    "access_programs": (None,),
}
_MOST_STORES = 16
_SUMMARIES = ("summary", "generate_summary")
Summary = Literal["auto", "concise", "detailed"]


class FileSearch(BaseModel):
    """The tool file_search. filters: `filter_from_json` judges them."""

    model_config = ConfigDict(extra="forbid")

    type: StrictStr
    vector_store_ids: Annotated[list[StrictStr], Field(min_length=1, max_length=_MOST_STORES)]
    filters: Any = None
    max_num_results: Annotated[StrictInt, Field(ge=1, le=50)] | None = None
    ranking_options: RankingOptions | None = None


class TextConfig(BaseModel):
    """format: as responses have it, a schema's fields beside its type. verbosity is passed to the model."""

    format: dict[str, Any] | None = None
    verbosity: Verbosity | None = None


class Reasoning(BaseModel):
    """effort is passed to the model; its thinking is given whole, where it tells it, and no summary is made."""

    effort: Effort | None = None
    summary: Summary | None = None
    generate_summary: Summary | None = None


class ResponsesBody(SamplingFields, VllmFields):
    """The fields that are read; `wishes_of` judges the others, which are in `model_extra`.

    Those from max_tool_calls on change nothing; the response says them again.
    """

    model_config = ConfigDict(extra="allow")

    model: StrictStr | None = None
    input: StrictStr | list[dict[str, Any]] = Field(min_length=1)
    instructions: StrictStr | None = None
    previous_response_id: StrictStr | None = None
    store: StrictBool | None = None
    stream: StrictBool | None = None
    include: list[StrictStr] | None = None
    max_output_tokens: TokenCount | None = None
    metadata: CheckedMetadata = None
    reasoning: Reasoning | None = None
    text: TextConfig | None = None
    tools: Annotated[list[dict[str, Any]], Field(max_length=128)] | None = None
    tool_choice: StrictStr | dict[str, Any] | None = None
    filters: Any = None
    ragkit: RetrievalFields | None = None
    max_tool_calls: StrictInt | None = None
    prompt_cache_key: StrictStr | None = None
    safety_identifier: StrictStr | None = None
    service_tier: StrictStr | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: StrictStr | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a request asks for beside its input. unheeded: fields of it that no corpus or engine here heeds."""

    sampling: Sampling
    file_search: FileSearch | None
    with_results: bool
    unheeded: tuple[str, ...]


def wishes_of(body: ResponsesBody, default: Sampling) -> Wishes:
    """Check everything but the input.

    Raises:
        HttpProblem: 400, naming the field that is not supported, not known or makes no sense.
    """
    check_extra(body.model_extra or {}, ResponsesBody.model_fields, _NEUTRAL, _HARMLESS)
    for name in ("model", "instructions", "previous_response_id", "metadata"):
        check_text(name, getattr(body, name))
    for place, wanted in enumerate(body.include or ()):
        if wanted not in _INCLUDABLE:
            known = ", ".join(_INCLUDABLE)
            raise HttpProblem(400, f"include[{place}] = {wanted!r:.80}; known: {known}", param="include")
    functions, searches = _parted(body.tools or [])
    if len(searches) > 1:
        raise HttpProblem(400, "there are two tools file_search; name all stores in one", param="tools")
    search = _file_search(*searches[0]) if searches else None
    if search is not None and (body.filters is not None or body.ragkit is not None):
        raise HttpProblem(
            400, "with the tool file_search, say what to search in it, not in filters or ragkit", param="tools"
        )
    sampling = _sampling(body, functions, default, has_search=bool(searches))
    return Wishes(sampling, search, RESULTS in (body.include or ()), tuple(_unheeded(body, search)))


def _unheeded(body: ResponsesBody, search: FileSearch | None) -> list[str]:
    ranking = search.ranking_options if search else None
    summaries = [f"reasoning.{name}" for name in _SUMMARIES if getattr(body.reasoning, name, None) is not None]
    return summaries + ([f"file_search.{name}" for name in ranking.unheeded] if ranking else [])


def _sampling(
    body: ResponsesBody, functions: list[dict[str, Any]], default: Sampling, *, has_search: bool
) -> Sampling:
    effort = body.reasoning.effort if body.reasoning else None
    tools = checked_tools(functions)
    return Sampling(
        max_tokens=body.max_output_tokens or default.max_tokens,
        temperature=default.temperature if body.temperature is None else body.temperature,
        top_p=default.top_p if body.top_p is None else body.top_p,
        stop=default.stop,
        seed=default.seed,
        logprobs=LOGPROBS in (body.include or []) or bool(body.top_logprobs),
        top_logprobs=body.top_logprobs or None,
        response_format=_format(body.text.format if body.text else None),
        tools=tools,
        tool_choice=_choice(body.tool_choice, tools, has_search=has_search),
        parallel_tool_calls=body.parallel_tool_calls if tools else None,
        reasoning_effort=effort,
        verbosity=body.text.verbosity if body.text else None,
        extra=body.extra(),
    )


def _parted(tools: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[tuple[int, dict[str, Any]]]]:
    """Functions, in the form of chat, and searches with their places."""
    functions, searches = [], []
    for place, tool in enumerate(tools):
        if tool.get("type") == "file_search":
            searches.append((place, tool))
        elif tool.get("type") == "function":
            names = ("name", "description", "parameters", "strict")
            inner = {name: tool[name] for name in names if tool.get(name) is not None}
            functions.append({"type": "function", "function": inner})
        else:
            known = "file_search and function"
            raise HttpProblem(
                400, f"tools[{place}].type = {tool.get('type')!r:.60}; there are {known}", param="tools"
            )
    return functions, searches


def _file_search(place: int, tool: dict[str, Any]) -> FileSearch:
    from pydantic import ValidationError

    try:
        search = FileSearch.model_validate(tool)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, (f"tools[{place}]", *first["loc"])))
        told = explain({**first, "loc": (f"tools[{place}]", *first["loc"])}, FileSearch, "field")
        code = "unknown_parameter" if first["type"] == "extra_forbidden" else None
        raise HttpProblem(400, told, param=where, code=code) from error
    check_text("tools", search.vector_store_ids)
    return search


def _format(given: dict[str, Any] | None) -> dict[str, Any] | None:
    """In the form of chat, where a schema's fields stand in an object of their own."""
    if given is None or given.get("type") != "json_schema":
        return checked_format(given, "text.format")
    schema = {name: value for name, value in given.items() if name != "type" and value is not None}
    return checked_format({"type": "json_schema", "json_schema": schema}, "text.format")


def _choice(given: Any, tools: tuple[dict[str, Any], ...], *, has_search: bool) -> str | dict[str, Any] | None:
    """In the form of chat. Every answer is searched for, so that file_search is always called."""
    if isinstance(given, dict) and given.get("type") == "function" and "name" in given:
        given = {"type": "function", "function": {"name": given["name"]}}
    is_met = has_search and given in ("required", {"type": "file_search"})
    return checked_choice(None if is_met else given, tools)
