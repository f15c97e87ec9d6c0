"""How the FAISS index of a shard is filled."""

from __future__ import annotations

import numpy as np
import pytest

from ragkit.indexers.vectors import shard_index
from ragkit.indexers.vectors.shard_index import build_index, training_sample

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


def test_training_sees_so_many_rows_a_list_and_never_fewer_than_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_index, "_TRAINING_ROWS", 300)
    vectors = np.arange(1000, dtype=np.float32)[:, None].repeat(16, axis=1)
    for factory, count in (("IVF2,Flat", 300), ("IVF8,Flat", 8 * 64), ("PCA8,IVF8,Flat", 8 * 64), ("SQ8", 300)):
        index = faiss.index_factory(16, factory, faiss.METRIC_INNER_PRODUCT)
        rows = training_sample(index, vectors)[:, 0]
        assert len(rows) == count
        assert (np.diff(rows) > 0).all()  # each once, in their order
        assert np.array_equal(rows, training_sample(index, vectors)[:, 0])
    assert np.array_equal(training_sample(index, vectors[:300]), vectors[:300])
