"""Sets of questions with passages: both forms, what is drawn of them, and what is malformed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ragkit.errors import ConfigError, DataError
from ragkit.eval.sets.context_sets import ContextPassage, read_context_set

CTXS = {
    "id": "q1",
    "question": "Who dug the canal?",
    "answers": ["Ada Ohm", "A. Ohm"],
    "ctxs": [
        {"id": "x", "title": "Canal", "text": "It is long.", "isgold": False},
        {"id": "gold-one", "title": "Ohm", "text": "Ada Ohm dug it.", "isgold": True},
    ],
}
RGB = {
    "id": 7,
    "query": "Opening day",
    "answer": [["July 1 2017", "1 July 2017"]],
    "fakeanswer": "May 2 2007",
    "positive": ["It opened on July 1 2017.", "On 1 July 2017 it opened."],
    "positive_wrong": ["It opened on May 2 2007."],
    "negative": ["It is a bridge.", "It has a lift."],
}


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_the_form_of_lost_in_the_middle(tmp_path: Path):
    other = {**CTXS, "id": "q2", "ctxs": [CTXS["ctxs"][1], {"text": "Elsewhere.", "isgold": False}]}
    found = read_context_set(write(tmp_path / "set.jsonl", CTXS, "", other))
    assert found.form == "ctxs"
    first, second = found.questions
    assert (first.id, first.question, first.answers) == ("q1", "Who dug the canal?", ("Ada Ohm", "A. Ohm"))
    canal, ohm = ContextPassage("Canal", "It is long."), ContextPassage("Ohm", "Ada Ohm dug it.", "gold")
    assert first.passages == (canal, ohm)
    assert second.passages == (ohm, ContextPassage("", "Elsewhere."))
    # The passage that both have is in the pool once, at its first place.
    assert [passage.text for passage in found.pool.values()] == ["It is long.", "Ada Ohm dug it.", "Elsewhere."]


def test_the_form_of_rgb(tmp_path: Path):
    question = read_context_set(write(tmp_path / "fact.jsonl", RGB)).questions[0]
    assert (question.id, question.answers) == ("7", ("July 1 2017", "1 July 2017"))
    assert question.wrong_answers == ("May 2 2007",)
    texts = {
        role: [one.text for one in question.of_role(role)] for role in ("gold", "distractor", "counterfactual")
    }
    assert texts == {
        "gold": ["It opened on July 1 2017."],
        "distractor": ["It is a bridge.", "It has a lift."],
        "counterfactual": ["It opened on May 2 2007."],
    }


def test_names_of_passages_do_not_tell_which_is_the_gold_one(tmp_path: Path):
    passages = read_context_set(write(tmp_path / "set.jsonl", CTXS)).questions[0].passages
    assert [passage.name[:4] for passage in passages] == ["doc-", "doc-"]
    assert ContextPassage("Ohm", "Ada Ohm dug it.", "distractor").name == passages[1].name
    assert passages[0].name != passages[1].name


def test_the_sample_is_drawn_by_the_seed_and_stands_in_the_order_of_the_set(tmp_path: Path):
    rows = [{**CTXS, "id": f"q{number:02}"} for number in range(30)]
    found = read_context_set(write(tmp_path / "set.jsonl", *rows))
    drawn = [question.id for question in found.sample(10, 1)]
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 10
    assert drawn == [question.id for question in found.sample(10, 1)]
    assert drawn != [question.id for question in found.sample(10, 2)]
    assert [question.id for question in found.sample(99, 1)] == [row["id"] for row in rows]


def test_packed_files_and_folders_are_read(tmp_path: Path):
    packed = tmp_path / "set.jsonl.gz"
    packed.write_bytes(gzip.compress(json.dumps(CTXS).encode()))
    assert read_context_set(packed).questions[0].id == "q1"
    write(tmp_path / "one.jsonl", RGB)
    assert read_context_set(tmp_path).form == "rgb"
    write(tmp_path / "two.jsonl", CTXS)
    with pytest.raises(DataError, match=r"has 2 \.jsonl files \(one\.jsonl, two\.jsonl\); name the file"):
        read_context_set(tmp_path)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("{", r"set\.jsonl:2: not JSON"),
        ("[1]", r"set\.jsonl:2: list, expected an object"),
        ({**CTXS, "id": "q2", "question": " "}, r'set\.jsonl:2: "question" is \' \', expected text'),
        ({**CTXS, "id": "q2", "answers": []}, r'set\.jsonl:2: "answers" is \[\]'),
        ({**CTXS, "id": "q2", "answers": ["a", 3]}, r'"answers" is \[\'a\', 3\]'),
        ({**CTXS, "id": "q2", "ctxs": "text"}, r'set\.jsonl:2: "ctxs" is no list of objects'),
        ({**CTXS, "id": "q2", "ctxs": CTXS["ctxs"][:1]}, r"set\.jsonl:2: question 'q2' has no gold passage"),
        ({**CTXS, "id": "q2", "ctxs": [{"text": "x"}]}, r'"isgold" of passage \'\' is None'),
        (CTXS, r"set\.jsonl:2: the id 'q1' has appeared before"),
    ],
)
def test_what_is_malformed_is_named_by_its_line(tmp_path: Path, row, problem: str):
    with pytest.raises(DataError, match=problem):
        read_context_set(write(tmp_path / "set.jsonl", CTXS, row))


def test_what_cannot_be_read_is_said(tmp_path: Path):
    with pytest.raises(DataError, match="there is no .*nowhere"):
        read_context_set(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"empty\.jsonl holds no question"):
        read_context_set(write(tmp_path / "empty.jsonl", ""))
    with pytest.raises(DataError, match='neither "ctxs" nor "positive" is there'):
        read_context_set(write(tmp_path / "other.jsonl", {"question": "?"}))
    with pytest.raises(ConfigError, match="--form 'squad' is none of auto, ctxs, rgb"):
        read_context_set(tmp_path / "other.jsonl", "squad")
