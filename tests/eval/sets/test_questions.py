"""Drawing and naming of questions."""

from __future__ import annotations

import json

import pytest

from ragkit.errors import ConfigError
from ragkit.eval.sets.questions import (
    Place,
    Question,
    choose_questions,
    fingerprint_questions,
    question_from_json,
)

QUESTIONS = [Question(f"q{number}", f"text {number}") for number in range(20)]


def test_a_draw_keeps_the_order_and_hangs_on_the_seed_alone():
    drawn = choose_questions(QUESTIONS, 5, seed=3)
    assert len(drawn) == 5
    assert drawn == sorted(drawn, key=QUESTIONS.index)
    assert drawn == choose_questions(QUESTIONS, 5, seed=3)
    assert len({tuple(question.id for question in choose_questions(QUESTIONS, 5, seed)) for seed in range(9)}) > 1
    assert choose_questions(QUESTIONS, None, 0) == choose_questions(QUESTIONS, 99, 0) == QUESTIONS


def test_a_draw_of_none_is_refused():
    with pytest.raises(ConfigError, match="limit = 0"):
        choose_questions(QUESTIONS, 0, 0)


def test_the_fingerprint_sees_answers_and_places_and_not_the_file():
    one = Question("q", "t", ("a",), places=frozenset({Place("d", 1), Place("c")}), origin="here:1")
    same = Question("q", "t", ("a",), places=frozenset({Place("c"), Place("d", 1)}), origin="there:2")
    assert fingerprint_questions([one]) == fingerprint_questions([same])
    others = [Question("q", "t", ("b",)), Question("q", "t", ("a",)), Question("q", "t", (), is_answerable=False)]
    assert len({fingerprint_questions([question]) for question in [one, *others]}) == 4


def test_json_gives_the_question_back():
    question = Question("q", "t", ("a", "b"), False, frozenset({Place("d", 1), Place("c")}), "d", "x:1")
    assert question_from_json(json.loads(json.dumps(question.to_json()))) == question
