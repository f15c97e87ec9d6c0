from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest

from ragkit.records import ChatRequest, FloatArray, Passage
from ragkit.serve.engines.extractive_engine import ExtractiveEngine
from ragkit.serve.grounding.citations import cite
from ragkit.serve.grounding.marks import defuse_marks
from ragkit.serve.prompting.prompts import NOT_FOUND_TEXT
from tests.serve.house import BRIDGE, LAKE, FakeStore, make_page, make_source

SOURCES = (make_source(1, LAKE, title="Lake Ohm"), make_source(2, BRIDGE, title="Stone Bridge"))


def answer(question: str, *sources: object) -> str:
    return ExtractiveEngine().chat_batch([ChatRequest((), question, sources or SOURCES)])[0].text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How many metres deep is Lake Ohm?", "It is 41 metres deep. [1]"),
        ("Who designed the Stone Bridge?", "Clara Venn designed it. [2]"),
        ("When was the Stone Bridge opened?", "The Stone Bridge was opened in 1874. [2]"),
        ("Why do volcanoes erupt?", NOT_FOUND_TEXT),
        ("What?", NOT_FOUND_TEXT),
    ],
)
def test_it_quotes_the_sentence_that_answers(question: str, expected: str) -> None:
    assert answer(question).split("\n")[0] == expected


def test_every_line_is_a_place_in_its_source() -> None:
    for line in answer("What lives in the deep Lake Ohm in the north?").split("\n"):
        assert line.removesuffix(" [1]") in LAKE


def test_a_row_comes_with_the_head_of_its_table() -> None:
    table = make_source(1, "Yearly catch in tonnes.\nSpecies 2019 2020\nPike 12 14\nPerch 30 28")
    assert answer("How many tonnes of perch in 2020?", table) == "Species 2019 2020 [1]\nPerch 30 28 [1]"


def test_rows_of_one_table_share_its_head() -> None:
    table = make_source(1, "Species 2019 2020\nPerch north 30 28\nPerch south 12 14")
    assert answer("How many perch in 2020?", table).split("\n") == [
        "Species 2019 2020 [1]",
        "Perch north 30 28 [1]",
        "Perch south 12 14 [1]",
    ]


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (
            "How many tonnes of perch in 2020?",
            "Yearly catch in tonnes.\nSpecies 2019 2020\nPike 12 14\nPerch 30 28",
        ),
        (
            "How much did the fees earn in 2024?",
            "The following table shows what the fees of all harbours in the north and in the south earned in the "
            "years of this report, in millions, before taxes and after the\ncosts of collecting them are paid:\n"
            "Fiscal 2023 $ 19\nFiscal 2024 $ 25\nFiscal 2025 $ 31",
        ),
        (
            "How do I reset the pump?",
            "How do I reset the pump? Hold the button for five [5]\nseconds. It then beeps.",
        ),
        ("Where does the ferry go?", "and the ferry goes to the\nnorth every day. the ferry goes back at night"),
    ],
)
def test_every_word_of_an_answer_is_cited_by_its_own_place(question: str, text: str) -> None:
    source = make_source(1, text, document="a.txt")
    said = answer(question, source)
    cited = cite(said, [source], FakeStore({("a.txt", 1): make_page(text)}))
    assert [said[c.start : c.end] for c in cited.citations] == said.split("\n")
    for citation, line in zip(cited.citations, said.split("\n"), strict=True):
        place = text[citation.page_start : citation.page_end]
        assert defuse_marks(" ".join(place.split())) == line.removesuffix(" [1]")
        assert citation.quote == place
        assert len(citation.boxes) == len(place.split())


def test_an_answer_is_found_below_its_question() -> None:
    faq = make_source(1, "How do I reset the pump? Hold the button for five seconds. It then beeps.")
    assert (
        answer("How do I reset the pump?", faq)
        == "How do I reset the pump? [1]\nHold the button for five seconds. [1]"
    )


def test_marks_in_the_source_do_not_become_marks() -> None:
    assert answer("How deep is the lake?", make_source(1, "The lake is 41 m deep [7].")) == (
        "The lake is 41 m deep (7). [1]"
    )


def test_chinese_questions_are_answered() -> None:
    source = make_source(1, "欧姆湖位于北方。湖深四十一米。湖里有梭鱼。")
    assert answer("欧姆湖位于哪里？", source) == "欧姆湖位于北方。 [1]"
    assert answer("火山为什么喷发？", source) == NOT_FOUND_TEXT


def test_it_says_not_found_without_sources() -> None:
    (reply,) = ExtractiveEngine().chat_batch([ChatRequest((), "How deep?")])
    assert reply.text == NOT_FOUND_TEXT


def test_a_head_that_stands_there_twice_is_cited_above_its_row() -> None:
    text = "Costs\nIn thousands\nRent 12\n\nIncome\nIn thousands\nFees from boats 25"
    source = make_source(1, text, document="a.txt")
    said = answer("How much were the fees from boats?", source)
    assert said.split("\n")[-2:] == ["In thousands [1]", "Fees from boats 25 [1]"]
    *_, head, row = cite(said, [source], FakeStore({})).citations
    assert (head.page_start, row.page_start) == (text.rindex("In thousands"), text.index("Fees"))


class Synonyms:
    """Knows that depth and "41 metres" belong together; trusted, as its known pairs are far apart."""

    metric: Literal["cosine"] = "cosine"
    dim = 32
    fingerprint = "synonyms"

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        from ragkit.serve.grounding.similarity import _PAIRS

        known = {text: i for i, pair in enumerate(_PAIRS["english"]) for text in pair}
        rows = np.zeros((len(texts), self.dim), np.float32)
        for i, text in enumerate(texts):
            about_depth = "41" in text or "vertical extent" in text
            rows[i, known.get(text, 10 if about_depth else 11 + len(text) % 20)] = 1.0
        return rows

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        return self.embed_queries([passage.text for passage in passages])


def test_an_embedder_finds_what_shares_no_word() -> None:
    question = "Its vertical extent?"
    (reply,) = ExtractiveEngine(Synonyms()).chat_batch([ChatRequest((), question, SOURCES)])
    assert answer(question) == NOT_FOUND_TEXT
    assert reply.text == "It is 41 metres deep. [1]"


def test_eight_long_sources_take_less_than_50_ms() -> None:
    text = " ".join(
        f"Sentence {i} tells of the weather at station {i * 7} in the year {1900 + i}." for i in range(20)
    )
    request = ChatRequest(
        (), "What was the weather at station 70?", tuple(make_source(i, text) for i in range(1, 9))
    )
    engine = ExtractiveEngine()
    engine.chat_batch([request])
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        engine.chat_batch([request])
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.05
