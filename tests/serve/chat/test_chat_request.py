from __future__ import annotations

import asyncio
import base64
import io
import json
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from ragkit.pictures import image_url
from ragkit.records import AskRequest, ChatMessage, Sampling, ToolCall
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.chat.chat_request import ChatBody, ask_request
from ragkit.serve.chat.pixel_budget import PixelBudget
from ragkit.serve.chat.request_images import GivenImages
from tests.serve.picture_house import SeeingEngine

USER_PART = {"type": "text", "text": "this?"}
USER = {"role": "user", "content": "How deep?"}
DEFAULT = Sampling(max_tokens=99, temperature=0.25)


def parse(**fields: Any) -> AskRequest:
    body, images = (
        ChatBody.model_validate({"model": "papers", "messages": [USER], **fields}),
        GivenImages("messages"),
    )
    ask = ask_request(body, DEFAULT, images)
    images.choose(ask, lambda: SeeingEngine([]))
    return asyncio.run(images.decoded(PixelBudget())).in_question(ask)


def schema(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": fields}}


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth else {}


def test_the_last_user_message_is_the_question() -> None:
    request = parse(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "Which lake?"},
            {"role": "assistant", "content": "Ohm."},
            {"role": "user", "content": [{"type": "text", "text": "How"}, {"type": "text", "text": "deep?"}]},
            {"role": "system", "content": "In metres."},
        ]
    )
    assert request.question == "How\ndeep?"
    assert request.history == (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "Which lake?"),
        ChatMessage("assistant", "Ohm."),
        ChatMessage("system", "In metres."),
    )


def test_a_text_may_be_empty_and_parts_may_have_further_fields() -> None:
    cached = {**USER_PART, "cache_control": {"type": "ephemeral"}, "refusal": None}
    asked = parse(messages=[{"role": "user", "content": [{"type": "text", "text": ""}, cached]}])
    assert asked.question == "\nthis?"


def test_a_refusal_is_what_the_assistant_said() -> None:
    refused = {"role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot."}]}
    assert parse(messages=[USER, refused, USER]).history[1] == ChatMessage("assistant", "I cannot.")
    sent_back = {"role": "assistant", "content": None, "refusal": "I cannot.", "annotations": []}
    assert parse(messages=[USER, sent_back, USER]).history[1] == ChatMessage("assistant", "I cannot.")
    both = {**sent_back, "content": "It is deep."}
    assert parse(messages=[USER, both, USER]).history[1] == ChatMessage("assistant", "It is deep.\nI cannot.")
    assert parse(messages=[{**USER, "refusal": "x"}]).question == USER["content"]
    with pytest.raises(HttpProblem, match="a part of type 'refusal'"):
        parse(messages=[{"role": "user", "content": refused["content"]}])


def test_sampling_is_the_requests_or_else_the_servers() -> None:
    assert parse().sampling == DEFAULT
    assert parse(temperature=0, top_p=0.5, stop="x", seed=3, max_tokens=7).sampling == Sampling(
        7, 0, 0.5, ("x",), 3
    )
    assert parse(max_completion_tokens=5, max_tokens=7, stop=["a", "", "b"]).sampling == Sampling(
        5, 0.25, None, ("a", "b")
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1, "tools": [], "tool_choice": "auto", "logprobs": False, "logit_bias": {}},
        {"user": "u", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "parallel_tool_calls": True},
        {"response_format": {"type": "text"}, "modalities": ["text"], "stream_options": None, "stop": None},
    ],
)
def test_fields_that_change_nothing_are_accepted(fields: dict[str, Any]) -> None:
    assert parse(**fields).question == "How deep?"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("functions", [{"name": "f"}]),
        ("function_call", {"name": "f"}),
        ("web_search_options", {}),
        ("audio", {"voice": "x"}),
        ("modalities", ["audio"]),
    ],
)
def test_fields_that_cannot_be_met_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(HttpProblem, match=f"{field} = .* is not supported") as caught:
        parse(**{field: value})
    assert (caught.value.status, caught.value.param) == (400, field)


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "depth", "schema": {"type": "object"}}}


