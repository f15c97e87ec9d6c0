from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL.Image import Image

from ragkit.protocols import Embedder, PassageStore
from ragkit.records import Box, PageImage, Source
from ragkit.serve.grounding.citations import Citer, cite
from ragkit.serve.grounding.marks import MarkFilter
from ragkit.serve.grounding.units import one_line
from tests.serve.grounding.test_similarity import PlannedEmbedder
from tests.serve.house import BRIDGE, LAKE, FakeStore, make_page, make_source, two_page_store

SOURCES = (
    make_source(1, LAKE, document="lake.txt", score=0.75),
    make_source(2, BRIDGE, document="bridge.txt", page=3, score=0.5),
)


def test_a_mark_becomes_a_citation_of_its_sentence() -> None:
    text = "It is deep: 41 metres [1]. Clara Venn designed it in 1870. [2]"
    cited = cite(text, SOURCES, two_page_store())
    assert (cited.text, cited.note) == (text, "")
    first, second = cited.citations
    assert (first.marker, first.document, first.page, first.score) == (1, "lake.txt", 1, 0.75)
    assert text[first.start : first.end] == "It is deep: 41 metres [1]."
    assert first.quote == "It is 41 metres deep."
    assert (first.page_start, first.page_end) == (28, 49)
    assert (second.marker, second.document, second.page) == (2, "bridge.txt", 3)
    assert text[second.start : second.end] == "Clara Venn designed it in 1870. [2]"
    assert second.quote == "Clara Venn designed it."


def test_boxes_are_those_of_the_quoted_words() -> None:
    (citation,) = cite("It is 41 metres deep [1].", SOURCES, two_page_store()).citations
    # Words 6 to 10 of the page: It is 41 metres deep.
    expected = [(i / 1000, i / 1000, (i + 1) / 1000, (i + 1) / 1000) for i in range(6, 11)]
    assert [pytest.approx(box) for box in expected] == [(b.left, b.top, b.right, b.bottom) for b in citation.boxes]
    assert isinstance(citation.boxes[0], Box)


def test_quotes_are_places_of_the_page_not_of_the_passage() -> None:
    page = make_page(f"A heading\n\n{LAKE}")
    source = make_source(1, LAKE, document="lake.txt", start=11)
    (citation,) = cite("It is 41 metres deep [1].", [source], FakeStore({("lake.txt", 1): page})).citations
    assert page.text[citation.page_start : citation.page_end] == citation.quote == "It is 41 metres deep."


def test_two_marks_of_a_sentence_are_two_citations_and_a_page_is_read_once() -> None:
    store = two_page_store()
    cited = cite("Both are old [1][2]. The lake is deep [1].", SOURCES, store)
    assert [(c.marker, c.start) for c in cited.citations] == [(1, 0), (2, 0), (1, 21)]
    assert store.reads == [("lake.txt", 1), ("bridge.txt", 3)]


def test_marks_on_a_line_of_their_own_belong_to_the_sentence_before() -> None:
    text = "It is 41 metres deep.\n[1]"
    (citation,) = cite(text, SOURCES, two_page_store()).citations
    assert (citation.start, citation.end) == (0, len(text))
    assert citation.quote == "It is 41 metres deep."


@pytest.mark.parametrize(
    "marks",
    [
        " [1].",
        " ([1])",
        " [1], [1].",
        " **[1]**",
        " _[1]_",
        "\n\n- [1]",
        "\n\nSources: [1]",
        " [1];",
        " —[1]",
        " (see [1])",
    ],
)
def test_marks_belong_to_the_sentence_before_whatever_stands_around_them(marks: str) -> None:
    text = f"Lake Ohm lies in the north. It is 41 metres deep.{marks}"
    cited = cite(text, SOURCES, two_page_store())
    assert {(c.start, c.end, c.quote) for c in cited.citations} == {(28, len(text), "It is 41 metres deep.")}


