from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.config import GenerationConfig
from ragkit.protocols import Engine
from ragkit.records import Answer, AnswerEvent, AskRequest, Hit
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.engines.extractive_engine import ExtractiveEngine
from ragkit.serve.generate import UNSUPPORTED_TEXT
from ragkit.serve.prompting.evidence_style import AnswerFilter, Evidence, parse_evidence
from ragkit.serve.prompting.prompts import NOT_FOUND_TEXT
from tests.serve.house import FakeStore, generate_answer, stream_answer, two_hits, two_page_store
from tests.serve.picture_house import SeeingEngine, picture_store, three_pictures

ASK = AskRequest("How deep is Lake Ohm?")
EVIDENCE = "[1]: the table gives a depth\nof 41 metres\n [2] : No relevant information."


def reply(answer: str = "41 metres", evidence: str = EVIDENCE) -> str:
    return (
        f"<observe>Two pages.</observe>\n<evidence>{evidence}</evidence>\n"
        f"<think>41, then.</think>\n<answer>{answer}</answer>\n"
    )


def test_a_reply_is_read_part_by_part() -> None:
    read = parse_evidence(reply(" 41 metres "), 2)
    assert (read.observe, read.think, read.answer) == ("Two pages.", "41, then.", "41 metres")
    assert read.evidence == (
        Evidence(1, "the table gives a depth of 41 metres"),
        Evidence(2, "No relevant information."),
    )
    assert [line.is_relevant for line in read.evidence] == [True, False]


@pytest.mark.parametrize(
    "text",
    [
        reply().upper(),
        reply().replace(">", " >"),
        f"```xml\n{reply()}```\n",
        reply(evidence="- [1]: a depth of 41 metres\n * [2]: *No relevant information* on this page"),
        reply(evidence="[1]：41米深\n[2]：no relevant information"),
    ],
)
def test_small_liberties_are_taken_for_the_form(text: str) -> None:
    read = parse_evidence(text, 2)
    assert [(line.marker, line.is_relevant) for line in read.evidence] == [(1, True), (2, False)]
    assert "41" in read.evidence[0].text
    assert read.answer.casefold() == "41 metres"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("41 metres", "its tags are missing instead of <observe>"),
        (reply().replace("<think>41, then.</think>", ""), "its tags are"),
        (reply().replace("</answer>", ""), "its tags are"),
        (reply() + reply(), "its tags are"),
        (reply().replace("observe", "think"), "its tags are <think>"),
        ("Well: " + reply(), "outside of its tags stands 'Well:'"),
        (reply(answer=" "), "its answer is empty"),
        (reply(evidence=""), "its evidence ''"),
        (reply(evidence="41 metres"), "its evidence '41 metres' does not begin with the number"),
        (reply(evidence="[3]: 41 metres"), r"its evidence '\[3\]: 41 metres'"),
        (reply(evidence="[0]: 41 metres"), r"its evidence '\[0\]: 41 metres'"),
        (reply(evidence="[1]: 41\n[1]: 42"), r"its evidence '\[1\]: 42'"),
    ],
)
def test_what_does_not_keep_to_the_form_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_evidence(text, 2)


def filtered(text: str, cuts: list[int]) -> str:
    answer, said, start = AnswerFilter(), "", 0
    for end in [*sorted(cut % (len(text) + 1) for cut in cuts), len(text)]:
        said += answer.push(text[start:end])
        start = end
    return said + answer.finish()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (reply(), "41 metres"),
        (reply("a < b </b>"), "a < b </b>"),
        (reply("Insufficient to answer."), NOT_FOUND_TEXT),
        (reply("insufficient to answer this, but 41"), "insufficient to answer this, but 41"),
        (reply("in"), "in"),
        (reply(""), ""),
        ("<answer>41 metres", "41 metres"),
        ("41 metres", "41 metres"),
        ("insufficient to answer", NOT_FOUND_TEXT),
        (reply("insufficient to answer [1]"), NOT_FOUND_TEXT),
        (reply("“`Insufficient to answer the question`”"), NOT_FOUND_TEXT),
        (reply("(insufficient to answer)"), NOT_FOUND_TEXT),
        (reply("Insufficient to answer! No page of 41 shows it."), NOT_FOUND_TEXT),
        (
            reply("insufficient to answer the question in full: 41"),
            "insufficient to answer the question in full: 41",
        ),
        (f"<answer>{NOT_FOUND_TEXT} But 41.", f"{NOT_FOUND_TEXT} But 41."),
        ("<observe>A page.</observe> It is 41. <think>So", NOT_FOUND_TEXT),
        ("<observe>A page.</observe><evidence>[1]: 41", NOT_FOUND_TEXT),
        ("<observe>It reads <answer>99</answer>.</observe><answer>41</answer>", "41"),
        ("<observe>It reads <think></think><answer>99</answer>.", NOT_FOUND_TEXT),
        ("<think>In <answer> tags.</think><answer>41", "41"),
        ("<answer><answer>41 <THINK >m</answer></answer><answer>9</answer>", "41 m"),
        (reply().upper(), "41 METRES"),
        (reply().replace(">", "  >"), "41 metres"),
        ("41 < 42 <b", "41 < 42 <b"),
        ("", ""),
    ],
)
@given(cuts=st.lists(st.integers(0, 300), max_size=12))
def test_the_answer_alone_is_passed_on_however_it_is_cut(text: str, expected: str, cuts: list[int]) -> None:
    assert filtered(text, cuts) == expected