def test_every_sampling_field_reaches_the_engine() -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    sampling = parse(
        frequency_penalty=-2,
        presence_penalty=1.5,
        logit_bias={"17": -100},
        logprobs=True,
        top_logprobs=3,
        response_format=SCHEMA,
        tools=[TOOL],
        tool_choice={**named, "more": 1},
        parallel_tool_calls=False,
        reasoning_effort="low",
        verbosity="high",
        top_k=40,
        min_p=0.1,
        repetition_penalty=1.1,
        chat_template_kwargs={"enable_thinking": False},
    ).sampling
    assert sampling == Sampling(
        99,
        0.25,
        frequency_penalty=-2,
        presence_penalty=1.5,
        logit_bias={"17": -100},
        logprobs=True,
        top_logprobs=3,
        response_format=SCHEMA,
        tools=(TOOL,),
        tool_choice=named,
        parallel_tool_calls=False,
        reasoning_effort="low",
        verbosity="high",
        extra={
            "top_k": 40,
            "min_p": 0.1,
            "repetition_penalty": 1.1,
            "chat_template_kwargs": {"enable_thinking": False},
        },
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"top_logprobs": 2}, "top_logprobs is set, and logprobs is not true"),
        ({"logit_bias": {"the": 1}}, "'the' is no number of a token"),
        ({"response_format": {"type": "xml"}}, "response_format.type = 'xml'; known: text, json_object"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "needs a name and a schema"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, r"tools\[0\].type = 'custom'"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "'a b' is not 1 to 64"),
        ({"tools": [{"type": "function"}]}, "name = None"),
        ({"tools": [TOOL, TOOL]}, "two functions 'weather'"),
        ({"tools": [{"type": "function", "function": {"name": "f", "description": "\ud800"}}]}, "lone surrogate"),
        ({"tool_choice": "required"}, "there are no tools"),
        ({"tools": [TOOL], "tool_choice": "always"}, "names no function of the request; functions: weather"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}}, "names no function"),
        ({"filters": "a = 1", "ragkit": {"filters": "a = 2"}}, "send one of them"),
        ({"ragkit": {"documents": ["\udc00"]}}, "lone surrogate"),
        ({"chat_template_kwargs": {"a": [float("nan")]}}, "chat_template_kwargs holds a number that JSON cannot"),
        (
            {"response_format": schema({"maximum": float("inf")})},
            "response_format holds a number that JSON cannot",
        ),
        (
            {"tools": [{**TOOL, "function": {"name": "f", "parameters": nested(201)}}]},
            "tools is nested deeper than",
        ),
    ],
)
def test_fields_that_make_no_sense_say_why(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(HttpProblem, match=message) as caught:
        parse(**fields)
    assert caught.value.status == 400


def test_schemas_may_be_nested() -> None:
    assert parse(response_format=schema(nested(190))).sampling.response_format is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 0},
        {"n": 17},
        {"n": "2"},
        {"max_tokens": 2**31},
        {"seed": 2**63},
        {"frequency_penalty": 2.5},
        {"top_logprobs": 21, "logprobs": True},
        {"logit_bias": {"1": 101}},
        {"verbosity": "loud"},
        {"top_k": 1.5},
        {"ragkit": {"num_passages": 0}},
        {"ragkit": {"num_passages": 1001}},
        {"ragkit": {"min_score": float("inf")}},
        {"ragkit": {"passages": 3}},
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse(**fields)


def test_wishes_about_the_search() -> None:
    request = parse(ragkit={"num_passages": 3, "min_score": 0.5, "documents": ["b", "a"], "filters": "year > 3"})
    assert (request.num_passages, request.min_score) == (3, 0.5)
    assert request.where is not None
    assert request.where.documents == {"a", "b"}
    assert request.where.condition == parse(filters={"type": "gt", "key": "year", "value": 3}).where.condition


def test_calls_and_results_of_tools_stay_behind_the_question() -> None:
    assistant = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "Rain."}]}
    call = ToolCall("call_1", "weather", "{}")
    request = parse(messages=[USER, assistant, result])
    assert (request.question, request.history) == ("How deep?", ())
    assert request.after == (
        ChatMessage("assistant", "", tool_calls=(call,)),
        ChatMessage("tool", "Rain.", tool_call_id="call_1"),
    )
    earlier = parse(messages=[USER, assistant, result, {"role": "assistant", "content": "It rains."}, USER])
    assert [message.role for message in earlier.history] == ["user", "assistant", "tool", "assistant"]
    assert earlier.after == ()


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([{"role": "tool", "tool_call_id": "x", "content": ""}], "'x' follows no message with that call"),
        ([{"role": "assistant", "tool_calls": [CALL]}], "missing: call_1"),
        ([{"role": "assistant", "tool_calls": [CALL]}, USER], "missing: call_1"),
        ([{"role": "tool", "content": "x"}], "tool_call_id is missing"),
        ([{"role": "user", "content": "x", "tool_calls": [CALL]}], "only assistants call"),
    ],
)
def test_calls_without_results_and_results_without_calls(messages: list[Any], message: str) -> None:
    with pytest.raises(HttpProblem, match=message) as caught:
        parse(messages=[USER, *messages])
    assert caught.value.status == 400


def test_a_misspelt_field_is_named_with_its_neighbour() -> None:
    with pytest.raises(HttpProblem, match="unknown field 'temprature'; did you mean 'temperature'"):
        parse(temprature=1)


def test_a_pair_of_surrogates_is_a_character() -> None:
    content = json.loads(r'"\ud83d\ude00"')
    assert parse(messages=[{"role": "user", "content": content}]).question == "😀"


