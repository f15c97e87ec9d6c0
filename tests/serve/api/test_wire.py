from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ragkit.records import Answer, Box, Citation, Usage
from ragkit.serve.api.wire import (
    answer_json,
    citation_url,
    hits_json,
    json_bytes,
    url_citations,
    usage_json,
)
from ragkit.serve.pages.page_links import PageLinks
from tests.serve.house import two_hits

SCORE = 0.123456789012345678
CITATION = Citation(1, "a b/ö#1.txt", 2, "Deep.", 0, 9, 30, 35, SCORE, (Box(0.1, 0.2, 0.3, 0.4),))
LINKS = PageLinks("https://ask.example.org/rag")
# The words, and the first digits of the SHA-256 of "Deep.".
MARKED = "&spans=30-35&check=8d029ab77cd9#cited"
ANSWER = Answer(
    question="How?",
    text="Deep. [1] So.",
    engine="scripted",
    found=True,
    citations=(CITATION,),
    hits=tuple(two_hits()),
    unknown_marks=(9,),
    notes=("A note.",),
    usage=Usage(5, 6),
    timings_ms={"generate": 1.25},
)


def test_the_record_holds_everything_at_full_precision() -> None:
    record = json.loads(json.dumps(answer_json(ANSWER)))
    assert record["citations"] == [
        {
            "marker": 1,
            "document": "a b/ö#1.txt",
            "page": 2,
            "quote": "Deep.",
            "start": 0,
            "end": 9,
            "page_start": 30,
            "page_end": 35,
            "score": SCORE,
            "boxes": [{"left": 0.1, "top": 0.2, "right": 0.3, "bottom": 0.4}],
        }
    ]
    hit = record["hits"][1]
    assert (hit["rank"], hit["score"], hit["document"], hit["page"], hit["passage"]) == (
        2,
        0.5,
        "bridge.txt",
        3,
        1,
    )
    assert (record["answer"], record["found"], record["engine"]) == ("Deep. [1] So.", True, "scripted")
    assert (record["notes"], record["unknown_marks"], record["timings_ms"]) == (
        ["A note."],
        [9],
        {"generate": 1.25},
    )


def test_the_url_names_corpus_document_and_page() -> None:
    assert citation_url(CITATION, "my corpus", LINKS) == (
        "https://ask.example.org/rag/v1/ragkit/pages/my%20corpus/2?document=a%20b/%C3%B6%231.txt" + MARKED
    )


def test_usage_is_summed() -> None:
    body = usage_json([Usage(5, 6), Usage(7, 8)])
    assert body == {"prompt_tokens": 12, "completion_tokens": 14, "total_tokens": 26}


def test_details_of_usage_are_told_where_the_engine_tells_them() -> None:
    body = usage_json([Usage(5, 6, 4), Usage(7, 8, 3, 2)])
    assert body["prompt_tokens_details"] == {"cached_tokens": 7}
    assert body["completion_tokens_details"] == {"reasoning_tokens": 2}
    record = answer_json(replace(ANSWER, usage=Usage(7, 8, 3)))
    assert record["usage"] == {"prompt_tokens": 7, "completion_tokens": 8, "cached_tokens": 3}
    assert answer_json(ANSWER)["usage"] == {"prompt_tokens": 5, "completion_tokens": 6}


def test_json_has_neither_infinity_nor_halves_of_characters() -> None:
    assert json_bytes({"a": [float("nan"), 1.5], "ö": "\ud800x"}) == '{"a":[null,1.5],"ö":"?x"}'.encode()


def test_json_stands_on_one_line_whatever_ends_a_line() -> None:
    text = "a\nb\rc\x0bd\x0ce\x1cf\x1dg\x1eh\x85i\u2028j\u2029k\\u2028"
    sent = json_bytes({text: [text, float("inf")]})
    assert len(sent.decode().splitlines()) == 1
    assert json.loads(sent) == {text: [text, None]}


def test_places_are_those_of_the_text_that_was_sent() -> None:
    (whole,) = url_citations(ANSWER, "papers", LINKS)
    (sent,) = url_citations(ANSWER, "papers", LINKS, "Deep. So.")
    assert (whole["url_citation"]["start_index"], whole["url_citation"]["end_index"]) == (0, 9)
    place = sent["url_citation"]
    assert "Deep. So."[place["start_index"] : place["end_index"]].strip() == "Deep."


def test_places_behind_a_mark_that_was_put_in_are_exact() -> None:
    sent = "It opened. 1 crown was the fee. So [it] was."
    text = "It opened. [1] 1 crown was the fee. [2] So [it] was."
    citations = (replace(CITATION, marker=1, start=0, end=14), replace(CITATION, marker=2, start=15, end=39))
    answer = replace(ANSWER, text=text, citations=citations)
    places = [item["url_citation"] for item in url_citations(answer, "papers", LINKS, sent)]
    assert [(place["start_index"], place["end_index"]) for place in places] == [(0, 10), (11, 31)]
    assert [sent[place["start_index"] : place["end_index"]] for place in places] == [
        "It opened.",
        "1 crown was the fee.",
    ]


@given(st.lists(st.tuples(st.text("a1 [].", min_size=1, max_size=8), st.integers(0, 12)), max_size=6))
def test_places_are_exact_whatever_the_text(pieces: list[tuple[str, int]]) -> None:
    text, sent, citations, expected = "", "", [], []
    for piece, marker in pieces:  # 0: no source supports the sentence
        start, sent_start = len(text), len(sent)
        sent += piece
        text += piece + (f" [{marker}]" if marker else "")
        if marker:
            citations.append(replace(CITATION, marker=marker, start=start, end=len(text)))
            expected.append((sent_start, len(sent)))
    answer = replace(ANSWER, text=text, citations=tuple(citations))
    places = [item["url_citation"] for item in url_citations(answer, "papers", LINKS, sent)]
    assert [(place["start_index"], place["end_index"]) for place in places] == expected


def test_what_the_reranker_puts_far_below_the_retriever_is_marked() -> None:
    first, second = two_hits()
    places = (2, 3, 4, 1)
    hits = [
        replace(hit, retrieved_rank=place, retrieval_score=0.1)
        for hit, place in zip((first, second, first, second), places, strict=True)
    ]
    marks = [hit.get("retriever_disagrees") for hit in hits_json(hits)]
    assert marks == [None, None, None, True]
    answered = answer_json(replace(ANSWER, hits=tuple(hits)))["hits"]
    assert [(hit["rank"], hit["retrieved_rank"], hit.get("retriever_disagrees")) for hit in answered] == [
        (1, 2, None),
        (2, 3, None),
        (3, 4, None),
        (4, 1, True),
    ]
    assert all("retriever_disagrees" not in hit for hit in hits_json([first, second]))
