from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ragkit import Corpus, TextRecord
from ragkit.records import Answer, AskRequest, ChatMessage, SpanArray
from ragkit.serve.search_notes import search_notes
from tests.fakes import HashEmbedder
from tests.serve.house import two_hits, two_page_store

LONG = "How deep is Lake Ohm " + "in the north " * 8


class WordEmbedder(HashEmbedder):
    """Shows its tokens, which are words; reads ten of them."""

    max_tokens = 10

    def token_spans(self, texts: Sequence[str]) -> list[SpanArray]:
        found = [[match.span() for match in re.finditer(r"\S+", text)] for text in texts]
        return [np.array(spans, np.int32).reshape(-1, 2) for spans in found]


def answers(corpus: Corpus, request: AskRequest) -> list[Answer]:
    async def streamed() -> Answer:
        events = [event async for event in corpus.answerer.stream(request)]
        assert events[-1].answer is not None
        return events[-1].answer

    return [asyncio.run(corpus.answerer.ask(request)), asyncio.run(streamed())]


def test_a_question_longer_than_the_embedder_reads_is_noted() -> None:
    (note,) = search_notes(LONG, two_hits(), two_page_store(), WordEmbedder())
    # The tenth of its 29 words ends at character 40.
    assert LONG[:40].split() == LONG.split()[:10]
    assert note == (
        "What was searched for has 29 tokens, and the embedder reads 10 at once: the vector is that of its first "
        "40 characters or so."
    )
    assert search_notes(LONG[:40], two_hits(), two_page_store(), WordEmbedder()) == ()
    assert search_notes(LONG, two_hits(), two_page_store(), HashEmbedder()) == ()


class _PieceEmbedder(WordEmbedder):
    """Each character is so many tokens."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self._pieces = pieces
        self.cut: list[str] = []

    def token_spans(self, texts: Sequence[str]) -> list[SpanArray]:
        self.cut += texts
        return [
            np.array([(i, i + 1) for i in range(len(text)) for _ in range(self._pieces)], np.int32).reshape(-1, 2)
            for text in texts
        ]


@pytest.mark.parametrize(
    ("text", "pieces", "is_cut", "is_noted"),
    [
        ("abcd", 2, False, False),
        ("abcde", 2, True, False),
        ("abcdef", 2, True, True),
        ("ab湖", 4, True, True),
    ],
)
def test_short_questions_are_not_cut_into_tokens(text: str, pieces: int, is_cut: bool, is_noted: bool) -> None:
    embedder = _PieceEmbedder(pieces)
    assert bool(search_notes(text, two_hits(), two_page_store(), embedder)) is is_noted
    assert embedder.cut == [text] * is_cut


@pytest.mark.parametrize(("method", "is_noted"), [("hybrid", True), ("dense", True), ("bm25", False)])
def test_it_stands_in_the_record_where_vectors_are_searched(tmp_path: Path, method: str, is_noted: bool) -> None:
    config = {"retrieval": {"method": method}, "passages": {"max_tokens": 10, "overlap_tokens": 0}}
    with Corpus.open(tmp_path / "c", config=config, embedder=WordEmbedder()) as corpus:
        corpus.add(TextRecord("lake", "Lake Ohm is 41 metres deep."))
        for answer in answers(corpus, AskRequest(LONG)):
            assert any("has 29 tokens" in note for note in answer.notes) is is_noted


def test_what_is_searched_for_counts_and_not_the_message_alone(tmp_path: Path) -> None:
    config = {"generation": {"condense": "history"}, "passages": {"max_tokens": 10, "overlap_tokens": 0}}
    with Corpus.open(tmp_path / "c", config=config, embedder=WordEmbedder()) as corpus:
        corpus.add(TextRecord("lake", "Lake Ohm is 41 metres deep."))
        answer = answers(corpus, AskRequest("And then?", (ChatMessage("user", LONG),)))[0]
        assert any("has 31 tokens" in note for note in answer.notes)


def test_a_corpus_without_documents_says_so(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "c", embedder=WordEmbedder()) as corpus:
        for answer in answers(corpus, AskRequest("How deep is Lake Ohm?")):
            assert (answer.found, answer.hits) == (False, ())
            assert any(note.startswith("This corpus holds no documents") for note in answer.notes)
        corpus.add(TextRecord("lake", "Lake Ohm is 41 metres deep."))
        for answer in answers(corpus, AskRequest("How deep is Lake Ohm?", min_score=2.0)):
            assert answer.hits == ()
            assert not any("holds no" in note for note in answer.notes)


def test_documents_without_text_are_told_from_none(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "c", embedder=WordEmbedder()) as corpus:
        corpus.add([TextRecord("a", " "), TextRecord("b", " ")])
        notes = answers(corpus, AskRequest("How deep is Lake Ohm?"))[0].notes
        assert "This corpus holds 2 documents, and they have no text or picture to search." in notes