@pytest.mark.parametrize("text", ["[1]", "- [1], [2].", "Sources: [1][2]"])
def test_marks_alone_are_backed_by_nothing(text: str) -> None:
    cited = cite(text, SOURCES, two_page_store())
    assert (cited.citations, cited.is_backed) == ((), False)


@pytest.mark.parametrize(
    "second",
    ["pike and perch live in it. [1]", "Clara Venn designed it for the people of the northern town [2]"],
)
def test_a_mark_at_the_end_of_a_line_ends_its_sentence(second: str) -> None:
    first = "Lake Ohm lies in the north and is 41 metres deep [1]"
    cited = cite(f"{first}\n{second}", SOURCES, two_page_store())
    assert [cited.text[c.start : c.end] for c in cited.citations] == [first, second]


def test_a_quoted_sentence_that_begins_in_the_middle_is_cited_alone() -> None:
    text = "Lake Ohm lies in the north. [1]\nit is 41 metres deep. [1] [2]\n[2]"
    cited = cite(text, SOURCES, two_page_store())
    assert [(c.marker, c.start, c.end) for c in cited.citations] == [(1, 0, 31), (1, 32, 65), (2, 32, 65)]


def test_a_sentence_that_stands_in_the_source_is_quoted_alone() -> None:
    # The words of its first sentence are in the second as well.
    source = make_source(2, "Perch 30 28 and pike 12. Perch 30 28.", document="bridge.txt")
    (citation,) = cite("Perch 30 28. [2]", [source], FakeStore({})).citations
    assert (citation.quote, citation.page_start) == ("Perch 30 28.", 25)


def test_where_there_is_no_mark_supported_sentences_get_one() -> None:
    text = "Lake Ohm is 41 metres deep. Volcanoes are hot. The bridge was opened in 1874."
    cited = cite(text, SOURCES, two_page_store())
    assert cited.text == ("Lake Ohm is 41 metres deep. [1] Volcanoes are hot. The bridge was opened in 1874. [2]")
    assert "put behind the sentences that a source supports" in cited.note
    assert [cited.text[c.start : c.end] for c in cited.citations] == [
        "Lake Ohm is 41 metres deep. [1]",
        "The bridge was opened in 1874. [2]",
    ]


def test_a_sentence_without_a_mark_stays_uncited_where_others_have_one() -> None:
    cited = cite("Lake Ohm is 41 metres deep [1]. The bridge was opened in 1874.", SOURCES, two_page_store())
    assert [citation.marker for citation in cited.citations] == [1]
    assert cited.text.endswith("1874.")


CODE = "It is 41 metres deep [1]:\n```python\nx = depth[2] + y[7]\n```\nSo `z[2]` is old."


def test_code_has_no_marks() -> None:
    cited = cite(CODE, SOURCES, two_page_store())
    assert cited.text == CODE
    assert [(c.marker, c.start, c.end) for c in cited.citations] == [(1, 0, 25)]


def test_no_mark_is_put_into_code() -> None:
    text = "```\nIt is 41 metres deep.\n```\nIt is `41 metres deep. Yes` deep."
    cited = cite(text, SOURCES, two_page_store())
    assert cited.text == f"{text} [1]"
    assert [(c.start, c.end) for c in cited.citations] == [(30, len(cited.text))]


def test_code_alone_is_cited_behind_its_fence() -> None:
    text = "```\nIt is 41 metres deep.\n```"
    cited = cite(text, SOURCES, two_page_store())
    assert (cited.text, cited.is_backed) == (f"{text}\n[1]", True)
    assert [(c.marker, c.quote) for c in cited.citations] == [(1, "It is 41 metres deep.")]
    marked = "`It is 41 metres deep. [1]`"
    assert [c.marker for c in cite(marked, SOURCES, two_page_store()).citations] == [1]


