"""Average and Rocchio on vectors, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ragkit.indexers.vectors.numpy_index import NumpyIndex
from ragkit.records import FloatArray, Hit, Passage, Query
from ragkit.retrievers.feedback.vector_feedback import LastHits, Shares, VectorFeedback, average

KEYS = np.array([1, 2, 3, 4, 5])
VECTORS = np.array([[3, 0], [0, 3], [3, 3], [-1, 0], [0, -2]], np.float32)
INDEX = NumpyIndex(KEYS, VECTORS)


def hits(*keys: int) -> list[Hit]:
    return [Hit(1.0 / place, Passage(key, "d", 1, 0, 1, "x")) for place, key in enumerate(keys, 1)]


def query(*vector: float) -> Query:
    return Query("words", np.array(vector, np.float32))


def revised(feedback: VectorFeedback, asked: Query, found: list[Hit]) -> FloatArray:
    (again,) = feedback.revise([asked], [found])
    assert again.dense is not None
    assert again.dense.dtype == np.float32
    return again.dense


def test_average_is_the_mean_of_the_query_and_its_passages():
    feedback = VectorFeedback(INDEX, "dot", average, 3)
    # ((1, 1) + (3, 0) + (0, 3) + (3, 3)) / 4; the fourth hit is beyond the depth.
    assert revised(feedback, query(1, 1), hits(1, 2, 3, 4)).tolist() == [1.75, 1.75]
    # Of two hits the mean is over three vectors.
    np.testing.assert_allclose(revised(feedback, query(1, 1), hits(2, 4)), [0, 4 / 3], atol=1e-7)


def test_rocchio_weighs_the_query_and_the_mean_of_its_passages():
    feedback = VectorFeedback(INDEX, "dot", lambda _: Shares(0.4, 0.6), 5)
    # 0.4 (5, 0) + 0.6 mean((3, 0), (0, 3)) = (2, 0) + (0.9, 0.9)
    np.testing.assert_allclose(revised(feedback, query(5, 0), hits(1, 2)), [2.9, 0.9], rtol=1e-6)


def test_the_last_passages_are_taken_away():
    feedback = VectorFeedback(INDEX, "dot", lambda _: Shares(1.0, 0.5, 0.25), 1, LastHits(count=2, pool=4))
    assert feedback.num_hits == 4
    # (1, 1) + 0.5 (3, 0) - 0.25 mean((3, 3), (-1, 0)): the fifth hit is outside of the pool.
    np.testing.assert_allclose(revised(feedback, query(1, 1), hits(1, 2, 3, 4, 5)), [2.25, 0.625], rtol=1e-6)
    # The only hit is the one that the query moves towards.
    np.testing.assert_allclose(revised(feedback, query(1, 1), hits(1)), [2.5, 1.0], rtol=1e-6)


def test_unit_length_is_restored_for_cosine():
    feedback = VectorFeedback(INDEX, "cosine", average, 1)
    # ((0, 1) + (3, 0)) / 2 has the direction (3, 1).
    np.testing.assert_allclose(
        revised(feedback, query(0, 1), hits(1)), [3 / math.sqrt(10), 1 / math.sqrt(10)], rtol=1e-6
    )


def test_a_vector_that_vanishes_leaves_the_query_as_it_was():
    feedback = VectorFeedback(INDEX, "cosine", average, 1)
    asked = query(1, 0)
    assert feedback.revise([asked], [hits(4)]) == [asked]


def test_without_hits_or_without_a_vector_the_query_stays():
    feedback = VectorFeedback(INDEX, "dot", average, 3)
    asked = [query(1, 0), Query("no vector"), query(0, 1)]
    found = feedback.revise(asked, [[], hits(1), hits(2)])
    assert found[:2] == asked[:2]
    assert [again.feedback_depth for again in found] == [0, 0, 1]
    assert feedback.revise([], []) == []


@pytest.mark.parametrize("metric", ["dot", "cosine"])
def test_average_of_k_is_rocchio_with_its_shares(metric):
    rocchio = VectorFeedback(INDEX, metric, lambda _: Shares(0.25, 0.75), 3)
    mean = VectorFeedback(INDEX, metric, average, 3)
    asked = query(0.6, 0.8)
    np.testing.assert_allclose(
        revised(rocchio, asked, hits(1, 3, 4)), revised(mean, asked, hits(1, 3, 4)), rtol=1e-6
    )
