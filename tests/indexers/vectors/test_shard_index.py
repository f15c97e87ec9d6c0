"""How the FAISS index of a shard is filled."""

from __future__ import annotations

import numpy as np
import pytest

from ragkit.indexers.vectors import shard_index
from ragkit.indexers.vectors.shard_index import build_index

faiss = pytest.importorskip("faiss")


@pytest.mark.parametrize("factory", ["HNSW8", "IVF4,Flat", "SQ8"])
def test_pieces_make_the_index_that_one_addition_makes(factory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_index, "CHUNK_ROWS", 100)
    vectors = np.random.default_rng(0).standard_normal((1050, 16), np.float32)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # a graph depends on which thread is first
    try:
        whole = faiss.index_factory(16, factory, faiss.METRIC_INNER_PRODUCT)
        whole.train(vectors)
        whole.add(vectors)
        built = build_index(vectors, factory)
    finally:
        faiss.omp_set_num_threads(threads)
    assert np.array_equal(faiss.serialize_index(built), faiss.serialize_index(whole))
