from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pytest

from ragkit.config import GenerationConfig
from ragkit.errors import ContextLengthError, EngineError
from ragkit.records import (
    Answer,
    AnswerEvent,
    AskRequest,
    ChatDelta,
    ChatMessage,
    ChatReply,
    ChatRequest,
    ImageLimits,
    Sampling,
    Usage,
)
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.engines.extractive_engine import ExtractiveEngine
from ragkit.serve.generate import UNSUPPORTED_TEXT
from ragkit.serve.prompting.packing import build_request
from ragkit.serve.prompting.prompts import NOT_FOUND_TEXT
from tests.serve.house import LAKE, FakeStore, generate_answer, make_hit, stream_answer, two_hits, two_page_store

ASK = AskRequest("How deep is Lake Ohm?")


@dataclass
class ScriptedEngine:
    """Says what it is told to, four characters at a time."""

    text: str
    finish_reason: str = "stop"
    name: str = "scripted"
    context_tokens: int = 8192
    image_limits: ImageLimits | None = None
    asked: list[ChatRequest] = field(default_factory=list)
    closed: bool = False

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return 1

    async def chat(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request)
        return ChatReply(self.text, self.finish_reason, Usage(5, 6))

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        self.asked.append(request)
        try:
            for start in range(0, len(self.text), 4):
                yield ChatDelta(self.text[start : start + 4])
            yield ChatDelta(finish_reason=self.finish_reason, usage=Usage(5, 6))
        finally:
            self.closed = True

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        raise NotImplementedError


def ask(engine: object, request: AskRequest = ASK) -> Answer:
    answer = generate_answer(request, two_hits(), engine, two_page_store(), None, {"retrieve": 1.5})  # type: ignore[arg-type]
    return asyncio.run(answer)


def ask_streamed(engine: object) -> tuple[str, Answer]:
    async def collect() -> list[AnswerEvent]:
        return [event async for event in stream_answer(ASK, two_hits(), engine, two_page_store())]  # type: ignore[arg-type]

    *pieces, last = asyncio.run(collect())
    assert last.answer is not None
    assert all(piece.answer is None for piece in pieces)
    return "".join(piece.delta for piece in pieces), last.answer


def test_an_answer_with_marks() -> None:
    answer = ask(ScriptedEngine(" It is 41 metres deep [1, 7]. "))
    assert (answer.text, answer.found, answer.unknown_marks) == ("It is 41 metres deep [1].", True, (7,))
    assert [(c.document, c.page, c.quote) for c in answer.citations] == [("lake.txt", 1, "It is 41 metres deep.")]
    assert answer.hits == tuple(two_hits())
    assert (answer.engine, answer.usage, answer.question) == ("scripted", Usage(5, 6), ASK.question)
    assert list(answer.timings_ms) == ["retrieve", "generate", "cite"]
    assert answer.timings_ms["retrieve"] == 1.5
    assert answer.notes == ()


@pytest.mark.parametrize(
    "text",
    [
        "It is 41 metres deep [1]. Venn designed the bridge [source 2] [9].",
        f"{NOT_FOUND_TEXT}",
        "  \nIt is 41 metres deep [1]\n\n",
        "[8] It is 41 metres deep [1",
        "It is 41 metres deep 【1】.",
    ],
)
def test_streamed_pieces_joined_are_the_answers_text(text: str) -> None:
    streamed, answer = ask_streamed(ScriptedEngine(text))
    whole = ask(ScriptedEngine(text))
    if answer.citations or text == NOT_FOUND_TEXT:
        assert streamed == answer.text
    assert (answer.text, answer.citations, answer.unknown_marks) == (
        whole.text,
        whole.citations,
        whole.unknown_marks,
    )
    assert answer.usage == Usage(5, 6)


def test_marks_are_found_for_text_without_any() -> None:
    text = "Lake Ohm is 41 metres deep. Volcanoes are hot."
    streamed, answer = ask_streamed(ScriptedEngine(text))
    assert streamed == text
    assert answer.text == "Lake Ohm is 41 metres deep. [1] Volcanoes are hot."
    assert answer.found
    assert "put behind the sentences that a source supports" in answer.notes[0]


@pytest.mark.parametrize("text", ["Volcanoes erupt because of gas.", "Volcanoes erupt [9]."])
def test_text_that_no_source_supports_is_replaced(text: str) -> None:
    streamed, answer = ask_streamed(ScriptedEngine(text))
    kept = text.replace(" [9]", "")
    assert streamed == f"{kept}\n\n{UNSUPPORTED_TEXT}"
    assert (answer.text, answer.found, answer.citations) == (NOT_FOUND_TEXT, False, ())
    assert answer.notes == (f"No source supports what the engine scripted wrote: {kept!r}",)


def test_an_empty_reply_is_not_found() -> None:
    streamed, answer = ask_streamed(ScriptedEngine(""))
    assert (streamed, answer.text, answer.found) == (NOT_FOUND_TEXT, NOT_FOUND_TEXT, False)


def test_an_engine_that_says_not_found_is_believed() -> None:
    streamed, answer = ask_streamed(ScriptedEngine("not found in these documents [1]."))
    assert (answer.found, answer.citations, answer.text) == (False, (), streamed)


@pytest.mark.parametrize(
    "text",
    [
        "Not found in these documents",
        '"Not found in these documents."',
        "“not found in these documents”.",
        "**Not found in these documents.**",
        "Not found in these documents. [1][2]",
        "[1] Not found in these documents!",
    ],
)
def test_not_found_may_stand_in_quotes_and_bear_marks(text: str) -> None:
    streamed, answer = ask_streamed(ScriptedEngine(text))
    assert (answer.found, answer.citations, answer.notes) == (False, (), ())
    assert answer.text == streamed == text


def test_what_follows_not_found_is_checked_like_any_reply() -> None:
    text = f"{NOT_FOUND_TEXT} But generally a pump draws 90 kilowatts."
    streamed, answer = ask_streamed(ScriptedEngine(text))
    assert (answer.text, answer.found, answer.citations) == (NOT_FOUND_TEXT, False, ())
    assert answer.notes == (f"No source supports what the engine scripted wrote: {text!r}",)
    assert streamed == f"{text}\n\n{UNSUPPORTED_TEXT}"
    assert ask(ScriptedEngine(text)).text == NOT_FOUND_TEXT
    supported = ask(ScriptedEngine(f"{NOT_FOUND_TEXT} But Lake Ohm is 41 metres deep."))
    assert supported.text == f"{NOT_FOUND_TEXT} But Lake Ohm is 41 metres deep. [1]"
    # The name and the depth stand in two sentences of the page.
    assert [c.quote for c in supported.citations] == ["Lake Ohm lies in the north. It is 41 metres deep."]


def test_without_hits_the_engine_is_not_asked() -> None:
    engine = ScriptedEngine("Never said.")
    answer = asyncio.run(generate_answer(ASK, [], engine, two_page_store()))
    assert (answer.text, answer.found, engine.asked) == (NOT_FOUND_TEXT, False, [])


def test_the_engine_gets_history_and_sampling() -> None:
    engine = ScriptedEngine("It is 41 metres deep [1].")
    sampling = Sampling(max_tokens=9, temperature=0.5)
    ask(engine, AskRequest("And?", (ChatMessage("user", "Hello"),), sampling))
    (request,) = engine.asked
    assert [m.content for m in request.messages[1:-1]] == ["Hello"]
    assert (request.question, request.sampling) == ("And?", sampling)


def test_a_cut_answer_says_so() -> None:
    answer = ask(ScriptedEngine("It is 41 metres [1]", "length"), AskRequest("?", sampling=Sampling(max_tokens=4)))
    assert answer.finish_reason == "length"
    assert answer.notes == ("The answer was cut off at max_tokens = 4.",)


