"""`PassageStore`: reads agree with each other."""

from pathlib import Path

import pytest

from ragkit import Corpus, TextRecord
from ragkit.records import Filter
from tests.fakes import HashEmbedder

TEXT = "Ropes are checked on Mondays. Cranes are greased on Tuesdays. Ledgers are closed on Fridays."


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    settings = {"passages": {"max_tokens": 10, "overlap_tokens": 0}}
    opened = Corpus.open(tmp_path / "corpus", embedder=HashEmbedder(), config=settings)
    opened.add([TextRecord("b", TEXT, "Rules"), TextRecord("a", "Tides turn.")])
    return opened


def test_a_passage_is_a_piece_of_its_page(corpus: Corpus):
    store = corpus.store
    passages = store.passages(store.keys().tolist())
    assert len(passages) == 4
    for passage in passages:
        page = store.page(passage.document, passage.page)
        assert page.text[passage.start : passage.end] == passage.text
    assert [p.text for p in passages if p.document == "b"] == TEXT.replace(". ", ".|").split("|")
    assert {p.title for p in passages if p.document == "b"} == {"Rules"}


def test_keys_ascend_and_filters_split_them(corpus: Corpus):
    keys = corpus.store.keys().tolist()
    assert keys == sorted(set(keys))
    parts = [corpus.store.keys(Filter(frozenset({name}))).tolist() for name in ("a", "b")]
    assert sorted(parts[0] + parts[1]) == keys
    assert corpus.store.keys(Filter(frozenset())).tolist() == []


def test_documents_count_their_passages(corpus: Corpus):
    assert [(d.id, d.num_pages, d.num_passages) for d in corpus.store.documents()] == [
        ("a", 1, 1),
        ("b", 1, 3),
    ]
