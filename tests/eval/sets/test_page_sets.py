from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragkit.errors import DataError
from ragkit.eval.sets.page_sets import PageScope, page_id, parse_page_id, read_names, read_page_set

PAGES = {"long": ["crane", "barge", "", "rope"], "short.v2": ["tide", ""], "other": ["quay"]}
QUERIES = [
    ("q1", "What lifts?", "long", ["long#p1"]),
    ("q2", "What floats?", "long", ["long#p2", "long#p3"]),
    ("q3", "What is drawn?", "short.v2", ["short.v2#p2"]),
    ("q4", "What turns?", None, ["short.v2#p1"]),
    ("q5", "What is at both?", None, ["other#p1", "short.v2#p1"]),
    ("q6", "What has no answer?", "long", []),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "pdfs").mkdir()
    for document in PAGES:
        (tmp_path / "pdfs" / f"{document}.pdf").write_bytes(document.encode())
    rows = [
        {"_id": f"{document}#p{number}", "title": document, "text": text}
        for document, texts in PAGES.items()
        for number, text in enumerate(texts, 1)
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    queries = [
        {"_id": id_, "text": text, "metadata": {"doc": document} if document else {}}
        for id_, text, document, _ in QUERIES
    ]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    judged = "".join(f"{id_}\t{page}\t1\n" for id_, _, _, pages in QUERIES for page in pages)
    (tmp_path / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    return tmp_path


def asked(folder: Path, **scope: object) -> set[str]:
    return set(read_page_set(folder, scope=PageScope(**scope)).collection.queries)


def test_the_whole_collection(folder: Path):
    page_set = read_page_set(folder)
    assert page_set.pages == {
        "long": {1: True, 2: True, 3: False, 4: True},
        "short.v2": {1: True, 2: False},
        "other": {1: True},
    }
    assert page_set.document_of == {"q1": "long", "q2": "long", "q3": "short.v2", "q4": "short.v2"}
    assert page_set.left_out["without_evidence"] == 1
    assert [path.name for path in page_set.files()] == ["long.pdf", "other.pdf", "short.v2.pdf"]
    assert [record.text for record in page_set.records()] == [text for texts in PAGES.values() for text in texts]


def test_long_documents_are_left_out_with_the_queries_about_them(folder: Path):
    page_set = read_page_set(folder, scope=PageScope(max_pages=2))
    assert set(page_set.pages) == {"short.v2", "other"}
    assert set(page_set.collection.queries) == {"q3", "q4", "q5"}
    assert page_set.left_out == {"without_evidence": 1, "about_other_documents": 2}
    assert [record.id for record in page_set.records()] == ["short.v2#p1", "short.v2#p2", "other#p1"]
    assert asked(folder, max_pages=4) == {"q1", "q2", "q3", "q4", "q5"}


def test_documents_may_be_named(folder: Path):
    names = folder / "names.txt"
    names.write_text("other\n\nlong.pdf\n")
    assert read_names(names) == {"other", "long"}
    page_set = read_page_set(folder, scope=PageScope(only=read_names(names)))
    assert set(page_set.collection.queries) == {"q1", "q2", "q5"}
    assert page_set.collection.qrels["q5"] == {"other#p1": 1}
    with pytest.raises(DataError, match=r"no document 'shrt.v2'; did you mean 'short.v2'\?"):
        asked(folder, only=frozenset({"shrt.v2"}))


def test_evidence_on_pages_without_text(folder: Path):
    page_set = read_page_set(folder, scope=PageScope(evidence="no-text"))
    assert page_set.collection.qrels == {"q2": {"long#p3": 1}, "q3": {"short.v2#p2": 1}}
    assert page_set.left_out["with_evidence_in_text"] == 3
    assert len(list(page_set.records())) == 7


def test_ranking_within_needs_a_document_for_each_query(folder: Path):
    with pytest.raises(DataError, match="query 'q5' names no document"):
        asked(folder, within="doc")
    assert asked(folder, within="doc", only=frozenset({"long"})) == {"q1", "q2"}


def test_what_is_wrong_is_told(folder: Path):
    with pytest.raises(DataError, match="no judged query is left of 5"):
        asked(folder, max_pages=1, only=frozenset({"long"}))
    (folder / "pdfs" / "other.pdf").unlink()
    with pytest.raises(DataError, match=r"1 of 3 documents have no file, .*other\.pdf"):
        read_page_set(folder).files()
    queries = folder / "queries.jsonl"
    queries.write_text(queries.read_text().replace('"doc": "long"', '"doc": "lang"'))
    with pytest.raises(DataError, match=r"queries\.jsonl:1: metadata.doc is 'lang'"):
        read_page_set(folder)


@pytest.mark.parametrize("text", ["a", "a#p0", "a#p", "#p1", "a#p01", "a#1"])
def test_other_ids_are_no_pages(text: str):
    with pytest.raises(DataError, match="is no page"):
        parse_page_id(text)


def test_page_ids_go_both_ways():
    assert parse_page_id("a#p2#p17") == ("a#p2", 17)
    assert page_id(*parse_page_id("x.y#p3")) == "x.y#p3"


def test_fingerprints_follow_what_is_indexed(folder: Path):
    whole, part = read_page_set(folder), read_page_set(folder, scope=PageScope(max_pages=2))
    before = whole.fingerprint("pdfs"), whole.fingerprint("corpus")
    assert part.fingerprint("pdfs") != before[0]
    assert part.fingerprint("corpus") != before[1]
    (folder / "pdfs" / "long.pdf").write_bytes(b"changed")
    assert whole.fingerprint("pdfs") != before[0]
    assert whole.fingerprint("corpus") == before[1]