def test_log_probabilities_that_did_not_come_are_told() -> None:
    text = "It is 41 metres deep [1]."
    plain, many = Sampling(logprobs=True), Sampling(logprobs=True, top_logprobs=6)
    assert ask(ScriptedEngine(text)).notes == ()
    for sampling, why in ((plain, "it has none."), (many, "it has none, or not with top_logprobs = 6.")):
        answer = ask(ScriptedEngine(text), AskRequest(ASK.question, sampling=sampling))
        assert answer.notes == (f"The engine scripted gave no log-probabilities: {why}",)
    (note,) = ask(EchoEngine(), AskRequest(ASK.question, sampling=plain)).notes
    assert note.endswith(": logprobs had no effect.")


class RefusingToAnswer(ScriptedEngine):
    """Says its text, then that it refuses."""

    async def chat(self, request: ChatRequest) -> ChatReply:
        return ChatReply(self.text, refusal="I cannot.")


@pytest.mark.parametrize("style", ["plain", "evidence"])
def test_a_refusal_needs_no_form_and_no_probabilities(style: Literal["plain", "evidence"]) -> None:
    request = AskRequest(ASK.question, sampling=Sampling(logprobs=True))
    asked = (
        request,
        two_hits(),
        RefusingToAnswer(""),
        two_page_store(),
        None,
        None,
        GenerationConfig(style=style),
    )
    answer = asyncio.run(generate_answer(*asked))
    assert (answer.text, answer.refusal, answer.found) == ("", "I cannot.", False)
    assert answer.notes == ("The engine scripted refused to answer: 'I cannot.'",)


def test_the_extractive_engine_says_that_it_only_quotes() -> None:
    answer = ask(ExtractiveEngine(), AskRequest("How many metres deep is the lake?"))
    assert answer.text.split("\n")[0] == "It is 41 metres deep. [1]"
    assert answer.citations[0].quote == "It is 41 metres deep."
    assert "[generation] engine" in answer.notes[0]


def test_the_extractive_engine_says_what_of_sampling_it_does_not_heed() -> None:
    question = "How many metres deep is the lake?"
    sampling = Sampling(max_tokens=2, stop=("metres",), seed=1)
    answer = ask(ExtractiveEngine(), AskRequest(question, sampling=sampling))
    assert answer.text.split("\n")[0] == "It is 41 metres deep. [1]"
    assert answer.notes[1:] == ("Quotes are not sampled: max_tokens, stop, seed had no effect.",)
    assert len(ask(ExtractiveEngine(), AskRequest(question)).notes) == 1
    assert ask(ScriptedEngine("It is 41 metres deep [1]."), AskRequest(question, sampling=sampling)).notes == ()


def test_what_did_not_fit_is_in_the_record() -> None:
    bare = EchoEngine().count_tokens(build_request(ASK.question, [], EchoEngine()).request.messages)
    one = ask(EchoEngine(context_tokens=512 + bare + 25))
    assert "1 source did not fit" in one.notes[0]
    assert {citation.marker for citation in one.citations} == {1}
    assert one.packing.ranks == (1,)
    assert [(d.rank, d.document, d.page, d.reason) for d in one.packing.dropped] == [
        (2, "bridge.txt", 3, "does not fit")
    ]
    # The prompt has 44 words of two sources beside the bare ones; the answer gives way.
    room = ask(EchoEngine(context_tokens=512 + bare + 5))
    assert (room.packing.ranks, room.packing.dropped) == ((1, 2), ())
    assert any("tokens instead of 512" in note for note in room.notes)


def test_an_engine_that_fails_is_an_error() -> None:
    class Broken(ScriptedEngine):
        async def chat(self, request: ChatRequest) -> ChatReply:
            raise EngineError("out of order")

    with pytest.raises(EngineError, match="out of order"):
        ask(Broken(""))


