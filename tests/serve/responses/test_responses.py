from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from PIL import Image
from pydantic import BaseModel

from ragkit.corpus import Corpus
from ragkit.hosting.library import FolderLibrary
from ragkit.pictures import image_url
from ragkit.records import ChatDelta, ChatMessage, ChatRequest, TextRecord, ToolCall, ToolCallDelta, Usage
from ragkit.serve.api.app import create_app
from ragkit.serve.engines.chat_json import joined_calls
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.guards.server_end import ServerEnd
from ragkit.serve.stores.file_ids import external_file_id
from ragkit.serve_config import ServeConfig
from tests.fakes import HashEmbedder
from tests.serve.api.openai_shapes import check_shape
from tests.serve.house import BRIDGE, LAKE, running, wait_until
from tests.serve.responses.responses_house import (
    CALLS,
    END,
    SAID,
    SmallCorpus,
    SmallLibrary,
    TalkingEngine,
    small_library,
)

QUESTION = "How deep is Lake Ohm?"


class Depth(BaseModel):
    metres: int


SEARCH: Any = {"type": "file_search", "vector_store_ids": ["lakes"]}
WEATHER: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}


@pytest.fixture(scope="module")
def library() -> SmallLibrary:
    return small_library()


@pytest.fixture(scope="module")
def address(library: SmallLibrary) -> Iterator[str]:
    with running(create_app(library)) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def post(address: str, **body: Any) -> dict[str, Any]:
    """The reply, whose shape has been checked."""
    reply = httpx.post(f"{address}/v1/responses", json=body)
    assert reply.status_code == 200, reply.text
    check_shape(Response, reply.json())
    return reply.json()


def events_of(address: str, **body: Any) -> list[dict[str, Any]]:
    """The events of a stream, whose shapes and numbers have been checked."""
    reply = httpx.post(f"{address}/v1/responses", json={**body, "stream": True})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    *blocks, rest = reply.text.split("\n\n")
    assert rest == ""
    events = []
    for block in blocks:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        check_shape(ResponseStreamEvent, event)
        events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def test_a_response_has_the_search_and_a_cited_message(client: openai.OpenAI, address: str) -> None:
    response = client.responses.create(model="lakes", input=QUESTION, metadata={"a": "b"})
    search, message = response.output
    assert search.type == "file_search_call"
    assert (search.status, search.queries, search.results) == ("completed", [QUESTION], None)
    assert message.type == "message"
    assert (response.status, response.output_text, response.metadata) == ("completed", SAID, {"a": "b"})
    (part,) = message.content
    assert part.type == "output_text"
    by_file, by_url = part.annotations
    assert by_file.type == "file_citation"
    assert (by_file.file_id, by_file.filename, by_file.index) == (
        external_file_id("lakes", "lake.txt"),
        "lake.txt",
        len(SAID),
    )
    assert by_url.type == "url_citation"
    assert (by_url.start_index, by_url.end_index, by_url.title) == (0, len(SAID), "lake.txt, page 1")
    assert by_url.url.startswith(f"{address}/v1/ragkit/pages/lakes/1?document=lake.txt&spans=")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (5, 6, 11)
    record: Any = response.ragkit  # type: ignore[attr-defined]
    assert (record["found"], record["timings_ms"]["retrieve"]) == (True, 2.5)


@pytest.mark.parametrize("model", ["lakes", "calling", "thinking", "sure", "cut", "refusing"])
def test_the_shape_is_openais_whatever_is_answered(address: str, model: str) -> None:
    asked = {
        "model": model,
        "input": QUESTION,
        "tools": [{**SEARCH, "vector_store_ids": [model]}, WEATHER],
        "include": ["file_search_call.results", "message.output_text.logprobs"],
        "instructions": "Be brief.",
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "top_logprobs": 2,
        "truncation": "auto",
        "service_tier": "auto",
    }
    whole = post(address, **asked)
    last = events_of(address, **asked)[-1]
    streamed = last["response"]
    for response in (whole, streamed):
        for item in response["output"]:
            item.pop("id")
        for name in ("id", "created_at", "completed_at", "ragkit"):
            response.pop(name, None)
    assert streamed == whole
    assert last["type"] == f"response.{whole['status']}"


