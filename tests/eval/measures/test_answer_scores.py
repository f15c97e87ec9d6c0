"""Which measures an answer has, and what a refusal scores."""

from __future__ import annotations

import pytest

from ragkit.eval.measures.answer_scores import MEASURES, score_answer
from ragkit.eval.sets.questions import Place, Question

NUMERIC = Question("q", "How long is it?", ("12 m",), places=frozenset({Place("d", 1)}))


def test_an_answer_is_scored_without_its_marks():
    scores = score_answer(NUMERIC, "12 m [1]", [Place("d", 1), Place("d", 2)], is_refusal=False)
    assert scores == {
        **dict.fromkeys(("exact_match", "f1", "anls", "number", "vqa", "containment"), 1.0),
        "citation_precision": 0.5,
        "citation_recall": 1.0,
        "answered": 1.0,
    }
    assert scores.keys() <= MEASURES.keys()


def test_a_refusal_scores_nothing_though_its_words_are_in_the_gold_answer():
    question = Question("q", "Where?", ("in these documents",))
    scores = score_answer(question, "Not found in these documents.", [], is_refusal=True)
    assert scores == dict.fromkeys(("exact_match", "f1", "anls", "vqa", "containment", "answered"), 0.0)


@pytest.mark.parametrize("is_refusal", [True, False])
def test_of_an_unanswerable_question_only_the_refusal_counts(is_refusal):
    question = Question("q", "?", is_answerable=False, places=frozenset({Place("d", 1)}))
    assert score_answer(question, "x", [], is_refusal=is_refusal) == {"right_refusal": float(is_refusal)}


def test_a_question_without_gold_answer_is_measured_by_its_citations():
    question = Question("q", "?", places=frozenset({Place("d", 1)}))
    assert score_answer(question, "x", [], is_refusal=False) == {"citation_recall": 0.0, "answered": 1.0}
