from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from ragkit.records import (
    Answer,
    AnswerEvent,
    Box,
    Citation,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from ragkit.serve.api.wire import answer_json, citation_url
from ragkit.serve.chat.chat_wire import ChunkMaker, completion
from ragkit.serve.pages.page_links import PageLinks
from tests.serve.api.openai_shapes import check_shape
from tests.serve.house import two_hits

CITATION = Citation(1, "a b/ö#1.txt", 2, "Deep.", 0, 9, 30, 35, 0.5, (Box(0.1, 0.2, 0.3, 0.4),))
LINKS = PageLinks("https://ask.example.org/rag")
ANSWER = Answer(
    question="How?",
    text="Deep. [1] So.",
    engine="scripted",
    found=True,
    citations=(CITATION,),
    hits=tuple(two_hits()),
    usage=Usage(5, 6),
)
TOKENS = (
    TokenLogprob("De", -0.5, (68, 101), (TokenLogprob("De", -0.5), TokenLogprob("Sha", -2.0))),
    TokenLogprob("ep", -0.25),
)
CALL = ToolCall("call_1", "weather", '{"place": "Ohm"}')


def whole(*answers: Answer) -> dict[str, Any]:
    body = completion(answers, "chatcmpl-1", 7, "papers", "papers", LINKS)
    check_shape(ChatCompletion, body)
    return body


def maker(*, with_usage: bool = False) -> ChunkMaker:
    return ChunkMaker("chatcmpl-1", 7, "papers", "papers", with_usage, LINKS)


def test_a_completion_has_openais_shape() -> None:
    body = whole(ANSWER)
    assert body.pop("ragkit") == answer_json(ANSWER, "papers", LINKS)
    url_citation = {
        "start_index": 0,
        "end_index": 9,
        "title": "a b/ö#1.txt, page 2",
        "url": citation_url(CITATION, "papers", LINKS),
    }
    assert body == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "papers",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Deep. [1] So.",
                    "refusal": None,
                    "annotations": [{"type": "url_citation", "url_citation": url_citation}],
                },
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 6,
            "total_tokens": 11,
        },
    }


def test_several_answers_have_a_record_each_and_one_usage() -> None:
    other = replace(ANSWER, text="Shallow.", citations=(), finish_reason="length", usage=Usage(50, 60))
    body = whole(ANSWER, other)
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in body["choices"]] == [
        (0, "Deep. [1] So.", "stop"),
        (1, "Shallow.", "length"),
    ]
    assert [len(c["message"]["annotations"]) for c in body["choices"]] == [1, 0]
    assert [c["ragkit"]["answer"] for c in body["choices"]] == ["Deep. [1] So.", "Shallow."]
    assert (body["ragkit"]["answer"], body["usage"]["total_tokens"]) == ("Deep. [1] So.", 121)


def test_calls_reasoning_and_logprobs_have_openais_places() -> None:
    answer = replace(
        ANSWER,
        text="",
        citations=(),
        finish_reason="tool_calls",
        tool_calls=(CALL,),
        reasoning="Hm.",
        logprobs=TOKENS,
    )
    choice = whole(answer)["choices"][0]
    assert choice["message"]["content"] is None
    assert choice["message"]["reasoning_content"] == "Hm."
    assert choice["message"]["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Ohm"}'}}
    ]
    first, second = choice["logprobs"]["content"]
    assert (first["token"], first["logprob"], first["bytes"]) == ("De", -0.5, [68, 101])
    assert [(top["token"], top["logprob"]) for top in first["top_logprobs"]] == [("De", -0.5), ("Sha", -2.0)]
    assert (second["bytes"], second["top_logprobs"]) == (None, [])


@pytest.mark.parametrize("with_usage", [False, True])
def test_chunks_say_usage_only_when_asked(with_usage: bool) -> None:
    chunks = maker(with_usage=with_usage)
    piece = chunks.piece(AnswerEvent("Deep."))
    assert piece is not None
    bodies = [chunks.first(), piece, chunks.last(ANSWER, ANSWER.text)]
    for body in bodies:
        check_shape(ChatCompletionChunk, body)
    assert [body["choices"][0]["delta"] for body in bodies[:2]] == [
        {"role": "assistant", "content": ""},
        {"content": "Deep."},
    ]
    assert [body["choices"][0]["finish_reason"] for body in bodies] == [None, None, "stop"]
    assert bodies[2]["choices"][0]["delta"]["annotations"][0]["type"] == "url_citation"
    assert bodies[2]["ragkit"]["answer"] == ANSWER.text
    assert all(("usage" in body) is with_usage for body in bodies)
    usage = chunks.usage([ANSWER.usage])
    check_shape(ChatCompletionChunk, usage)
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 11)


def test_pieces_of_calls_reasoning_and_logprobs() -> None:
    events = [
        AnswerEvent(reasoning="Hm."),
        AnswerEvent(tool_calls=(ToolCallDelta(0, "call_1", "weather", ""),)),
        AnswerEvent(tool_calls=(ToolCallDelta(0, arguments="{}"),)),
        AnswerEvent("Deep", logprobs=TOKENS),
        AnswerEvent(logprobs=TOKENS[1:]),
    ]
    chunks = [maker().piece(event, 1) for event in events]
    for chunk in chunks:
        check_shape(ChatCompletionChunk, chunk)
    choices = [chunk["choices"][0] for chunk in chunks if chunk]
    assert [choice["index"] for choice in choices] == [1] * 5
    assert [choice["delta"] for choice in choices] == [
        {"reasoning_content": "Hm."},
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_1",
                    "type": "function",
                    "function": {"arguments": "", "name": "weather"},
                }
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {"content": "Deep"},
        {"content": ""},
    ]
    assert [token["token"] for token in choices[3]["logprobs"]["content"]] == ["De", "ep"]
    assert [choice["logprobs"] for choice in choices[:3]] == [None] * 3
    assert maker().piece(AnswerEvent(hits=())) is None
