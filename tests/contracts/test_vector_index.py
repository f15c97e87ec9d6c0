"""`VectorIndex`: every implementation against brute force."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.indexers.faiss_index import FaissFlatIndex
from ragkit.indexers.numpy_index import NumpyIndex
from ragkit.protocols import VectorIndex

IMPLEMENTATIONS = [FaissFlatIndex, NumpyIndex]
Make = Callable[[int], VectorIndex]


@pytest.fixture(params=IMPLEMENTATIONS)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


def brute_force(vectors: dict[int, np.ndarray], query: np.ndarray, k: int) -> list[int]:
    return sorted(vectors, key=lambda key: (-float(vectors[key] @ query), key))[:k]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_equals_brute_force_through_changes(implementation: Make, data: st.DataObject):
    # Small whole numbers make every product exact, so that ties are real ties.
    index, model = implementation(3), {}
    for _ in range(data.draw(st.integers(1, 6))):
        fresh = data.draw(st.lists(st.integers(0, 60), unique=True, max_size=8))
        fresh = [key for key in fresh if key not in model]
        rows = data.draw(st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=len(fresh), max_size=len(fresh)))
        vectors = np.array(rows, np.float32).reshape(-1, 3)
        index.add(np.array(fresh, np.int64), vectors)
        model.update(zip(fresh, vectors, strict=True))
        gone = data.draw(st.lists(st.integers(0, 60), unique=True, max_size=4))
        assert index.remove(np.array(gone, np.int64)) == sum(key in model for key in gone)
        model = {key: vector for key, vector in model.items() if key not in gone}
    assert len(index) == len(model)
    query = np.array(data.draw(st.tuples(*[st.integers(-2, 2)] * 3)), np.float32)
    k = data.draw(st.integers(1, 10))
    among = data.draw(st.none() | st.lists(st.integers(0, 60), unique=True))
    allowed = model if among is None else {key: model[key] for key in model if key in among}
    restriction = None if among is None else np.array(among, np.int64)
    scores, keys = index.search(query[None], k, restriction)
    expected = brute_force(allowed, query, k)
    assert keys[0].tolist() == expected + [-1] * (k - len(expected))
    assert scores[0, : len(expected)].tolist() == [float(allowed[key] @ query) for key in expected]
    assert np.isneginf(scores[0, len(expected) :]).all()
    assert (scores.dtype, keys.dtype) == (np.float32, np.int64)


def test_many_queries_at_once_equal_one_by_one(make: Make):
    rng = np.random.default_rng(0)
    index = make(16)
    index.add(np.arange(500), rng.standard_normal((500, 16), np.float32))
    queries = rng.standard_normal((40, 16), np.float32)
    scores, keys = index.search(queries, 7)
    for i, query in enumerate(queries):
        one_scores, one_keys = index.search(query[None], 7)
        assert keys[i].tolist() == one_keys[0].tolist()
        np.testing.assert_allclose(scores[i], one_scores[0], rtol=1e-5)


def test_no_queries_give_no_rows(make: Make):
    scores, keys = make(4).search(np.zeros((0, 4), np.float32), 5)
    assert scores.shape == keys.shape == (0, 5)