def image_part(image: Image.Image, **fields: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": image_url(image), **fields}}


RED, BLUE = Image.new("RGB", (4, 2), (200, 0, 0)), Image.new("RGB", (3, 3), (0, 0, 200))


def test_images_of_users_are_read() -> None:
    request = parse(
        messages=[
            {"role": "user", "content": [image_part(BLUE), {"type": "text", "text": "Look."}]},
            {"role": "assistant", "content": "Blue."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "And"}, image_part(RED, detail="high"), USER_PART],
            },
        ]
    )
    assert request.question == "And\nthis?"
    assert [image.tobytes() for image in request.images] == [RED.tobytes()]
    assert [(m.content, [image.size for image in m.images]) for m in request.history] == [
        ("Look.", [(3, 3)]),
        ("Blue.", []),
    ]


@pytest.mark.parametrize(
    ("role", "part", "message"),
    [
        ("user", {"type": "input_audio"}, "has a part of type 'input_audio'; only text and image_url"),
        ("user", {"type": "image_url"}, r"messages\[0\].content\[0\] has no image_url"),
        ("user", {"type": "text", "txt": "lost"}, r"messages\[0\].content\[0\] has no text"),
        ("user", {"type": "text", "text": None}, r"messages\[0\].content\[0\] has no text"),
        ("user", {"type": "text", "refusal": "No."}, r"messages\[0\].content\[0\] has no text"),
        ("assistant", {"type": "refusal"}, r"messages\[0\].content\[0\] has no refusal"),
        ("system", image_part(RED), "is an image in a message of 'system'; only users show images"),
        ("user", {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, "is no data URI"),
        ("user", {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, "neither PNG"),
    ],
)
def test_other_parts_are_refused(role: str, part: dict[str, Any], message: str) -> None:
    with pytest.raises(HttpProblem, match=message) as caught:
        parse(messages=[{"role": role, "content": [part]}, USER])
    assert (caught.value.status, caught.value.param) == (400, "messages[0].content[0]")


def test_an_image_alone_is_no_question() -> None:
    expected = "the last user message is the question, and it has images and no text; say in words what is asked"
    with pytest.raises(HttpProblem, match=expected) as caught:
        parse(messages=[{"role": "user", "content": [image_part(RED)]}])
    assert (caught.value.status, caught.value.param) == (400, "messages")


def test_all_images_together_are_bounded_before_any_is_decoded() -> None:
    held = io.BytesIO()
    Image.new("1", (7000, 7000)).save(held, "PNG")
    # Cut off: to decode it would be another error.
    url = f"data:image/png;base64,{base64.b64encode(held.getvalue()[:500]).decode()}"
    parts = [USER_PART, *[{"type": "image_url", "image_url": {"url": url}}] * 4]
    with pytest.raises(HttpProblem, match="the 4 images of the request have 196000000 pixels") as caught:
        parse(messages=[{"role": "user", "content": parts}])
    assert (caught.value.status, caught.value.param) == (400, "messages")


@pytest.mark.parametrize(
    "messages", [[{"role": "system", "content": "Be brief."}], [{"role": "user", "content": " "}]]
)
def test_there_must_be_a_question(messages: list[Any]) -> None:
    with pytest.raises(HttpProblem, match="the last user message is the question"):
        parse(messages=messages)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": 5},
        {"messages": []},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"temperature": "hot"},
        {"temperature": 2.5},
        {"top_p": 0},
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"stream": "yes"},
        {"stop": ["a"] * 5},
        {"seed": "1"},
    ],
)
def test_wrong_types_and_values_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse(**fields)


@pytest.mark.parametrize(("field", "value"), [("description", 5), ("parameters", False), ("strict", "yes")])
def test_functions_have_fields_of_the_right_types(field: str, value: Any) -> None:
    with pytest.raises(HttpProblem, match=rf"tools\[0\].function.{field} is no "):
        parse(tools=[{"type": "function", "function": {"name": "f", field: value}}])


@pytest.mark.parametrize(
    ("fields", "is_plain"),
    [
        ({}, True),
        ({"messages": [{"role": "user", "content": [USER_PART]}], "stream": True}, True),
        ({"messages": [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, USER]}, True),
        ({"messages": [{"role": "user", "content": [USER_PART, {"type": "image_url"}]}]}, False),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, False),
        ({"messages": [{"role": "user", "content": [{**USER_PART, "image_url": {"url": "data:,"}}]}]}, False),
        ({"filters": "year > 2020"}, False),
        ({"ragkit": {"documents": ["a.pdf"]}}, False),
    ],
)
def test_plain_requests_are_texts_alone(fields: dict[str, Any], is_plain: bool) -> None:
    assert ChatBody.model_validate({"model": "papers", "messages": [USER], **fields}).is_plain is is_plain
