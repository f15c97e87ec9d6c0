from __future__ import annotations

from typing import Any

import pytest

from ragkit.records import ChatMessage, Sampling, TokenLogprob, ToolCall, ToolCallDelta
from ragkit.serve.engines.chat_json import (
    finish_reason_of,
    joined_calls,
    logprobs_json,
    message_json,
    reasoning_of,
    sampling_json,
    text_of,
    token_logprobs_of,
    tool_calls_of,
)
from ragkit.serve.engines.streamed_calls import StreamedCalls

Sent = dict[str, Any]
TOOL = {"type": "function", "function": {"name": "f"}}


def call(name: Any = "f", arguments: Any = "{}", id_: Any = "c", **more: Any) -> Sent:
    return Sent(id=id_, function=Sent(name=name, arguments=arguments), **more)


def test_only_what_is_set_is_sent() -> None:
    assert sampling_json(Sampling(7)) == {"max_tokens": 7, "temperature": 0.0}
    assert sampling_json(Sampling(7), is_openai=True) == {"max_completion_tokens": 7, "temperature": 0.0}
    full = Sampling(
        7, 0.5, 0.9, ("x",), 3, 0.1, -0.1, {"5": 1.0}, True, 2, {"type": "json_object"}, (TOOL,), "auto",
        False, "low", {"top_k": 4}, "high",
    )  # fmt: skip
    assert sampling_json(full) == {
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["x"],
        "seed": 3,
        "frequency_penalty": 0.1,
        "presence_penalty": -0.1,
        "logit_bias": {"5": 1.0},
        "response_format": {"type": "json_object"},
        "tools": [TOOL],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "verbosity": "high",
        "extra_body": {"top_k": 4},
    }


def test_a_servers_text_is_text() -> None:
    assert text_of("a😀") == "a😀"
    assert text_of("\ude00\ud83d") == "\ufffd\ufffd"
    assert text_of(None) == text_of([1]) == ""


def test_a_choice_among_no_tools_is_not_sent() -> None:
    assert "tool_choice" not in sampling_json(Sampling(tool_choice="none", parallel_tool_calls=True))


def test_who_asks_for_logprobs() -> None:
    assert logprobs_json(Sampling()) == {}
    assert logprobs_json(Sampling(), wanted=True) == {"logprobs": True}
    assert logprobs_json(Sampling(logprobs=True)) == {"logprobs": True}
    assert logprobs_json(Sampling(logprobs=True, top_logprobs=0), wanted=True) == {
        "logprobs": True,
        "top_logprobs": 0,
    }


def test_calls_and_results_as_messages() -> None:
    made = (ToolCall("c", "f", '{"a": 1}'),)
    assert message_json(ChatMessage("assistant", "", tool_calls=made)) == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
    }
    assert message_json(ChatMessage("tool", "Rain.", tool_call_id="c")) == {
        "role": "tool",
        "content": "Rain.",
        "tool_call_id": "c",
    }


def test_pieces_of_calls_are_joined_by_their_numbers() -> None:
    deltas = [
        ToolCallDelta(1, "d", "g", "{"),
        ToolCallDelta(0, "c", "f", ""),
        ToolCallDelta(1, arguments="}"),
        ToolCallDelta(7, arguments="lost"),
    ]
    assert joined_calls(deltas) == (ToolCall("c", "f", ""), ToolCall("d", "g", "{}"))


def test_a_call_without_an_id_gets_one() -> None:
    (made,) = tool_calls_of(Sent(tool_calls=[call(id_=None)]))
    assert made.id.startswith("call_")


def test_a_call_waits_for_its_name() -> None:
    calls = StreamedCalls()
    assert calls.pieces_of(Sent(tool_calls=[call(None, "{", "a", index=3)])) == ()
    (piece,) = calls.pieces_of(Sent(tool_calls=[call("f", "}", None, index=3)]))
    assert piece == ToolCallDelta(3, "a", "f", "{}")
    assert streamed(call(None, "{}", "a")) == ()


def streamed(*pieces: Sent) -> tuple[ToolCall, ...]:
    """The calls of a stream of which each delta holds one piece."""
    calls = StreamedCalls()
    return joined_calls(delta for piece in pieces for delta in calls.pieces_of(Sent(tool_calls=[piece])))


