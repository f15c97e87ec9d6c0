"""The three files that training reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit.errors import DataError
from ragkit.retrievers.training.examples import (
    LISTS,
    PASSAGES,
    QUESTIONS,
    TrainingList,
    TrainingPassage,
    TrainingQuestion,
    line_of,
    read_lists,
    read_passages,
    read_questions,
    read_training_set,
    write_rows,
)

CRANE = TrainingPassage("p1", "The crane stands.", "Cranes", "birds.pdf")
PICTURE = TrainingPassage("p2", "", image="pages/2.png")
ASKED = TrainingQuestion("q1", "what stands?", "questions", ("p1",))


def test_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    scored = TrainingList("q1", ("p1", "p2"), (1.5, -2.0))
    write_rows(tmp_path / PASSAGES, [PICTURE])
    assert list(read_passages(tmp_path / PASSAGES).values()) == [PICTURE]
    other = TrainingPassage("p2", "Another.")
    write_rows(tmp_path / PASSAGES, [CRANE, other])
    write_rows(tmp_path / QUESTIONS, [ASKED, TrainingQuestion("q2", "é")])
    write_rows(tmp_path / LISTS, [scored])
    found = read_training_set(tmp_path)
    assert list(found.passages.values()) == [CRANE, other]
    assert list(found.questions.values()) == [ASKED, TrainingQuestion("q2", "é", "given")]
    assert found.lists == (scored,)
    assert scored.first(1) == TrainingList("q1", ("p1",), (1.5,))


def test_a_line_leaves_out_what_is_empty() -> None:
    assert line_of(PICTURE) == b'{"id": "p2", "image": "pages/2.png"}\n'
    assert CRANE.titled_text == "Cranes The crane stands."


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "a"}', 'neither "text" nor "image"'),
        ('{"id": "", "text": "x"}', "\"id\" is '', expected text"),
        ('{"id": 3, "text": "x"}', '"id" is 3, expected text'),
        ("[1]", "not a JSON object"),
        ("{", "not JSON"),
        ('{"id": "p1", "text": "again"}', "'p1' appears twice"),
    ],
)
def test_malformed_passages_are_named_by_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / PASSAGES
    path.write_bytes(line_of(CRANE) + b"\n" + line.encode())
    with pytest.raises(DataError, match="passages.jsonl:3: ") as caught:
        read_passages(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "q", "passages": ["a"], "scores": [1, 2]}', "one number a passage"),
        ('{"question": "q", "passages": ["a"], "scores": ["1"]}', "one number a passage"),
        ('{"question": "q", "passages": [], "scores": []}', "one number a passage"),
        ('{"question": "q", "passages": ["a", "a"], "scores": [1, 2]}', "stands twice"),
        ('{"question": "q", "passages": "a", "scores": [1]}', "expected a list of ids"),
    ],
)
def test_malformed_lists_are_named_by_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / LISTS
    path.write_text(line)
    with pytest.raises(DataError, match="lists.jsonl:1: ") as caught:
        read_lists(path)
    assert message in str(caught.value)


def test_a_list_of_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    write_rows(tmp_path / PASSAGES, [CRANE])
    write_rows(tmp_path / QUESTIONS, [ASKED])
    for scored, missing in (
        (TrainingList("q1", ("p1", "p9"), (1, 0)), "passage 'p9'"),
        (TrainingList("q9", ("p1",), (1,)), "question 'q9'"),
    ):
        write_rows(tmp_path / LISTS, [scored])
        with pytest.raises(DataError, match=missing):
            read_training_set(tmp_path)


def test_texts_among_pictures_are_refused(tmp_path: Path) -> None:
    write_rows(tmp_path / PASSAGES, [TrainingPassage("a", "text"), TrainingPassage("b", "", image="b.png")])
    write_rows(tmp_path / QUESTIONS, [TrainingQuestion("q", "x")])
    write_rows(tmp_path / LISTS, [TrainingList("q", ("a", "b"), (1.0, 0.5))])
    with pytest.raises(DataError, match="has 1 pictures and 1 texts"):
        read_training_set(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read .*questions.jsonl"):
        read_questions(tmp_path / QUESTIONS)
