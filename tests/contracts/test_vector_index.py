"""`VectorIndex`: every implementation against brute force."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragkit.errors import CorpusDamagedError
from ragkit.indexers.vectors.numpy_index import NumpyIndex
from ragkit.indexers.vectors.shard_index import Effort, exact_index
from ragkit.indexers.vectors.sharded_index import SearchedShard, ShardedIndex
from ragkit.indexers.vectors.vector_shards import VectorShard, rows_of
from ragkit.protocols import VectorIndex

Make = Callable[[np.ndarray, np.ndarray], VectorIndex]


def in_one_shard(keys: np.ndarray, vectors: np.ndarray) -> VectorIndex:
    return in_shards(keys, vectors, 1)


def in_three_shards_with_dead_rows(keys: np.ndarray, vectors: np.ndarray) -> VectorIndex:
    """Between the living rows lie as many dead ones, which would score best."""
    doubled = np.stack([2 * keys, 2 * keys + 1], axis=1).reshape(-1)
    rows = np.stack([vectors, np.full_like(vectors, 9)], axis=1).reshape(-1, vectors.shape[1])
    return Halved(in_shards(doubled, rows, 3, 2 * keys + 1))


class Halved:
    """Hands the even keys of an index out as their halves."""

    def __init__(self, index: VectorIndex) -> None:
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    def search(self, vectors: np.ndarray, k: int, among: np.ndarray | None = None):
        scores, keys = self._index.search(vectors, k, None if among is None else 2 * among)
        return scores, np.where(keys < 0, -1, keys // 2)

    def vectors_of(self, keys: np.ndarray):
        return self._index.vectors_of(2 * keys)


def in_shards(keys: np.ndarray, vectors: np.ndarray, count: int, dead: np.ndarray | None = None) -> VectorIndex:
    order = np.argsort(keys)
    dead = np.zeros(0, np.int64) if dead is None else np.sort(dead)
    shards: list[SearchedShard] = []
    for rows in np.array_split(order, count):
        if len(rows):
            shard = VectorShard(1, keys[rows], np.ascontiguousarray(vectors[rows]))
            shards.append(
                SearchedShard(shard, exact_index(shard.vectors), rows_of(shard.keys, dead), Effort(0, 0))
            )
    return ShardedIndex(shards)


IMPLEMENTATIONS = [in_one_shard, in_three_shards_with_dead_rows, NumpyIndex]


@pytest.fixture(params=IMPLEMENTATIONS)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


def brute_force(vectors: dict[int, np.ndarray], query: np.ndarray, k: int) -> list[int]:
    return sorted(vectors, key=lambda key: (-float(vectors[key] @ query), key))[:k]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_equals_brute_force(implementation: Make, data: st.DataObject):
    # Small whole numbers make every product exact, so that ties are real ties.
    keys = data.draw(st.lists(st.integers(0, 60), unique=True, max_size=30))
    rows = data.draw(st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=len(keys), max_size=len(keys)))
    vectors = np.array(rows, np.float32).reshape(-1, 3)
    index, model = implementation(np.array(keys, np.int64), vectors), dict(zip(keys, vectors, strict=True))
    assert len(index) == len(model)
    query = np.array(data.draw(st.tuples(*[st.integers(-2, 2)] * 3)), np.float32)
    k = data.draw(st.integers(1, 10))
    among = data.draw(st.none() | st.lists(st.integers(0, 60), unique=True))
    allowed = model if among is None else {key: model[key] for key in model if key in among}
    restriction = None if among is None else np.array(among, np.int64)
    scores, found = index.search(query[None], k, restriction)
    expected = brute_force(allowed, query, k)
    assert found[0].tolist() == expected + [-1] * (k - len(expected))
    assert scores[0, : len(expected)].tolist() == [float(allowed[key] @ query) for key in expected]
    assert np.isneginf(scores[0, len(expected) :]).all()
    assert (scores.dtype, found.dtype) == (np.float32, np.int64)


def test_many_queries_at_once_equal_one_by_one(make: Make):
    rng = np.random.default_rng(0)
    index = make(np.arange(500), rng.standard_normal((500, 16), np.float32))
    queries = rng.standard_normal((40, 16), np.float32)
    scores, keys = index.search(queries, 7)
    for i, query in enumerate(queries):
        one_scores, one_keys = index.search(query[None], 7)
        assert keys[i].tolist() == one_keys[0].tolist()
        np.testing.assert_allclose(scores[i], one_scores[0], rtol=1e-5)


def test_no_queries_give_no_rows(make: Make):
    scores, keys = make(np.arange(3), np.ones((3, 4), np.float32)).search(np.zeros((0, 4), np.float32), 5)
    assert scores.shape == keys.shape == (0, 5)


def test_vectors_are_read_back_by_key_in_the_order_asked(make: Make):
    rng = np.random.default_rng(1)
    keys = rng.permutation(np.arange(100, 160))
    vectors = rng.standard_normal((60, 5), np.float32)
    index = make(keys, vectors)
    wanted = [17, 3, 59, 3, 0]
    read = index.vectors_of(keys[wanted])
    assert (read == vectors[wanted]).all()
    assert read.dtype == np.float32
    assert index.vectors_of(np.zeros(0, np.int64)).shape == (0, 5)


@pytest.mark.parametrize("missing", [1, 130, 500])
def test_a_passage_without_a_vector_is_named(make: Make, missing: int):
    keys = np.array([110, 120, 140])
    index = make(keys, np.ones((3, 2), np.float32))
    # Halved counts in doubles.
    with pytest.raises(
        CorpusDamagedError, match=rf"passages have no vector \(first: ({missing}|{2 * missing})\); run"
    ):
        index.vectors_of(np.array([120, missing]))


@pytest.mark.parametrize("dead", [np.zeros(0, np.int64), np.array([3])])
def test_dead_rows_that_are_far_away_cost_no_second_look(dead: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    # Row i lies nearer to the query than row i - 1, and none ties.
    vectors = np.stack([np.linspace(0, 1, 40), np.ones(40)], axis=1).astype(np.float32)
    index = in_shards(np.arange(40), vectors, 1, dead)

    def settle(*_: object) -> None:
        raise AssertionError("looked again")

    monkeypatch.setattr(SearchedShard, "_settle", settle)
    _, keys = index.search(np.array([[1, 0], [2, 1]], np.float32), 3)
    assert keys.tolist() == [[39, 38, 37]] * 2
    with pytest.raises(AssertionError, match="looked again"):
        in_shards(np.arange(40), vectors, 1, np.array([38])).search(np.array([[1, 0]], np.float32), 3)