@pytest.mark.parametrize("numbers", [{}, {"index": 0}, {"index": None}])
def test_calls_without_numbers_of_their_own_are_told_apart(numbers: Sent) -> None:
    both = (ToolCall("a", "f", '{"a":1}'), ToolCall("b", "g", '{"b":2}'))
    whole = [call("f", '{"a":1}', "a", **numbers), call("g", '{"b":2}', "b", **numbers)]
    assert streamed(*whole) == tool_calls_of(Sent(tool_calls=whole)) == both
    cut = [call("f", "{", "a"), call(None, '"a":1}', None), call("g", "", "b"), call(None, '{"b":2}', "")]
    assert streamed(*(piece | numbers for piece in cut)) == both
    alike = [call("f", "1", None, **numbers), call("g", "2", None, **numbers)]
    assert [(made.name, made.arguments) for made in streamed(*alike)] == [("f", "1"), ("g", "2")]


def test_an_id_that_is_repeated_begins_no_call() -> None:
    assert streamed(call("f", "{", "a"), call("f", "1", "a"), call("", "}", "a")) == (ToolCall("a", "f", "{1}"),)
    # Nor does one without a name, nor a name again where there are no ids.
    assert streamed(call("f", "{", "a"), call(None, "}", "z")) == (ToolCall("a", "f", "{}"),)
    (made,) = streamed(call("f", "{", None), call("f", "}", None))
    assert (made.name, made.arguments) == ("f", "{}")


def test_an_id_that_comes_late_begins_no_call() -> None:
    (made,) = streamed(call("f", "", None), call("f", "{}", "b"))
    assert (made.name, made.arguments) == ("f", "{}")


def test_whole_calls_of_one_function_without_ids_are_told_apart() -> None:
    sent = [call("f", '{"a":1}', ""), call("f", '{"a":2}', None), call("f", "", None)]
    assert [made.arguments for made in streamed(*sent)] == ['{"a":1}', '{"a":2}']


def test_pieces_of_calls_numbered_alike_go_to_the_call_of_their_id() -> None:
    for name in ("f", None):
        sent = [call("f", "{", "a"), call("g", "[", "b"), call(name, "}", "a"), call(name and "g", "]", "b")]
        assert streamed(*sent) == (ToolCall("a", "f", "{}"), ToolCall("b", "g", "[]"))


def test_calls_keep_their_numbers_where_they_have_some() -> None:
    calls = StreamedCalls()
    sent = [call("f", "{", "a", index=0), call("g", "{", "b", index=1), call(None, "}", None, index=0)]
    numbers = [delta.index for piece in sent for delta in calls.pieces_of(Sent(tool_calls=[piece]))]
    assert numbers == [0, 1, 0]


def test_arguments_that_are_no_text_become_json() -> None:
    said = Sent(tool_calls=[call(arguments=Sent(city="Ööd\ud800")), call(arguments=None)])
    assert [made.arguments for made in tool_calls_of(said)] == ['{"city": "Ööd\ufffd"}', ""]


@pytest.mark.parametrize(
    "message",
    [
        Sent(),
        Sent(tool_calls=None),
        Sent(tool_calls="f"),
        Sent(tool_calls=[None, 5, Sent(function=None)]),
        Sent(tool_calls=[call(name=5)]),
        None,
    ],
)
def test_what_is_no_call_is_none(message: Any) -> None:
    assert tool_calls_of(message) == ()


def test_tokens_with_their_probabilities() -> None:
    entry = Sent(
        token="De",
        logprob=-0.5,
        bytes=[68, 101],
        top_logprobs=[Sent(token="x", logprob=float("-inf"), bytes=None)],
    )
    choice = Sent(logprobs=Sent(content=[entry, Sent(token="ep", logprob=-1, bytes=[999])]))
    assert token_logprobs_of(choice) == (
        TokenLogprob("De", -0.5, (68, 101), (TokenLogprob("x", -9999.0),)),
        TokenLogprob("ep", -1.0),
    )


@pytest.mark.parametrize(
    "choice",
    [Sent(), Sent(logprobs=None), Sent(logprobs=Sent(content=[Sent(token="x", logprob="y")])), None],
)
def test_no_probabilities_or_others_are_none(choice: Any) -> None:
    assert token_logprobs_of(choice) is None


def test_reasoning_has_two_names() -> None:
    assert reasoning_of(Sent(reasoning_content="a")) == "a"
    assert reasoning_of(Sent(reasoning="b", reasoning_content=None)) == "b"
    assert reasoning_of(Sent(reasoning={"x": 1})) == ""


@pytest.mark.parametrize(
    ("said", "expected"),
    [("length", "length"), ("tool_calls", "tool_calls"), ("abort", "stop"), (None, "stop"), (["x"], "stop")],
)
def test_finish_reasons(said: Any, expected: str) -> None:
    assert finish_reason_of(Sent(finish_reason=said)) == expected