def test_a_reader_that_stops_early_stops_the_engine() -> None:
    engine = ScriptedEngine("It is 41 metres deep [1].")

    async def stop_early() -> None:
        events = stream_answer(ASK, two_hits(), engine, two_page_store())
        assert (await anext(events)).hits == tuple(two_hits())
        await anext(events)
        assert not engine.closed
        await events.aclose()  # type: ignore[attr-defined]

    asyncio.run(stop_early())
    assert engine.closed


@dataclass
class RefusingEngine(ScriptedEngine):
    """Counts a quarter of the words that a prompt has, and refuses prompts of more words than its server takes."""

    most: int = 0

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return sum(len(message.content.split()) for message in messages) // 4

    def _check(self, request: ChatRequest) -> None:
        self.asked.append(request)
        if self.count_tokens(request.messages) * 4 > self.most:
            raise ContextLengthError(f"this model's maximum context length is {self.most} tokens")

    async def chat(self, request: ChatRequest) -> ChatReply:
        self._check(request)
        return ChatReply(self.text, self.finish_reason, Usage(5, 6))

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        self._check(request)
        yield ChatDelta(self.text)
        yield ChatDelta(finish_reason=self.finish_reason, usage=Usage(5, 6))


def refused(most: int) -> list[Answer]:
    """Both ways of asking, with sources of some 1,100 words."""
    hits = [make_hit(f"{i}.txt", "Lake Ohm is 41 metres deep. " * 30) for i in range(6)]
    request = AskRequest("How deep is Lake Ohm?", sampling=Sampling(max_tokens=20))

    def engine() -> RefusingEngine:
        return RefusingEngine("It is 41 metres deep [1].", context_tokens=400, most=most)

    async def streamed() -> Answer:
        events = [event async for event in stream_answer(request, hits, engine(), two_page_store())]
        assert "".join(event.delta for event in events) == "It is 41 metres deep [1]."
        assert events[-1].answer is not None
        return events[-1].answer

    whole = generate_answer(request, hits, engine(), two_page_store())
    return [asyncio.run(whole), asyncio.run(streamed())]


def test_a_prompt_that_the_engine_refuses_as_too_long_is_made_shorter() -> None:
    for answer in refused(most=700):
        assert answer.found
        # 6 sources have some 1,100 words; 2 quarters of the context leave room for 720 less 4 times 20.
        assert len(answer.packing.ranks) == 3
        assert len(answer.packing.dropped) == 3
        assert answer.notes[-1] == (
            "The engine refused a longer prompt; this one leaves 200 tokens of its context free."
        )
        assert sum("did not fit" in note for note in answer.notes) == 1
    for answer in refused(most=10_000):
        assert (len(answer.packing.ranks), answer.notes) == (6, ())


def test_an_engine_that_refuses_every_prompt_is_asked_four_times() -> None:
    engine = RefusingEngine("Never said.", context_tokens=8192, most=0)
    with pytest.raises(ContextLengthError, match="maximum context length is 0"):
        ask(engine)
    assert len(engine.asked) == 4
    engine.asked.clear()
    with pytest.raises(ContextLengthError):
        ask_streamed(engine)
    assert len(engine.asked) == 4


@dataclass
class ClosingEngine(ScriptedEngine):
    """Closes the store before it answers."""

    store: FakeStore = field(default_factory=two_page_store)

    async def chat(self, request: ChatRequest) -> ChatReply:
        self.store.pages.clear()
        return await super().chat(request)


@pytest.mark.parametrize(("times", "boxes"), [(1, 5), (300, 0)])
def test_pages_of_few_words_are_read_before_the_engine_is_asked(times: int, boxes: int) -> None:
    engine = ClosingEngine("It is 41 metres deep [1].")
    hits = [make_hit("lake.txt", LAKE * times, score=0.75)]
    answer = asyncio.run(generate_answer(ASK, hits, engine, engine.store))
    assert [(c.quote, len(c.boxes)) for c in answer.citations] == [("It is 41 metres deep.", boxes)]
