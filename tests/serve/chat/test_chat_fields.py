"""What chat passes on and gives back beside text, by the stock client over a socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from ragkit.records import Sampling
from ragkit.serve.api.app import create_app
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.engines.extractive_engine import ExtractiveEngine
from ragkit.serve.engines.openai_engine import OpenAIEngine
from tests.serve.api.openai_shapes import check_shape
from tests.serve.house import LAKE, running
from tests.serve.responses.responses_house import (
    SAID,
    SmallCorpus,
    SmallLibrary,
    TalkingEngine,
    small_library,
    text_deltas,
)

QUESTION: Any = [{"role": "user", "content": "How deep is Lake Ohm?"}]
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("weather", "clock")
]


@pytest.fixture(scope="module")
def library() -> SmallLibrary:
    library = small_library()
    for engine in (EchoEngine(), ExtractiveEngine()):
        library.corpora[engine.name] = SmallCorpus(engine.name, {"lake.txt": LAKE}, engine)
    return library


@pytest.fixture(scope="module")
def address(library: SmallLibrary) -> Iterator[str]:
    with running(create_app(library)) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def chunks_of(address: str, **body: Any) -> list[dict[str, Any]]:
    reply = httpx.post(f"{address}/v1/chat/completions", json={"messages": QUESTION, **body, "stream": True})
    assert reply.status_code == 200, reply.text
    *lines, done, rest = reply.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
    for chunk in chunks:
        check_shape(ChatCompletionChunk, chunk)
    return chunks


@pytest.mark.parametrize("model", ["lakes", "calling", "thinking", "sure", "cut"])
def test_the_shape_is_openais_whatever_is_answered(address: str, model: str) -> None:
    body = {"model": model, "messages": QUESTION, "tools": TOOLS, "logprobs": True, "n": 2}
    reply = httpx.post(f"{address}/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    check_shape(ChatCompletion, reply.json())
    chunks_of(address, **body, stream_options={"include_usage": True})


def test_several_choices_share_one_search(client: openai.OpenAI, library: SmallLibrary) -> None:
    corpus = library.corpora["lakes"]
    corpus.asked.clear()
    corpus.searched.clear()
    reply: Any = client.chat.completions.create(model="lakes", messages=QUESTION, n=3, seed=4)
    assert [(choice.index, choice.message.content) for choice in reply.choices] == [(i, SAID) for i in range(3)]
    assert [len(choice.message.annotations) for choice in reply.choices] == [1, 1, 1]
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (15, 18)
    assert len(corpus.searched) == 1
    assert [ask.sampling.seed for ask in corpus.asked] == [4, 5, 6]
    assert [len(choice.ragkit["hits"]) for choice in reply.choices] == [2, 2, 2]


def test_several_choices_are_streamed_beside_each_other(client: openai.OpenAI) -> None:
    texts, ends, used = ["", ""], [0, 0], []
    order = []
    with client.chat.completions.create(
        model="lakes", messages=QUESTION, n=2, stream=True, stream_options={"include_usage": True}
    ) as stream:
        for chunk in stream:
            used += [chunk.usage] if chunk.usage else []
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
                ends[choice.index] += choice.finish_reason == "stop"
                order.append(choice.index)
    assert (texts, ends) == ([SAID, SAID], [1, 1])
    assert [usage.total_tokens for usage in used] == [22]
    # Neither waits for the other's end.
    last = {index: len(order) - 1 - order[::-1].index(index) for index in (0, 1)}
    assert order.index(1) < last[0]
    assert order.index(0) < last[1]


def test_calls_of_tools_and_the_answer_from_their_results(client: openai.OpenAI, library: SmallLibrary) -> None:
    reply = client.chat.completions.create(model="calling", messages=QUESTION, tools=TOOLS, tool_choice="auto")
    (choice,) = reply.choices
    assert (choice.finish_reason, choice.message.content, choice.message.annotations) == ("tool_calls", None, [])
    calls = choice.message.tool_calls or []
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [  # type: ignore[union-attr]
        ("call_a", "weather", '{"place": "Ohm"}'),
        ("call_b", "clock", "{}"),
    ]
    results: Any = [{"role": "tool", "tool_call_id": call.id, "content": f"{call.id}!"} for call in calls]
    message: Any = choice.message
    client.chat.completions.create(model="lakes", messages=[*QUESTION, message, *results], tools=TOOLS)
    request = library.corpora["lakes"].engine.asked[-1]  # type: ignore[attr-defined]
    *_, question, assistant, first, second = request.messages
    assert question.content.endswith("Question: How deep is Lake Ohm?")
    assert [call.name for call in assistant.tool_calls] == ["weather", "clock"]
    assert [(m.role, m.tool_call_id, m.content) for m in (first, second)] == [
        ("tool", "call_a", "call_a!"),
        ("tool", "call_b", "call_b!"),
    ]
    assert "call one of the tools" in request.messages[0].content
    assert request.sampling == Sampling(tools=tuple(TOOLS))


def test_streamed_calls_join_to_the_whole_ones(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="calling", messages=QUESTION, tools=TOOLS) as stream:
        final = stream.get_final_completion()
    (choice,) = final.choices
    assert choice.finish_reason == "tool_calls"
    assert [(c.id, c.function.name, c.function.arguments) for c in choice.message.tool_calls or []] == [
        ("call_a", "weather", '{"place": "Ohm"}'),
        ("call_b", "clock", "{}"),
    ]
    assert not choice.message.content


def test_tools_are_offered_where_nothing_was_found(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="empty", messages=QUESTION, tools=TOOLS)
    assert reply.choices[0].finish_reason == "tool_calls"
    without = client.chat.completions.create(model="empty", messages=QUESTION)
    assert without.choices[0].message.content == "Not found in these documents."
    never = client.chat.completions.create(model="empty", messages=QUESTION, tools=TOOLS, tool_choice="none")
    assert never.choices[0].message.content == "Not found in these documents."


def test_an_answer_from_results_alone_stands(client: openai.OpenAI, library: SmallLibrary) -> None:
    call: Any = {
        "role": "assistant",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "clock", "arguments": "{}"}}],
    }
    result: Any = {"role": "tool", "tool_call_id": "c", "content": "Noon."}
    library.corpora["weather"] = SmallCorpus(
        "weather", {"lake.txt": LAKE}, TalkingEngine(text_deltas("It rains."))
    )
    reply: Any = client.chat.completions.create(model="weather", messages=[*QUESTION, call, result])
    assert (reply.choices[0].message.content, reply.choices[0].message.annotations) == ("It rains.", [])
    assert reply.ragkit["notes"][-1] == "No source supports the answer; it rests on the results of tools."


def test_engines_without_tools_read_calls_and_results_as_text(client: openai.OpenAI) -> None:
    call: Any = {
        "role": "assistant",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "clock", "arguments": "{}"}}],
    }
    result: Any = {"role": "tool", "tool_call_id": "c", "content": "Noon."}
    reply: Any = client.chat.completions.create(
        model="echo", messages=[*QUESTION, call, result, *QUESTION], tools=TOOLS
    )
    assert reply.choices[0].message.content.startswith("Lake Ohm lies")
    assert "tools had no effect" in reply.ragkit["notes"][0]


def test_json_is_left_as_it_was_written(client: openai.OpenAI) -> None:
    class Depths(BaseModel):
        depths: list[int]
        b: str

    reply: Any = client.chat.completions.parse(model="json", messages=QUESTION, response_format=Depths)
    assert reply.choices[0].message.parsed == Depths(depths=[41], b="x [7]")
    assert (reply.choices[0].message.annotations, reply.ragkit["unknown_marks"]) == ([], [])
    with client.chat.completions.stream(model="json", messages=QUESTION, response_format=Depths) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.parsed == Depths(depths=[41], b="x [7]")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["echo", "extractive"])
def test_what_an_engine_cannot_give_is_refused_and_what_it_ignores_is_said(
    client: openai.OpenAI, model: str, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError, match="cannot be held to JSON") as caught:
        client.chat.completions.create(
            model=model, messages=QUESTION, response_format={"type": "json_object"}, stream=stream
        )
    assert (caught.value.param, caught.value.code) == ("response_format", "unsupported_parameter")
    with pytest.raises(openai.BadRequestError, match="cannot call tools"):
        client.chat.completions.create(
            model=model, messages=QUESTION, tools=TOOLS, tool_choice="required", stream=stream
        )
    reply: Any = client.chat.completions.create(
        model=model,
        messages=QUESTION,
        frequency_penalty=0.5,
        logprobs=True,
        top_logprobs=2,
        verbosity="low",
        extra_body={"top_k": 5, "repetition_penalty": 1.1},
    )
    assert reply.choices[0].logprobs is None
    (note,) = [note for note in reply.ragkit["notes"] if "had no effect" in note]
    assert "frequency_penalty, logprobs, top_logprobs, verbosity, top_k, repetition_penalty had no effect" in note


def test_logprobs_are_those_the_engine_told(client: openai.OpenAI, address: str) -> None:
    reply = client.chat.completions.create(model="sure", messages=QUESTION, logprobs=True, top_logprobs=1)
    content = reply.choices[0].logprobs.content  # type: ignore[union-attr]
    assert [(token.token, token.logprob) for token in content or []] == [("It is 41 ", -0.5), ("deep. [1]", -0.5)]
    assert [(top.token, top.logprob) for top in (content or [])[0].top_logprobs] == [("x", -2.0)]
    chunks = chunks_of(address, model="sure", logprobs=True)
    told = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    tokens = [token["token"] for one in told if one for token in one["content"]]
    assert tokens == ["It is 41 ", "deep. [1]"]


def test_reasoning_is_passed_through(client: openai.OpenAI, address: str) -> None:
    reply: Any = client.chat.completions.create(model="thinking", messages=QUESTION)
    assert (reply.choices[0].message.reasoning_content, reply.choices[0].message.content) == ("Let me see.", SAID)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks_of(address, model="thinking")]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "Let me see."
    assert "".join(delta.get("content", "") for delta in deltas) == SAID


def test_wishes_about_the_search(client: openai.OpenAI, library: SmallLibrary) -> None:
    wishes = {"ragkit": {"num_passages": 1, "min_score": 0.5}}
    reply: Any = client.chat.completions.create(model="lakes", messages=QUESTION, extra_body=wishes)
    assert [hit["document"] for hit in reply.ragkit["hits"]] == ["lake.txt"]
    assert library.corpora["lakes"].searched[-1][1] == 1


def test_long_results_of_tools_are_cut(client: openai.OpenAI, library: SmallLibrary) -> None:
    call: Any = {
        "role": "assistant",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "clock", "arguments": "{}"}}],
    }
    result: Any = {"role": "tool", "tool_call_id": "c", "content": "tick " * 50_000}
    reply: Any = client.chat.completions.create(model="lakes", messages=[*QUESTION, call, result])
    assert any("Results of tools were cut to" in note for note in reply.ragkit["notes"])
    engine = library.corpora["lakes"].engine
    assert engine.count_tokens(engine.asked[-1].messages) <= 8192 - 512  # type: ignore[attr-defined]
    assert reply.choices[0].message.content == SAID


@pytest.mark.parametrize("model", ["calling", "thinking", "sure"])
def test_a_server_behind_the_server_gives_the_same(
    client: openai.OpenAI, library: SmallLibrary, address: str, model: str
) -> None:
    library.corpora["front"] = SmallCorpus("front", {"lake.txt": LAKE}, OpenAIEngine(f"{address}/v1", model))
    asked: dict[str, Any] = {"messages": QUESTION, "tools": TOOLS, "logprobs": True, "top_logprobs": 1}
    direct, through = (client.chat.completions.create(model=name, **asked).choices[0] for name in (model, "front"))
    for field in ("content", "tool_calls", "reasoning_content"):
        assert getattr(through.message, field, None) == getattr(direct.message, field, None)
    assert (through.finish_reason, through.logprobs) == (direct.finish_reason, direct.logprobs)
    with client.chat.completions.stream(model="front", **asked) as stream:
        final = stream.get_final_completion().choices[0]
    told = [
        [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
        for choice in (final, direct)
    ]
    assert told[0] == told[1]
    assert (final.message.content or None) == direct.message.content
    assert (final.logprobs.content if final.logprobs else None) == (
        direct.logprobs.content if direct.logprobs else None
    )