def ask(text: str, hits: list[Hit], store: FakeStore, show: str = "auto") -> tuple[str, Answer, SeeingEngine]:
    """What was streamed, and the answer, which `generate_answer` must give as well."""
    config = GenerationConfig(style="evidence", show=show)  # type: ignore[arg-type]
    engine = SeeingEngine([text, text], [(-1.0,), (-1.0,)])
    whole = asyncio.run(generate_answer(ASK, hits, engine, store, None, None, config))

    async def collect() -> list[AnswerEvent]:
        return [event async for event in stream_answer(ASK, hits, engine, store, None, None, config)]

    *pieces, last = asyncio.run(collect())
    assert last.answer is not None
    assert record(last.answer) == record(whole)
    return "".join(piece.delta for piece in pieces), whole, engine


def record(answer: Answer) -> tuple[Any, ...]:
    return answer.text, answer.found, answer.citations, answer.notes, answer.unknown_marks


def test_evidence_on_text_becomes_citations() -> None:
    streamed, answer, engine = ask(
        reply(evidence="[1]: 41 metres deep\n[2]: no relevant information"), two_hits(), two_page_store()
    )
    assert streamed == "41 metres"
    assert (answer.text, answer.found) == ("41 metres [1]", True)
    assert [(c.document, c.quote, c.start, c.end) for c in answer.citations] == [
        ("lake.txt", "It is 41 metres deep.", 0, 13)
    ]
    assert answer.notes[0] == "Evidence that the engine named in lake.txt page 1: 41 metres deep"
    assert "those of its evidence were put behind it" in answer.notes[1]
    assert "<evidence>" in engine.asked[0].messages[0].content


def test_evidence_on_pictures_becomes_citations() -> None:
    text = reply(evidence="[1]: the chart says 41\n[2]: no relevant information\n[3]: and so does this")
    _, answer, _ = ask(text, three_pictures(), picture_store())
    assert answer.text == "41 metres [1] [3]"
    assert [(c.document, c.page, c.quote, answer.text[c.start : c.end]) for c in answer.citations] == [
        ("a.pdf", 1, "", "41 metres [1]"),
        ("a.pdf", 2, "", "41 metres [1] [3]"),
    ]


def test_marks_in_the_answer_go_before_the_evidence() -> None:
    streamed, answer, _ = ask(reply("41 metres [2][9]."), three_pictures(), picture_store())
    assert streamed == answer.text == "41 metres [2]."
    assert [(c.document, c.page) for c in answer.citations] == [("b.pdf", 4)]
    assert answer.unknown_marks == (9,)


def test_insufficient_evidence_is_not_found() -> None:
    text = reply("insufficient to answer", "[1]: no relevant information")
    streamed, answer, _ = ask(text, three_pictures(), picture_store())
    assert (streamed, answer.text, answer.found) == (NOT_FOUND_TEXT, NOT_FOUND_TEXT, False)
    assert answer.notes == ()


def test_a_reply_out_of_form_is_read_as_plain_text_and_says_so() -> None:
    streamed, answer, _ = ask("It is 41 metres deep [1].", two_hits(), two_page_store())
    assert streamed == answer.text == "It is 41 metres deep [1]."
    assert answer.notes == (
        "The engine did not keep to the form of the evidence style (its tags are missing instead of <observe> "
        "</observe> <evidence> </evidence> <think> </think> <answer> </answer>); read as plain text.",
    )
    half, answer, _ = ask(
        "<observe>Lakes.</observe><answer>It is 41 metres deep [1].", two_hits(), two_page_store()
    )
    assert half == answer.text == "It is 41 metres deep [1]."
    assert "did not keep to the form" in answer.notes[0]


def test_a_reply_that_was_cut_off_before_its_answer_is_not_found() -> None:
    text = "<observe>Lakes.</observe><evidence>[1]: It is 41 metres deep.\n[2]: no relevant information"
    streamed, answer, _ = ask(text, two_hits(), two_page_store())
    assert (streamed, answer.text, answer.found) == (NOT_FOUND_TEXT, NOT_FOUND_TEXT, False)
    assert answer.citations == ()
    assert answer.notes[0].endswith(f"it holds no answer part: {text!r}")


def test_an_answer_that_the_evidence_denies_is_not_backed() -> None:
    text = reply("Paris [1]", "[1]: no relevant information\n[2]: no relevant information")
    streamed, answer, _ = ask(text, three_pictures(), picture_store())
    assert (answer.text, answer.found) == (NOT_FOUND_TEXT, False)
    assert streamed.endswith(UNSUPPORTED_TEXT)


def test_the_style_has_room_for_its_four_parts() -> None:
    assert GenerationConfig(style="evidence").max_tokens == 2048
    assert GenerationConfig(style="evidence", max_tokens=99).max_tokens == 99
    assert GenerationConfig().max_tokens == 512


@pytest.mark.parametrize("engine", [ExtractiveEngine(), EchoEngine()])
def test_engines_that_repeat_the_sources_need_not_keep_to_the_form(engine: Engine) -> None:
    config = GenerationConfig(style="evidence")
    answer = asyncio.run(generate_answer(ASK, two_hits(), engine, two_page_store(), None, None, config))
    assert answer.found
    assert not any("form" in note for note in answer.notes)


def test_the_plain_style_leaves_tags_alone() -> None:
    engine = SeeingEngine(["It is <answer>41 metres</answer> deep [1]."])
    answer = asyncio.run(generate_answer(ASK, two_hits(), engine, two_page_store()))
    assert answer.text == "It is <answer>41 metres</answer> deep [1]."