def test_the_order_of_events(address: str) -> None:
    events = events_of(address, model="thinking", input=QUESTION)
    kinds = [event["type"].removeprefix("response.") for event in events]
    pieces = "output_text.delta"
    once = [kind for i, kind in enumerate(kinds) if kind != pieces or kinds[i - 1] != pieces]
    assert once == [
        "created",
        "in_progress",
        "output_item.added",
        "file_search_call.in_progress",
        "file_search_call.searching",
        "file_search_call.completed",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert "".join(event["delta"] for event in events if event["type"].endswith("output_text.delta")) == SAID
    final = events[-1]["response"]
    assert [item["type"] for item in final["output"]] == ["file_search_call", "reasoning", "message"]
    assert final["output"][1]["content"][0]["text"] == "Let me see."
    done = {event["output_index"]: event["item"] for event in events if event["type"].endswith("item.done")}
    assert [done[index] for index in sorted(done)] == final["output"]


SAY = [ChatDelta("I look [1"), ChatDelta("] it up.")]
THINK = [ChatDelta(reasoning="Hm."), ChatDelta(reasoning=" So.")]
CUT = [
    *SAY,
    ChatDelta(tool_calls=(ToolCallDelta(0, "call_a", "clock", '{"p'),)),
    ChatDelta(finish_reason="length"),
]
ONE = ChatDelta(tool_calls=(ToolCallDelta(0, "call_a", "clock", "{}"),))
TWO = ChatDelta(tool_calls=(ToolCallDelta(1, "call_b", "weather", '{"place": 1}'),))
REFUSE = ChatDelta(refusal="I cannot.")
ENDED = ChatDelta(finish_reason="tool_calls")


@pytest.mark.parametrize(
    ("deltas", "items"),
    [
        ([*THINK, *SAY, ONE, TWO, ENDED], ["reasoning", "message", "call_a", "call_b"]),
        (CALLS, ["call_a", "call_b"]),
        ([*SAY, *THINK, ONE, ENDED], ["message", "reasoning", "call_a"]),
        ([*THINK, *SAY, *THINK, END], ["reasoning", "message", "reasoning"]),
        ([ONE, *SAY, TWO, *THINK, ENDED], ["call_a", "message", "call_b", "reasoning"]),
        ([*SAY, ChatDelta(" See [1"), ONE, ENDED], ["message", "call_a", "message"]),
        ([*THINK, *SAY, REFUSE, ONE, ENDED], ["reasoning", "message", "message", "call_a"]),
        (CUT, ["message", "call_a"]),
        ([*THINK, ChatDelta(finish_reason="length")], ["reasoning", "message"]),
    ],
)
def test_each_item_is_done_before_the_next_begins(
    address: str, library: SmallLibrary, deltas: list[ChatDelta], items: list[str]
) -> None:
    library.corpora["any"] = SmallCorpus("any", {"lake.txt": LAKE}, TalkingEngine(deltas))
    events = events_of(address, model="any", input=QUESTION, tools=[WEATHER])
    steps = [
        (event["type"].rpartition(".")[2], event["output_index"])
        for event in events
        if event["type"].startswith("response.output_item.")
    ]
    assert steps == [(step, index) for index in range(len(items) + 1) for step in ("added", "done")]
    places = [event["output_index"] for event in events if "output_index" in event]
    assert places == sorted(places)
    output = events[-1]["response"]["output"]
    assert [item.get("call_id", item["type"]) for item in output[1:]] == items
    assert output == [event["item"] for event in events if event["type"] == "response.output_item.done"]
    for index, item in enumerate(output[1:], 1):
        deltas_of = [event["delta"] for event in events if "delta" in event and event["output_index"] == index]
        (written,) = item.get("content", [item])
        assert "".join(deltas_of) in (written.get(name) for name in ("text", "refusal", "arguments"))
    assert {item["status"] for item in output[:-1]} == {"completed"}
    assert output[-1]["status"] == ("incomplete" if deltas[-1].finish_reason == "length" else "completed")
    calls = [item["arguments"] for item in output if item["type"] == "function_call"]
    assert calls == [
        call.arguments for call in joined_calls(call for delta in deltas for call in delta.tool_calls)
    ]


def test_usage_has_the_details_that_the_engine_tells(address: str, library: SmallLibrary) -> None:
    end = ChatDelta(finish_reason="stop", usage=Usage(9, 8, 5, 3))
    library.corpora["counted"] = SmallCorpus("counted", {"lake.txt": LAKE}, TalkingEngine([ChatDelta("Hm."), end]))
    asked = {"model": "counted", "input": QUESTION}
    for response in (post(address, **asked), events_of(address, **asked)[-1]["response"]):
        assert response["usage"]["input_tokens_details"]["cached_tokens"] == 5
        assert response["usage"]["output_tokens_details"]["reasoning_tokens"] == 3
    messages = [{"role": "user", "content": QUESTION}]
    chat = {"model": "counted", "messages": messages, "n": 2}
    usage = httpx.post(f"{address}/v1/chat/completions", json=chat).json()["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 10}
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 6}


def test_a_refusal_is_a_part_of_its_own(client: openai.OpenAI, address: str, library: SmallLibrary) -> None:
    whole = post(address, model="refusing", input=QUESTION)
    events = events_of(address, model="refusing", input=QUESTION)
    assert [event["type"].removeprefix("response.") for event in events[7:-1]] == [
        "output_item.added",
        "content_part.added",
        "refusal.delta",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
    ]
    for response in (whole, events[-1]["response"]):
        _, message = response["output"]
        assert message["content"] == [{"type": "refusal", "refusal": "I cannot."}]
        record = response["ragkit"]
        assert (record["answer"], record["found"], record["citations"]) == ("", False, [])
        assert record["notes"] == ["The engine talking refused to answer: 'I cannot.'"]
    client.responses.create(model="lakes", input="Why?", previous_response_id=whole["id"])
    assert library.corpora["lakes"].asked[-1].history[-1] == ChatMessage("assistant", "I cannot.")


def test_a_refusal_is_no_content_in_chat(client: openai.OpenAI) -> None:
    asked: Any = {"model": "refusing", "messages": [{"role": "user", "content": QUESTION}]}
    message = client.chat.completions.create(**asked).choices[0].message
    assert (message.content, message.refusal, message.annotations) == (None, "I cannot.", [])
    parsed = client.chat.completions.parse(**asked, response_format=Depth).choices[0].message
    assert (parsed.parsed, parsed.refusal) == (None, "I cannot.")
    deltas = [chunk.choices[0].delta for chunk in client.chat.completions.create(**asked, stream=True)]
    assert [delta.refusal for delta in deltas if delta.refusal] == ["I ", "cannot."]
    assert not any(delta.content for delta in deltas)


def test_the_clients_stream_helper(client: openai.OpenAI) -> None:
    with client.responses.stream(model="lakes", input=QUESTION) as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(texts) == SAID == final.output_text
    assert len(final.output[1].content[0].annotations) == 2  # type: ignore[union-attr]


def test_results_come_where_they_are_asked_for(client: openai.OpenAI, library: SmallLibrary) -> None:
    condition: Any = {"type": "eq", "key": "year", "value": 2020}
    tool = {**SEARCH, "filters": condition, "max_num_results": 2, "ranking_options": {"score_threshold": 0.7}}
    response = client.responses.create(
        model="lakes", input=QUESTION, tools=[tool], include=["file_search_call.results"]
    )
    (result,) = response.output[0].results  # type: ignore[union-attr]
    assert (result.filename, result.score, result.text) == ("lake.txt", 0.9, LAKE)
    assert result.attributes == {"year": 2020, "made": "2020-01-02"}
    assert result.file_id == external_file_id("lakes", "lake.txt")
    asked = library.corpora["lakes"].asked[-1]
    assert (asked.num_passages, asked.min_score) == (2, 0.7)
    assert "year" in repr(asked.where)


def test_what_of_the_search_has_no_effect_is_taken_and_noted(address: str) -> None:
    weights = {"embedding_weight": 0.7, "text_weight": 0.3}
    ranking = {"ranker": "default-2024-11-15", "score_threshold": 0.1, "hybrid_search": weights}
    asked = {"model": "lakes", "input": QUESTION, "tools": [{**SEARCH, "ranking_options": ranking}]}
    for response in (post(address, **asked), events_of(address, **asked)[-1]["response"]):
        assert response["ragkit"]["notes"][-1] == (
            "The server does not heed all settings: file_search.ranking_options.ranker, "
            "file_search.ranking_options.hybrid_search had no effect."
        )
    asked["tools"] = [{**SEARCH, "ranking_options": {"ranker": "auto", "hybrid_search": None}}]
    assert post(address, **asked)["ragkit"]["notes"] == []


def test_a_response_says_again_what_was_asked(address: str) -> None:
    asked = {"truncation": "auto", "user": "u", "safety_identifier": "s", "prompt_cache_key": "k"}
    response = post(address, model="lakes", input=QUESTION, **asked, max_tool_calls=3, service_tier="priority")
    assert {name: response[name] for name in asked} == asked
    assert (response["max_tool_calls"], response["service_tier"]) == (3, "default")
    bare = post(address, model="lakes", input=QUESTION)
    assert (bare["truncation"], bare["user"], bare["service_tier"]) == ("disabled", None, None)


@pytest.mark.parametrize("stream", [False, True])
def test_images_for_an_engine_that_reads_none_name_the_input(
    address: str, library: SmallLibrary, stream: bool
) -> None:
    library.corpora["blind"] = SmallCorpus("blind", {"lake.txt": LAKE}, EchoEngine())
    parts = [{"type": "input_image", "image_url": image_url(Image.new("RGB", (4, 2)))}]
    content = [*parts, {"type": "input_text", "text": "This?"}]
    body = {"model": "blind", "input": [{"role": "user", "content": content}], "stream": stream}
    reply = httpx.post(f"{address}/v1/responses", json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"], error["code"]) == (400, "input", "image_not_supported")


def test_how_much_is_said_is_left_to_the_model_and_no_summary_is_made(address: str, library: SmallLibrary) -> None:
    wishes = {"text": {"verbosity": "low"}, "reasoning": {"effort": "high", "summary": "auto"}}
    response = post(address, model="lakes", input=QUESTION, **wishes)
    sampling = library.corpora["lakes"].asked[-1].sampling
    assert (sampling.verbosity, sampling.reasoning_effort) == ("low", "high")
    assert response["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert response["reasoning"] == wishes["reasoning"]
    (note,) = response["ragkit"]["notes"]
    assert note == "The server does not heed all settings: reasoning.summary had no effect."


def test_several_stores_are_merged_by_rank(address: str, library: SmallLibrary) -> None:
    tool = {"type": "file_search", "vector_store_ids": ["rivers", "lakes", "rivers"], "max_num_results": 3}
    body = {"model": "gpt-4o", "input": QUESTION, "tools": [tool], "include": ["file_search_call.results"]}
    response = post(address, **body)
    results = response["output"][0]["results"]
    # Both have a notes.txt; the answer tells them apart, the results name the files themselves.
    assert [(r["filename"], r["score"]) for r in results] == [
        ("notes.txt", 0.3),
        ("lake.txt", 0.9),
        ("notes.txt", 0.65),
    ]
    assert [r["file_id"] for r in results] == [
        external_file_id("rivers", "notes.txt"),
        external_file_id("lakes", "lake.txt"),
        external_file_id("lakes", "notes.txt"),
    ]
    hits = library.corpora["rivers"].asked[-1].found.hits
    assert [hit.passage.document for hit in hits] == ["rivers/notes.txt", "lake.txt", "lakes/notes.txt"]
    assert len({hit.passage.key for hit in hits}) == 3
    # The engine's mark is that of the first source.
    part = response["output"][1]["content"][0]
    assert part["annotations"][0]["file_id"] == external_file_id("rivers", "notes.txt")
    assert "/v1/ragkit/pages/rivers/1?document=notes.txt" in part["annotations"][1]["url"]
    assert response["model"] == "gpt-4o"


def test_a_store_that_lacks_the_attribute_has_nothing(address: str, library: SmallLibrary) -> None:
    tool = {"type": "file_search", "vector_store_ids": ["rivers", "lakes"]}
    bad = {**tool, "filters": {"type": "eq", "key": "nothing", "value": 1}}
    reply = httpx.post(f"{address}/v1/responses", json={"input": QUESTION, "tools": [bad]})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_filter")


def test_another_corpus_than_the_searched_may_answer(address: str, library: SmallLibrary) -> None:
    tool = {"type": "file_search", "vector_store_ids": ["lakes"]}
    response = post(address, model="rivers", input=QUESTION, tools=[tool])
    assert response["output"][1]["content"][0]["annotations"][0]["filename"] == "lake.txt"
    assert library.corpora["rivers"].asked[-1].found is not None


def test_tool_calls(client: openai.OpenAI, library: SmallLibrary) -> None:
    response = client.responses.create(model="calling", input=QUESTION, tools=[WEATHER], tool_choice="required")
    calls = response.output[1:]
    assert [(call.type, call.name, call.call_id, call.arguments) for call in calls] == [  # type: ignore[union-attr]
        ("function_call", "weather", "call_a", '{"place": "Ohm"}'),
        ("function_call", "clock", "call_b", "{}"),
    ]
    sampling = library.corpora["calling"].asked[-1].sampling
    assert sampling.tools[0]["function"] == {name: WEATHER[name] for name in ("name", "parameters", "strict")}
    assert sampling.tool_choice == "required"
    # The results go on from the stored calls.
    outputs: Any = [
        {"type": "function_call_output", "call_id": "call_a", "output": "Rain."},
        {"type": "function_call_output", "call_id": "call_b", "output": [{"type": "input_text", "text": "Noon."}]},
    ]
    client.responses.create(model="lakes", input=outputs, previous_response_id=response.id, tools=[WEATHER])
    asked = library.corpora["lakes"].asked[-1]
    assert asked.question == QUESTION
    assert asked.after == (
        ChatMessage(
            "assistant",
            "",
            tool_calls=(ToolCall("call_a", "weather", '{"place": "Ohm"}'), ToolCall("call_b", "clock", "{}")),
        ),
        ChatMessage("tool", "Rain.", tool_call_id="call_a"),
        ChatMessage("tool", "Noon.", tool_call_id="call_b"),
    )


def test_a_conversation_goes_on_without_earlier_instructions(client: openai.OpenAI, library: SmallLibrary) -> None:
    first = client.responses.create(model="lakes", input=QUESTION, instructions="Be brief.")
    client.responses.create(model="lakes", input="Who built it?", previous_response_id=first.id)
    asked = library.corpora["lakes"].asked[-1]
    assert asked.question == "Who built it?"
    assert asked.history == (ChatMessage("user", QUESTION), ChatMessage("assistant", SAID))


def test_items_of_every_kind_are_read(client: openai.OpenAI, library: SmallLibrary) -> None:
    first = client.responses.create(model="lakes", input=QUESTION)
    held = io.BytesIO()
    Image.new("RGB", (4, 2), (200, 0, 0)).save(held, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"
    items: Any = [
        {"role": "developer", "content": "In metres."},
        {"role": "user", "content": "Hello"},
        *(item.model_dump(exclude_none=True) for item in first.output),
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "Rain."},
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": url, "detail": "low"},
                {"type": "input_text", "text": "This?"},
            ],
        },
    ]
    client.responses.create(model="lakes", input=items)
    asked = library.corpora["lakes"].asked[-1]
    assert (asked.question, [image.size for image in asked.images]) == ("This?", [(4, 2)])
    assert [(m.role, m.content, len(m.tool_calls)) for m in asked.history] == [
        ("system", "In metres.", 0),
        ("user", "Hello", 0),
        ("assistant", SAID, 1),
        ("tool", "Rain.", 0),
    ]


def test_responses_are_kept_until_they_are_deleted(client: openai.OpenAI) -> None:
    made = client.responses.create(model="lakes", input=QUESTION)
    assert client.responses.retrieve(made.id).to_dict() == made.to_dict()
    with pytest.raises(openai.BadRequestError, match="not streamed"):
        client.responses.retrieve(made.id, stream=True)
    with client.responses.stream(model="lakes", input=QUESTION) as stream:
        streamed = stream.get_final_response()
    assert client.responses.retrieve(streamed.id).output_text == SAID
    client.responses.delete(made.id)
    unkept = client.responses.create(model="lakes", input=QUESTION, store=False)
    for gone in (made.id, unkept.id, "resp_ü\n"):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(gone)
        with pytest.raises(openai.NotFoundError):
            client.responses.delete(gone)
        with pytest.raises(openai.NotFoundError) as caught:
            client.responses.create(model="lakes", input=QUESTION, previous_response_id=gone)
        assert (caught.value.param, caught.value.code) == ("previous_response_id", "previous_response_not_found")


def test_json_stands_as_it_was_written(client: openai.OpenAI, address: str, library: SmallLibrary) -> None:
    schema: Any = {"type": "json_schema", "name": "depths", "schema": {"type": "object"}, "strict": True}
    tools = [{**SEARCH, "vector_store_ids": ["json"], "ranking_options": {"ranker": "auto", "score_threshold": 0}}]
    post(address, model="json", input=QUESTION, text={"format": schema}, tools=tools, tool_choice="auto")
    response = client.responses.create(model="json", input=QUESTION, text={"format": schema})
    assert json.loads(response.output_text) == {"depths": [41], "b": "x [7]"}
    assert response.output[1].content[0].annotations == []  # type: ignore[union-attr]
    sampling = library.corpora["json"].asked[-1].sampling
    assert sampling.response_format == {
        "type": "json_schema",
        "json_schema": {"name": "depths", "schema": {"type": "object"}, "strict": True},
    }


def test_an_answer_that_was_cut_off_is_incomplete(client: openai.OpenAI, address: str) -> None:
    response = client.responses.create(model="cut", input=QUESTION, max_output_tokens=3)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")  # type: ignore[union-attr]
    assert response.output[1].status == "incomplete"  # type: ignore[union-attr]
    assert events_of(address, model="cut", input=QUESTION)[-1]["type"] == "response.incomplete"


@pytest.mark.parametrize("model", ["broken", "silent"])
def test_an_engine_that_fails_ends_the_stream_with_response_failed(
    address: str, client: openai.OpenAI, model: str
) -> None:
    last = events_of(address, model=model, input=QUESTION)[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"]["code"] == "server_error"
    assert "10.0.0.1" not in json.dumps(last)
    assert [item["type"] for item in last["response"]["output"]] == ["file_search_call"]
    with pytest.raises(openai.InternalServerError) as caught:
        client.responses.create(model=model, input=QUESTION)
    assert (caught.value.status_code, caught.value.code) == (502, "engine_error")


@dataclass
class StuckEngine(TalkingEngine):
    """Says what it does, tells the server to end, where there is one, and hangs."""

    end: ServerEnd | None = None

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        async for delta in TalkingEngine.stream(self, request):
            yield delta
        if self.end is not None:
            self.end.begin()
        await asyncio.sleep(60)


@pytest.mark.parametrize("ends", [False, True])
def test_a_stream_that_is_given_up_ends_with_response_failed(ends: bool) -> None:
    end = ServerEnd(0.2) if ends else ServerEnd()
    engine = StuckEngine([*THINK, ChatDelta("It is ")], end=end if ends else None)
    library = SmallLibrary(SmallCorpus("stuck", {"lake.txt": LAKE}, engine))
    settings = ServeConfig(request_timeout_s=30 if ends else 0.4)
    with running(create_app(library, settings=settings, end=end)) as address:
        *sent, last = events_of(address, input=QUESTION)
        assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
        assert last["response"]["error"]["code"] == "server_error"
        assert ("the server ends" if ends else "more than 0.4 s") in last["response"]["error"]["message"]
        assert sent[-1]["delta"] == "It is"
        assert last["response"]["id"] == sent[0]["response"]["id"]
        assert [item["type"] for item in last["response"]["output"]] == ["file_search_call", "reasoning"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "status", "message", "param"),
    [
        ({"model": "nope"}, 404, "'nope' does not exist", "model"),
        ({"model": None}, 400, "model is missing; models here: lakes, rivers", "model"),
        ({"tools": [{**SEARCH, "vector_store_ids": ["nope"]}]}, 404, "no vector store 'nope'", "tools"),
        ({"tools": [{**SEARCH, "vector_store_ids": []}]}, 400, "vector_store_ids", "tools[0].vector_store_ids"),
        ({"tools": [{**SEARCH, "max_num_results": 51}]}, 400, "max_num_results = 51", "tools[0].max_num_results"),
        ({"tools": [{**SEARCH, "filters": {"type": "x"}}]}, 400, "tools.filters.type is 'x'", "filters"),
        (
            {"tools": [{**SEARCH, "ranking_options": {"ranker": "x"}}]},
            400,
            "ranker = 'x': Input should be 'none', 'auto' or 'default-2024-11-15'",
            "tools[0].ranking_options.ranker",
        ),
        (
            {"tools": [{**SEARCH, "filter": {"type": "eq", "key": "year", "value": 1}}]},
            400,
            "unknown field 'tools[0].filter'; did you mean 'filters'?",
            "tools[0].filter",
        ),
        ({"tools": [{**SEARCH, "max_result": 3}]}, 400, "did you mean 'max_num_results'?", "tools[0].max_result"),
        (
            {"tools": [{**SEARCH, "ranking_options": {"score_treshold": 5}}]},
            400,
            "did you mean 'score_threshold'?",
            "tools[0].ranking_options.score_treshold",
        ),
        ({"tools": [SEARCH, SEARCH]}, 400, "two tools file_search", "tools"),
        ({"tools": [SEARCH], "filters": "a = 1"}, 400, "say what to search in it", "tools"),
        ({"tools": [{"type": "web_search"}]}, 400, "'web_search'; there are file_search and function", "tools"),
        ({"tool_choice": "required"}, 400, "there are no tools", "tool_choice"),
        ({"metadata": {"a": "x" * 513}}, 400, "a key has at most 64 characters, a value 512", "metadata"),
        ({"metadata": {"x" * 65: "a"}}, 400, "a key has at most 64 characters, a value 512", "metadata"),
        ({"metadata": {f"k{n}": "a" for n in range(17)}}, 400, "at most 16", "metadata"),
        ({"truncation": "some"}, 400, "truncation = 'some': Input should be 'auto' or 'disabled'", "truncation"),
        ({"include": ["everything"]}, 400, "include[0] = 'everything'", "include"),
        ({"background": True}, 400, "background = True is not supported", "background"),
        ({"conversation": "conv_1"}, 400, "conversation = 'conv_1' is not supported", "conversation"),
        ({"instruction": "x"}, 400, "did you mean 'instructions'", "instruction"),
        ({"input": []}, 400, "at least 1 item", "input"),
        ({"input": "  "}, 400, "there is none", "input"),
        ({"input": "\ud800"}, 400, "lone surrogate", "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, 400, "'item_reference' is not supported", "input[0]"),
        ({"input": [{"role": "robot", "content": "x"}]}, 400, "input[0].role = 'robot'", "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, 400, "neither text nor a list", "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": []}]}]}, 400, "type []", "input[0].content[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            400,
            "'input_file'; for 'user' there are input_text",
            "input[0].content[0]",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x/y.png"}]}]},
            400,
            "data URI",
            "input[0].content[0]",
        ),
        (
            {"input": [{"type": "function_call", "name": "f"}]},
            400,
            "call_id = None is no text",
            "input[0].call_id",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]},
            400,
            "follows no message with that call",
            "input",
        ),
        (
            {"text": {"format": {"type": "json_schema", "name": "x"}}},
            400,
            "needs a name and a schema",
            "text.format",
        ),
    ],
)
def test_requests_that_make_no_sense_say_why(
    address: str, stream: bool, fields: dict[str, Any], status: int, message: str, param: str
) -> None:
    body = json.dumps({"model": "lakes", "input": QUESTION, "stream": stream, **fields})
    reply = httpx.post(f"{address}/v1/responses", content=body, headers={"content-type": "application/json"})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (status, param), error
    assert message in error["message"]


def test_one_corpus_needs_no_name() -> None:
    library = SmallLibrary(small_library().corpora["lakes"])
    with running(create_app(library)) as address:
        assert post(address, input=QUESTION)["model"] == "lakes"
        assert BRIDGE not in json.dumps(post(address, input=QUESTION, ragkit={"num_passages": 1}))


def test_the_search_names_what_was_searched_for(tmp_path: Path) -> None:
    config = {"generation": {"condense": "history"}}
    with Corpus.open(tmp_path / "papers", config=config, embedder=HashEmbedder()) as corpus:
        corpus.add([TextRecord("lake.txt", LAKE), TextRecord("bridge.txt", BRIDGE)])
        asked = [
            {"role": "user", "content": "Tell me of Lake Ohm."},
            {"role": "user", "content": "How deep is it?"},
        ]
        with running(create_app(FolderLibrary([corpus]))) as address:
            (query,) = post(address, input=asked)["output"][0]["queries"]
            assert "How deep is it?" in query
            assert "Lake Ohm" in query
            assert events_of(address, input=asked)[2]["item"]["queries"] == [query]
            body = {"model": "papers", "messages": asked, "n": 2}
            chat = httpx.post(f"{address}/v1/chat/completions", json=body).json()
            assert [choice["ragkit"]["searched"] for choice in chat["choices"]] == [query, query]


def test_a_client_that_leaves_stops_the_engine(address: str, library: SmallLibrary) -> None:
    engine = EchoEngine(pause_s=0.05)
    library.corpora["slow"] = SmallCorpus("slow", {"lake.txt": LAKE}, engine)
    body = {"model": "slow", "input": QUESTION, "stream": True}
    with httpx.stream("POST", f"{address}/v1/responses", json=body) as reply:
        lines = reply.iter_lines()
        while "output_text.delta" not in next(lines):
            pass
        assert engine.running == 1
    wait_until(lambda: engine.running == 0)
    assert engine.cancelled == 1


def test_many_at_once(address: str, library: SmallLibrary) -> None:
    def ask(number: int) -> str:
        body = {"model": "lakes", "input": f"{QUESTION} {number}", "stream": number % 2 == 0}
        reply = httpx.post(f"{address}/v1/responses", json=body, timeout=30)
        assert reply.status_code == 200
        last = reply.json() if number % 2 else json.loads(reply.text.strip().rsplit("data: ", 1)[1])["response"]
        kept = httpx.get(f"{address}/v1/responses/{last['id']}").json()
        assert kept == last
        return str(last["output"][0]["queries"][0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(24))) == [f"{QUESTION} {number}" for number in range(24)]


@pytest.mark.parametrize("choice", [{"type": "function", "name": "weather"}, "none", {"type": "file_search"}])
def test_choices_of_tools_are_told_in_openais_form(address: str, library: SmallLibrary, choice: Any) -> None:
    response = post(address, model="lakes", input=QUESTION, tools=[SEARCH, WEATHER], tool_choice=choice)
    assert response["tool_choice"] == choice
    in_chats = {"type": "function", "function": {"name": "weather"}}
    sampled = {"weather": in_chats}.get(choice.get("name")) if isinstance(choice, dict) else choice
    assert library.corpora["lakes"].asked[-1].sampling.tool_choice == sampled
