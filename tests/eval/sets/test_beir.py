import hashlib
import json
from pathlib import Path

import pytest

from ragkit.errors import DataError
from ragkit.eval.sets.beir import read_beir
from ragkit.records import TextRecord

CORPUS = [
    {"_id": "d1", "title": "Cats", "text": "Cats sleep."},
    {"_id": "d2", "text": ""},
    {"_id": 3, "title": None, "text": "line\u2028separator", "metadata": {"year": 2020}},
]
QUERIES = [
    {"_id": "q2", "text": "unjudged"},
    {"_id": "q3", "text": "where do cats sleep"},
    {"_id": "q1", "text": "dogs", "metadata": {}},
]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\nq3\t3\t2\n"


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corpus.jsonl").write_text(lines(CORPUS), "utf-8")
    (tmp_path / "queries.jsonl").write_text(lines(QUERIES), "utf-8")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(QRELS)
    return tmp_path


def test_judged_queries_and_documents_are_read(folder):
    collection = read_beir(folder)
    assert list(collection.queries.items()) == [("q3", "where do cats sleep"), ("q1", "dogs")]
    assert collection.qrels == {"q1": {"d1": 1, "d2": 0}, "q3": {"3": 2}}
    assert list(collection.records()) == [
        TextRecord("d1", "Cats sleep.", "Cats"),
        TextRecord("d2", ""),
        TextRecord("3", "line\u2028separator"),
    ]


def test_the_fingerprint_is_of_the_documents_alone(folder):
    before = read_beir(folder).fingerprint()
    assert before == hashlib.sha256((folder / "corpus.jsonl").read_bytes()).hexdigest()
    (folder / "qrels" / "test.tsv").write_text(QRELS + "q3\td1\t1\n")
    assert read_beir(folder).fingerprint() == before
    (folder / "corpus.jsonl").write_text(lines(CORPUS[:2]), "utf-8")
    assert read_beir(folder).fingerprint() != before


def test_judgements_without_a_header_lose_no_line(folder):
    (folder / "qrels" / "dev.tsv").write_text("q1\td1\t1\r\nq3\td1\t1\r\n")
    assert read_beir(folder, "dev").qrels == {"q1": {"d1": 1}, "q3": {"d1": 1}}


def append(path, text):
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"corpus\.jsonl:4: not JSON"),
        ("[1]", r"corpus\.jsonl:4: list, expected an object"),
        ('{"text": "x"}', r'corpus\.jsonl:4: "_id" is None, expected text'),
        ('{"_id": true, "text": "x"}', r'corpus\.jsonl:4: "_id" is True'),
        ('{"_id": "d4"}', r'corpus\.jsonl:4: "text" is None, expected text'),
        ('{"_id": "d4", "text": "x", "title": 5}', r'corpus\.jsonl:4: "title" is 5'),
        ('{"_id": "d1", "text": "x"}', r"corpus\.jsonl:4: the id 'd1' has appeared before"),
        ('{"_id": "3", "text": "x"}', r"corpus\.jsonl:4: the id '3' has appeared before"),
    ],
)
def test_malformed_documents_are_named(folder, line, message):
    append(folder / "corpus.jsonl", line + "\n")
    records = read_beir(folder).records()
    assert [next(records).id for _ in range(3)] == ["d1", "d2", "3"]
    with pytest.raises(DataError, match=message):
        next(records)


def test_malformed_queries_are_named(folder):
    append(folder / "queries.jsonl", '{"_id": "q1", "text": "again"}\n')
    with pytest.raises(DataError, match=r"queries\.jsonl:4: the id 'q1' has appeared before"):
        read_beir(folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 d1 1", r"test\.tsv:5: 1 columns, expected query-id, corpus-id, score"),
        ("q1\td3\tyes", r"test\.tsv:5: the grade is 'yes', expected a whole number"),
        ("q1\td1\t1", r"test\.tsv:5: query 'q1' judges document 'd1' a second time"),
    ],
)
def test_malformed_judgements_are_named(folder, line, message):
    append(folder / "qrels" / "test.tsv", line + "\n")
    with pytest.raises(DataError, match=message):
        read_beir(folder)


def test_what_is_missing_is_named(folder):
    with pytest.raises(DataError, match=r"qrels/train\.tsv; splits here: test"):
        read_beir(folder, "train")
    append(folder / "qrels" / "test.tsv", "q9\td1\t1\n")
    with pytest.raises(DataError, match=r"1 judged queries, 'q9' among them, are not in queries\.jsonl"):
        read_beir(folder)
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n")
    with pytest.raises(DataError, match="holds no judgement"):
        read_beir(folder)
    (folder / "queries.jsonl").unlink()
    (folder / "qrels" / "test.tsv").write_text(QRELS)
    with pytest.raises(DataError, match=r"there is no .*queries\.jsonl"):
        read_beir(folder)
    (folder / "corpus.jsonl").unlink()
    with pytest.raises(DataError, match="has no corpus"):
        read_beir(folder)


def test_topics_and_judgements_take_the_place_of_the_folders_own(folder):
    (folder / "queries.jsonl").unlink()
    (folder / "qrels" / "test.tsv").unlink()
    topics, qrels = folder / "topics.txt", folder / "qrels.txt"
    topics.write_text("<top>\n<num> Number: 301\n<title> cats\n</top>\n<top><num>302<title>dogs</top>\n")
    qrels.write_text("302 0 d1 1\n302 0 3 0\n")
    collection = read_beir(folder, topics=topics, qrels=qrels)
    assert collection.queries == {"302": "dogs"}
    assert collection.qrels == {"302": {"d1": 1, "3": 0}}
    assert [record.id for record in collection.records()] == ["d1", "d2", "3"]
    append(qrels, "303 0 d1 1\n")
    with pytest.raises(DataError, match=r"1 judged queries, '303' among them, are not in .*topics\.txt"):
        read_beir(folder, topics=topics, qrels=qrels)
