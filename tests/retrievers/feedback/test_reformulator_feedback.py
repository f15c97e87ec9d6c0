"""Feedback by a trained model: what the model is shown, and what becomes of its vectors."""

from __future__ import annotations

import numpy as np

from ragkit.indexers.vectors.numpy_index import NumpyIndex
from ragkit.records import Hit, Passage, Query
from ragkit.retrievers.feedback.reformulator_feedback import ReformulatorFeedback
from tests.retrievers.feedback.fake_reformulators import CautiousReformulator, SumReformulator

INDEX = NumpyIndex(np.array([7, 8, 9]), np.array([[1, 0], [0, 10], [100, 100]], np.float32))
FOUND = [Hit(1.0, Passage(key, "d", 1, 0, 1, "x")) for key in (8, 7, 9)]


def query(text: str) -> Query:
    return Query(text, np.array([0.5, 0.5], np.float32))


def test_the_model_sees_the_first_hits_and_their_vectors():
    model = SumReformulator()
    feedback = ReformulatorFeedback(model, INDEX, 2)
    assert feedback.num_hits == 2
    one, none, other = feedback.revise([query("a"), query("b"), query("c")], [FOUND, [], FOUND[1:2]])
    assert model.shown == [("a", [8, 7]), ("c", [7])]
    assert [list(again.dense) for again in (one, none, other) if again.dense is not None] == [
        [1.5, 10.5],
        [0.5, 0.5],
        [1.5, 0.5],
    ]
    assert (one.feedback_depth, none.feedback_depth, other.feedback_depth) == (2, 0, 1)


def test_a_depth_beyond_what_the_model_looks_at_is_not_claimed():
    model = SumReformulator()
    model.most = 2
    feedback = ReformulatorFeedback(model, INDEX, 3)
    [again] = feedback.revise([query("a")], [FOUND])
    assert (feedback.num_hits, again.feedback_depth, model.shown) == (2, 2, [("a", [8, 7])])


def test_the_guard_says_by_how_many_of_them_a_query_is_revised():
    model = CautiousReformulator()
    feedback = ReformulatorFeedback(model, INDEX, 2, is_guarded=True)
    asked = [query("word"), query("two words"), query("a few more words")]
    none, one, two = feedback.revise(asked, [FOUND, FOUND, FOUND])
    assert model.shown == [("two words", [8]), ("a few more words", [8, 7])]
    assert none == asked[0]
    assert (one.feedback_depth, two.feedback_depth) == (1, 2)


def test_where_nothing_was_found_no_model_is_asked():
    model = CautiousReformulator()
    asked = [query("one"), Query("without a vector")]
    assert ReformulatorFeedback(model, INDEX, 2, is_guarded=True).revise(asked, [[], FOUND]) == asked
    assert model.shown == []
