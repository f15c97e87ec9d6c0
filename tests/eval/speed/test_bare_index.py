"""FAISS alone: the same effort after saving and reading, and exact truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragkit.eval.speed.bare_index import (
    build_bare,
    compare_searches,
    exact_rows,
    read_bare,
    recall_of,
    save_bare,
    set_effort,
)
from ragkit.eval.speed.clustered_vectors import clustered_queries, clustered_vectors

faiss = pytest.importorskip("faiss")
ROWS, QUERIES = clustered_vectors(1500, 16), clustered_queries(40, 1500, 16)
TRUTH = np.argsort(-(QUERIES @ ROWS.T), axis=1)[:, :10]


def test_exact_rows_are_those_of_a_full_scan() -> None:
    assert np.array_equal(exact_rows(ROWS, QUERIES, 10), TRUTH)


def test_recall_counts_what_was_found_in_any_order() -> None:
    assert recall_of(np.array([[2, 1], [3, -1]]), np.array([[1, 2], [4, 3]])) == 0.75


@pytest.mark.parametrize(
    ("factory", "refine", "effort"),
    [("Flat", 0, 0), ("IVF16,Flat", 0, 5), ("HNSW8", 0, 33), ("IVF16,PQ4x4fs", 4, 5), ("PCA8,IVF16,Flat", 3, 5)],
)
def test_effort_lasts(tmp_path: Path, factory: str, refine: int, effort: int) -> None:
    index = build_bare(ROWS, factory, refine > 0, lambda _, vectors: vectors)
    set_effort(index, effort, refine)
    save_bare(index, tmp_path / "x.faiss")
    read = read_bare(tmp_path / "x.faiss")
    assert read.ntotal == len(ROWS)
    mapped = read_bare(tmp_path / "x.faiss", mapped=True)
    assert np.array_equal(mapped.search(QUERIES, 10)[1], index.search(QUERIES, 10)[1])
    assert np.array_equal(read.search(QUERIES, 10)[1], index.search(QUERIES, 10)[1])
    inner = faiss.downcast_index(read.base_index) if refine else read
    inner = faiss.downcast_index(inner.index) if isinstance(inner, faiss.IndexPreTransform) else inner
    assert isinstance(read, faiss.IndexRefineFlat) == bool(refine)
    assert not refine or read.k_factor == refine
    assert getattr(inner, "nprobe", effort) == effort
    assert not hasattr(inner, "hnsw") or inner.hnsw.efSearch == effort
    scores, rows = read.search(QUERIES, 10)
    expected = np.take_along_axis(QUERIES @ ROWS.T, rows, axis=1)
    assert np.allclose(scores, expected, atol=1e-5)  # exact scores, refined or not


def test_an_index_is_trained_on_the_sample_alone() -> None:
    asked: list[tuple[int, bool]] = []

    def first_hundred(index, vectors):
        asked.append((len(vectors), index.is_trained))
        return vectors[:100]

    index = build_bare(ROWS, "IVF4,Flat", False, first_hundred)
    alone = faiss.index_factory(16, "IVF4,Flat", faiss.METRIC_INNER_PRODUCT)
    alone.train(ROWS[:100])
    assert asked == [(1500, False)]
    assert index.ntotal == 1500
    centroids = [faiss.downcast_index(one.quantizer).reconstruct_n(0, 4) for one in (index, alone)]
    assert np.array_equal(*centroids)


def test_both_sides_search_the_same_batches_in_turns() -> None:
    class Recorder:
        def __init__(self) -> None:
            self.batches: list[np.ndarray] = []

        def search(self, queries, k):
            assert k == 7
            self.batches.append(queries)

    ours, bare = Recorder(), Recorder()
    single, many = compare_searches(ours, bare, QUERIES, 7, ((1, 3), (32, 2)))
    assert (single.name, single.num_units, len(single.ours_s)) == ("search 1", 1, 3)
    assert (many.name, many.num_units, len(many.bare_s)) == ("search 32", 32, 2)
    # Three warm-ups each; the second batch of 32 of 40 queries begins anew after the last.
    assert [len(batch) for batch in ours.batches] == [1] * 6 + [32] * 5
    assert all(np.array_equal(*pair) for pair in zip(ours.batches, bare.batches, strict=True))
    assert np.array_equal(ours.batches[5], QUERIES[2:3])
    assert np.array_equal(ours.batches[-1], np.concatenate([QUERIES[32:], QUERIES[:24]]))