@pytest.mark.parametrize("opening", ["Run: ```sh", "1. ```sh", "```sh", "> ```sh"])
@pytest.mark.parametrize("closing", ["```", "``` [2]", "  ```"])
def test_what_stands_behind_a_block_of_code_is_cited(opening: str, closing: str) -> None:
    text = f"{opening}\npip install x[7]\n{closing}\nIt is 41 metres deep [1]."
    cited = cite(text, SOURCES, two_page_store())
    assert (cited.citations[-1].marker, cited.citations[-1].quote) == (1, "It is 41 metres deep.")
    assert text[cited.citations[-1].start :] == "It is 41 metres deep [1]."
    assert cited.is_backed


def test_a_fence_that_is_not_closed_hides_nothing() -> None:
    text = "``` sh\nIt is 41 metres deep [1]."
    assert [c.marker for c in cite(text, SOURCES, two_page_store()).citations] == [1]


@pytest.mark.parametrize("text", ["Quelle [1]", "See [1]", "✓ [1]"])
def test_an_answer_of_one_word_is_one(text: str) -> None:
    assert cite(text, SOURCES, two_page_store()).is_backed


def test_an_embedder_need_not_be_hashable() -> None:
    @dataclass
    class Plain(PlannedEmbedder):
        floor: float = 0.0

        def __post_init__(self) -> None:
            super().__init__(self.floor)

    with pytest.raises(TypeError):
        hash(Plain())
    assert cite("It is 41 metres deep.", SOURCES, two_page_store(), Plain()).citations


CODE_PIECES = ("`", "``", "```", "```sh\n", "\n```\n", "\r\n", "\n", "\t", "> ", "- ", "~~~\n", "x")
MARK_PIECES = (
    " [1]",
    "[9]",
    "[0]",
    "[01]",
    "Sources: ",
    "It is 41 metres deep.",
    " The bridge was opened in 1874.",
)


@given(st.lists(st.sampled_from([*CODE_PIECES, *MARK_PIECES])).map("".join), st.integers(1, 9))
def test_whatever_is_written_is_cited_within_it(text: str, size: int) -> None:
    marks = MarkFilter(2)
    pieces = [marks.push(text[at : at + size]) for at in range(0, len(text), size)]
    whole = MarkFilter(2)
    passed = "".join([*pieces, marks.finish()])
    assert passed == whole.push(text) + whole.finish()
    cited = cite(passed, SOURCES, two_page_store())
    for citation in cited.citations:
        assert citation.marker in (1, 2)
        assert 0 <= citation.start < citation.end <= len(cited.text)


def test_text_that_no_source_supports_has_no_citations() -> None:
    cited = cite("Volcanoes erupt because of gas pressure.", SOURCES, two_page_store())
    assert (cited.text, cited.citations) == ("Volcanoes erupt because of gas pressure.", ())


def test_a_page_that_changed_since_retrieval_gives_no_boxes_and_leaves_the_quote() -> None:
    store = FakeStore({("lake.txt", 1): make_page(f"A new heading. {LAKE}")})
    (citation,) = cite("It is 41 metres deep [1].", SOURCES, store).citations
    assert (citation.quote, citation.boxes) == ("It is 41 metres deep.", ())


def test_a_document_removed_since_retrieval_is_still_quoted() -> None:
    cited = cite("It is 41 metres deep [1]. Clara Venn designed it [2].", SOURCES, FakeStore({}))
    assert [(c.quote, c.boxes) for c in cited.citations] == [
        ("It is 41 metres deep.", ()),
        ("Clara Venn designed it.", ()),
    ]


