"""FAISS alone: the same effort after saving and reading, and exact truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ragkit.eval.bare_index import build_bare, exact_rows, read_bare, recall_of, save_bare, set_effort
from ragkit.eval.clustered_vectors import clustered_queries, clustered_vectors

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
    index = build_bare(ROWS, factory, refined=refine > 0)
    set_effort(index, effort, refine)
    save_bare(index, tmp_path / "x.faiss")
    read = read_bare(tmp_path / "x.faiss")
    assert read.ntotal == len(ROWS)
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
