from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from ragkit.records import AskRequest, ChatMessage, Sampling
from ragkit.serve.api.chat_request import ChatBody, ask_request
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.api.image_url import image_url

USER_PART = {"type": "text", "text": "this?"}
USER = {"role": "user", "content": "How deep?"}
DEFAULT = Sampling(max_tokens=99, temperature=0.25)


def parse(**fields: Any) -> AskRequest:
    return ask_request(ChatBody.model_validate({"model": "papers", "messages": [USER], **fields}), DEFAULT)


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
        {"n": 1, "tools": [], "tool_choice": "auto", "logprobs": False, "presence_penalty": 0.0, "logit_bias": {}},
        {"user": "u", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "parallel_tool_calls": True},
        {"response_format": {"type": "text"}, "modalities": ["text"], "stream_options": None, "stop": None},
    ],
)
def test_fields_that_change_nothing_are_accepted(fields: dict[str, Any]) -> None:
    assert parse(**fields).question == "How deep?"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("tools", [{"type": "function"}]),
        ("response_format", {"type": "json_object"}),
        ("logprobs", True),
        ("frequency_penalty", 0.5),
        ("logit_bias", {"5": 1}),
        ("modalities", ["audio"]),
    ],
)
def test_fields_that_would_change_the_answer_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(HttpProblem, match=f"{field} = .* is not supported") as caught:
        parse(**{field: value})
    assert (caught.value.status, caught.value.param) == (400, field)


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
    with pytest.raises(HttpProblem, match="the last user message is the question, and it has images and no text"):
        parse(messages=[{"role": "user", "content": [image_part(RED)]}])


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
        {"messages": [{"role": "tool", "content": "x"}]},
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