class Untouchable:
    """A store or an embedder that must not be used any more."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was used")


def ready(sources: Sequence[Source] = SOURCES) -> Citer:
    """What has read all that it may read."""
    citer = Citer.ahead(sources, two_page_store(), cast("Embedder", Untouchable()))
    assert citer is not None
    citer._pages._store = cast("PassageStore", Untouchable())
    return citer


OF_LAKE = [
    "Lake Ohm lies in the north.",
    "It is 41 metres deep.",
    "Pike and perch live",
    "Ohm lies in the",
]
OF_BRIDGE = [
    "Clara Venn designed it.",
    "It has five arches.",
    "Bridge was\nopened in 1874",
    "It\nhas five arches",
]
HELD = st.sampled_from([*((text, "[1]") for text in OF_LAKE), *((text, "[2]") for text in OF_BRIDGE)])
WRITTEN = st.sampled_from(
    [*OF_LAKE, *OF_BRIDGE, "Venn built five arches", "Clara\nVenn: 1874", "Volcanoes erupt", ""]
)
MARKED = HELD | st.tuples(WRITTEN, st.sampled_from(["[1]", "[2]", "[1][2]", ""]))


@given(st.lists(st.tuples(MARKED, st.sampled_from([". ", "\n", " "])), max_size=4))
def test_what_is_cited_at_once_is_what_is_cited(pieces: list[tuple[tuple[str, str], str]]) -> None:
    text = "".join(f"{written} {mark}{end} " for (written, mark), end in pieces)
    at_once = ready().cite_at_once(text)
    assert at_once is None or at_once == cite(text, SOURCES, two_page_store())


@given(st.lists(HELD, min_size=1, max_size=40))
def test_lines_that_their_sources_have_word_for_word_are_cited_at_once(lines: list[tuple[str, str]]) -> None:
    text = "\n".join(f"{written} {mark}" for written, mark in lines)
    cited = ready().cite_at_once(text)
    assert cited is not None
    assert cited == cite(text, SOURCES, two_page_store())
    for (written, _), citation in zip(lines, cited.citations, strict=True):
        assert one_line(written) in citation.quote
        assert citation.boxes


def test_a_short_text_that_the_sources_have_word_for_word_is_cited_at_once() -> None:
    text = "It is 41 metres deep [1]. The Stone Bridge\nwas opened in [2]\nClara Venn designed it. [2]"
    cited = ready().cite_at_once(text)
    assert cited is not None
    assert cited == cite(text, SOURCES, two_page_store())
    assert [citation.quote for citation in cited.citations] == [
        "It is 41 metres deep.",
        "The Stone Bridge was opened in 1874.",
        "Clara Venn designed it.",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "It is 41 metres deep.",
        "Volcanoes erupt [1].",
        "It is deep: 41 metres [1].",
        "It is 41 metres deep [1]. " * 41,
        f"It is 41 metres deep [1]. {'And so on. ' * 400}",
    ],
)
def test_what_takes_time_is_not_cited_at_once(text: str) -> None:
    assert ready().cite_at_once(text) is None


def test_many_marks_of_a_long_source_are_not_cited_at_once() -> None:
    citer = ready([make_source(1, "It is deep. " * 1000, document="lake.txt")])
    assert citer.cite_at_once("It is deep [1]. " * 3) is not None
    assert citer.cite_at_once("It is deep [1]. " * 4) is None


@pytest.mark.parametrize("text", ["It is deep. " * 1001, "41 metres\n" * 61])
def test_long_sources_and_many_lines_are_not_made_ready_ahead(text: str) -> None:
    source = make_source(1, text, document="lake.txt")
    assert Citer.ahead([source], two_page_store(), None) is None


@pytest.mark.parametrize(("times", "is_ready"), [(600, True), (1200, False)])
def test_long_pages_are_not_kept_ahead(times: int, is_ready: bool) -> None:
    page = make_page(f"{LAKE} " * times)
    store = FakeStore({("lake.txt", 1): page, ("bridge.txt", 3): page})
    assert (Citer.ahead(SOURCES, store, None) is not None) is is_ready


def test_what_was_not_made_ahead_is_not_cited_at_once() -> None:
    assert Citer(SOURCES, two_page_store()).cite_at_once("It is 41 metres deep [1].") is None


def test_pictured_pages_are_not_made_ready_ahead() -> None:
    passage = replace(SOURCES[0].hit.passage, text="", image=PageImage("lake.txt", 1, 9, 9, Image))
    source = replace(SOURCES[0], hit=replace(SOURCES[0].hit, passage=passage))
    assert Citer.ahead([source], two_page_store(), None) is None
