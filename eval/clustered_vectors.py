"""Made-up vectors that lie in clusters, as those of real texts do: what indexes are timed and judged on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ragkit.records import FloatArray

# Members of a cluster on average, and how far they lie from its centre, which is of length 1.
_CLUSTER_SIZE = 100
_NOISE_NORM = 0.9
# Rows of a chunk. Each chunk has clusters and a random stream of its own.
CHUNK_ROWS = 10_000
_CENTRES, _MEMBERS, _QUERIES = 0, 1, 2


def clustered_chunks(count: int, dim: int = 384, seed: int = 0) -> Iterator[FloatArray]:
    """The first `count` rows of an endless table, float32 (<= 10,000, dim) at a time, rows of unit length.

    A cluster's centre is random on the unit sphere, and a member is the centre plus noise of norm 0.9, scaled to
    unit length. Every 10,000 rows lie in 100 new clusters, so the first rows are the same whatever the count.
    """
    for number, start in enumerate(range(0, count, CHUNK_ROWS)):
        rng = np.random.default_rng((seed, _MEMBERS, number))
        of = rng.integers(CHUNK_ROWS // _CLUSTER_SIZE, size=CHUNK_ROWS)
        yield _members(_centres(number, dim, seed)[of], rng)[: count - start]


def clustered_vectors(count: int, dim: int = 384, seed: int = 0) -> FloatArray:
    """float32 (count, dim): the rows of `clustered_chunks` as one array."""
    rows = np.empty((count, dim), np.float32)
    for number, chunk in enumerate(clustered_chunks(count, dim, seed)):
        rows[number * CHUNK_ROWS :][: len(chunk)] = chunk
    return rows


def clustered_queries(num_queries: int, count: int, dim: int = 384, seed: int = 0) -> FloatArray:
    """float32 (num_queries, dim): further members of the clusters of the first `count` rows; none is a row."""
    rng = np.random.default_rng((seed, _QUERIES, count))
    num_chunks = -(-count // CHUNK_ROWS)
    # Sorted by chunk, so that the centres of one chunk at a time are at hand.
    chunks = np.sort(rng.integers(num_chunks, size=num_queries))
    centres = np.empty((num_queries, dim), np.float32)
    for number in np.unique(chunks):
        here = np.flatnonzero(chunks == number)
        of = rng.integers(CHUNK_ROWS // _CLUSTER_SIZE, size=len(here))
        centres[here] = _centres(int(number), dim, seed)[of]
    queries = _members(centres, rng)
    rng.shuffle(queries)
    return queries


def _centres(chunk: int, dim: int, seed: int) -> FloatArray:
    """The centres of a chunk's clusters, float32 (100, dim)."""
    rng = np.random.default_rng((seed, _CENTRES, chunk))
    return _unit(rng.standard_normal((CHUNK_ROWS // _CLUSTER_SIZE, dim), np.float32))


def _members(centres: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A member for each centre, float32 (n, dim)."""
    noise = _unit(rng.standard_normal(centres.shape, np.float32))
    return _unit(centres + np.float32(_NOISE_NORM) * noise)


def _unit(rows: FloatArray) -> FloatArray:
    scaled: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled
