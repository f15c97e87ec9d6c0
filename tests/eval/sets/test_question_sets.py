"""The three forms of question sets, and malformed lines by file and number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ragkit.errors import DataError
from ragkit.eval.sets.question_sets import read_question_set
from ragkit.eval.sets.questions import Place


def written(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_a_file_of_ones_own(tmp_path: Path):
    path = written(
        tmp_path / "q.jsonl",
        {"id": "q1", "question": "?", "answers": ["a", "b"], "pages": [{"document": "d.pdf", "page": 3}]},
        {"id": "q2", "question": "?", "answers": [], "document": "d.pdf"},
        {"id": 3, "question": "?", "pages": [{"document": "e.txt"}], "note": "mine"},
        {"id": "q4", "question": "?", "answers": ["Not answerable"]},
    )
    found = read_question_set(path)
    assert found.documents is None
    one, two, three, four = found.questions
    assert (one.answers, one.is_answerable, one.places) == (("a", "b"), True, {Place("d.pdf", 3)})
    assert (two.answers, two.is_answerable, two.document) == ((), False, "d.pdf")
    assert (three.id, three.answers, three.is_answerable, three.places) == ("3", (), True, {Place("e.txt")})
    assert (four.answers, four.is_answerable) == ((), False)
    assert four.origin == f"{path}:4"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"id": "b", "question": "?", "answer": "a"}, "'answer' is not read; did you mean 'answers'"),
        ({"id": "b", "question": " ", "answers": ["a"]}, "\"question\" is ' ', expected text"),
        ({"id": "b", "question": "?", "answers": "a"}, "\"answers\" is 'a', expected a list"),
        ({"id": "b", "question": "?", "answers": [7]}, '"answers" holds 7, expected text'),
        ({"id": "b", "question": "?", "pages": [{"document": "d", "page": 0}]}, "the page is 0"),
        ({"id": "b", "question": "?", "pages": [3]}, '"pages" holds 3'),
        ({"id": "a", "question": "?"}, "the id 'a' has appeared before"),
        ({"question": "?"}, '"id" is None'),
        ([], "list, expected an object"),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, row, problem):
    path = written(tmp_path / "q.jsonl", {"id": "a", "question": "?", "answers": ["x"]}, row)
    with pytest.raises(DataError) as caught:
        read_question_set(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert problem in str(caught.value)


def test_a_set_without_answers_and_pages_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="nothing to measure"):
        read_question_set(written(tmp_path / "q.jsonl", {"id": "a", "question": "?"}))


def test_beir_folders_carry_answers_in_their_metadata(tmp_path: Path):
    written(tmp_path / "corpus.jsonl", {"_id": "d1", "text": "x"}, {"_id": "d2", "text": "y"})
    written(
        tmp_path / "queries.jsonl",
        {"_id": "q1", "text": "one?", "metadata": {"answers": ["a", "b"]}},
        {"_id": "q2", "text": "two?", "metadata": {"answer": "c"}},
        {"_id": "q3", "text": "not judged", "metadata": {"answers": ["z"]}},
        {"_id": "q4", "text": "no answer known"},
    )
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("q1\td1\t1\nq1\td2\t0\nq2\td2\t2\nq4\td1\t1\n")
    questions = read_question_set(tmp_path).questions
    assert [(q.id, q.answers, q.is_answerable, set(q.places)) for q in questions] == [
        ("q1", ("a", "b"), True, {Place("d1")}),
        ("q2", ("c",), True, {Place("d2")}),
        ("q4", (), True, {Place("d1")}),
    ]


def test_page_level_collections_carry_them_in_questions_jsonl(tmp_path: Path):
    written(tmp_path / "corpus.jsonl", {"_id": "doc#p1", "text": "x"}, {"_id": "doc#p2", "text": "y"})
    written(tmp_path / "queries.jsonl", {"_id": "q1", "text": "one?", "metadata": {"doc": "doc"}})
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("q1\tdoc#p2\t1\n")
    about = {"relevant_doc": "doc", "question": "?"}
    written(
        tmp_path / "questions.jsonl",
        {"id": "q1", "answer": "['3', 'red']", "relevant_pages": [2], **about},
        {"id": "q2", "answer": "Not answerable", "answerable": False, "relevant_pages": [], **about},
        {"id": "q3", "answer": "[a] of b]", "relevant_pages": [1, 2], **about},
        {"id": "q4", "answer": "x", "relevant_pages": [1], "question": "?", "relevant_doc": "not here"},
    )
    questions = read_question_set(tmp_path).questions
    assert [(q.id, q.answers, q.is_answerable, set(q.places), q.document) for q in questions] == [
        ("q1", ("3, red",), True, {Place("doc", 2)}, "doc"),
        ("q2", (), False, set(), "doc"),
        ("q3", ("[a] of b]",), True, {Place("doc", 1), Place("doc", 2)}, "doc"),
    ]
    written(tmp_path / "questions.jsonl", {"id": "q1", "answer": "x", "relevant_pages": ["2"], **about})
    with pytest.raises(DataError, match=r"questions\.jsonl:1: the page is '2'"):
        read_question_set(tmp_path)
