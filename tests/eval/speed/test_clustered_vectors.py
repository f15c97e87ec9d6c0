"""Vectors in clusters: the same whatever the count, and as near to one another as said."""

from __future__ import annotations

import numpy as np
import pytest

from ragkit.eval.speed.clustered_vectors import (
    ClusteredEmbedder,
    clustered_chunks,
    clustered_queries,
    clustered_records,
    clustered_vectors,
)
from ragkit.records import Passage

# A centre of length 1 and noise of length 0.9 at right angles to it: two members' cosine is 1 / (1 + 0.81).
WITHIN = 1 / 1.81


def test_the_first_rows_are_the_same_whatever_the_count() -> None:
    whole = clustered_vectors(20_500, 16, seed=3)
    assert whole.shape == (20_500, 16)
    assert whole.dtype == np.float32
    for count in (7, 10_000, 10_001):
        assert np.array_equal(clustered_vectors(count, 16, seed=3), whole[:count])
    assert [len(chunk) for chunk in clustered_chunks(20_500, 16, seed=3)] == [10_000, 10_000, 500]
    assert not np.allclose(clustered_vectors(7, 16, seed=4), whole[:7])


def test_every_ten_thousand_rows_lie_in_a_hundred_clusters() -> None:
    rows = clustered_vectors(20_000, 384)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    cosines = rows[:1000] @ rows[:10_000].T
    np.fill_diagonal(cosines, 0)
    near = np.asarray(cosines > 0.35)  # far from 0 and from WITHIN: the spread at 384 dimensions is about 0.05
    assert abs(float(cosines[near].mean()) - WITHIN) < 0.01
    assert abs(float(cosines[~near].mean())) < 0.01
    assert abs(float(near.sum(axis=1).mean()) - 100) < 5
    assert not (rows[:1000] @ rows[10_000:].T > 0.35).any()


def test_queries_are_new_members_of_the_same_clusters() -> None:
    rows = clustered_vectors(20_000, 384)
    queries = clustered_queries(300, 20_000, 384)
    assert np.array_equal(queries, clustered_queries(300, 20_000, 384))
    cosines = queries @ rows.T
    assert float(cosines.max()) < 0.9  # no query is a row
    near = (cosines > 0.35).sum(axis=1)
    assert abs(float(near.mean()) - 100) < 5
    halves = (cosines[:, :10_000] > 0.35).any(axis=1)
    assert 0.35 < float(halves.mean()) < 0.65  # drawn from the clusters of all chunks
    assert halves[:50].any()  # and in no order of chunks
    assert not halves[:50].all()


def test_the_embedder_hands_out_the_vector_that_a_text_names() -> None:
    rows, queries = clustered_vectors(10_020, 384, seed=1), clustered_queries(5, 10_020, 384, seed=1)
    embedder = ClusteredEmbedder(384, 1, queries)
    records = [record for at in (3, 10_007) for record in clustered_records(at, at + 2)]
    assert [record.id for record in records] == ["d3", "d4", "d10007", "d10008"]
    passages = [Passage(-1, record.id, 1, 0, 0, record.text) for record in records]
    assert np.array_equal(embedder.embed_passages(passages), rows[[3, 4, 10_007, 10_008]])
    assert np.array_equal(embedder.embed_queries(["query 4", "row 10019"]), [queries[4], rows[10_019]])
    given = ClusteredEmbedder(384, 1, rows=-rows[:4])
    assert np.array_equal(given.embed_passages(passages), [-rows[3], *rows[[4, 10_007, 10_008]]])
    assert embedder.embed_queries([]).shape == (0, 384)
    with pytest.raises(ValueError, match="names no vector"):
        embedder.embed_queries(["twelve"])


def test_a_passage_asked_as_a_question_is_a_neighbour_of_its_row() -> None:
    rows, embedder = clustered_vectors(20_000, 384), ClusteredEmbedder(384)
    numbers = [7, 8, 12_345]
    questions = embedder.embed_queries([clustered_records(i, i + 1)[0].text for i in numbers])
    own = (questions * rows[numbers]).sum(axis=1)
    assert (own > 0.35).all()
    assert (own < 0.9).all()
    # Its ten nearest lie in the cluster of the row.
    nearest = np.argsort(-(questions @ rows.T), axis=1)[:, :10]
    assert all((rows[best] @ rows[i] > 0.35).all() for best, i in zip(nearest, numbers, strict=True))
