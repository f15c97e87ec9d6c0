"""Made-up vectors that lie in clusters, as those of real texts do: what indexes are timed and judged on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from ragkit.eval.speed.synthetic import short_texts
from ragkit.records import FloatArray, KeyArray, Passage, TextRecord

# Members of a cluster on average, and how far they lie from its centre, which is of length 1.
_CLUSTER_SIZE = 100
_NOISE_NORM = 0.9
# Rows of a chunk. Each chunk has clusters and a random stream of its own.
CHUNK_ROWS = 10_000
_NUM_CLUSTERS = CHUNK_ROWS // _CLUSTER_SIZE
# What a random stream is for.
_CENTRES, _MEMBERS, _QUERIES, _QUESTIONS = 0, 1, 2, 3


def clustered_chunks(count: int, dim: int = 384, seed: int = 0) -> Iterator[FloatArray]:
    """The first `count` rows of an endless table, float32 (<= 10,000, dim) at a time, rows of unit length.

    A cluster's centre is random on the unit sphere, and a member is the centre plus noise of norm 0.9, scaled to
    unit length. Every 10,000 rows lie in 100 new clusters, so the first rows are the same whatever the count.
    """
    for number, start in enumerate(range(0, count, CHUNK_ROWS)):
        yield _chunk(number, dim, seed)[: count - start]


def clustered_vectors(count: int, dim: int = 384, seed: int = 0) -> FloatArray:
    """float32 (count, dim): the rows of `clustered_chunks` as one array."""
    rows = np.empty((count, dim), np.float32)
    for number, chunk in enumerate(clustered_chunks(count, dim, seed)):
        rows[number * CHUNK_ROWS :][: len(chunk)] = chunk
    return rows


def clustered_queries(num_queries: int, count: int, dim: int = 384, seed: int = 0) -> FloatArray:
    """float32 (num_queries, dim): further members of the clusters of the first `count` rows; none is a row."""
    rng = _rng(seed, _QUERIES, count)
    num_chunks = -(-count // CHUNK_ROWS)
    # Sorted by chunk, so that the centres of one chunk at a time are at hand.
    chunks = np.sort(rng.integers(num_chunks, size=num_queries))
    centres = np.empty((num_queries, dim), np.float32)
    for number in np.unique(chunks):
        here = np.flatnonzero(chunks == number)
        of = rng.integers(_NUM_CLUSTERS, size=len(here))
        centres[here] = _centres(int(number), dim, seed)[of]
    queries = _members(centres, rng)
    rng.shuffle(queries)
    return queries


class ClusteredEmbedder:
    """An `Embedder` that hands out ready vectors by the numbers that texts name.

    "passage 12: ...", the text of row 12 as a passage, is row 12 of `clustered_chunks`; as a query it is a further
    member of that row's cluster, as a question about it would be. The query "row 12" is row 12 itself, and
    "query 12" is row 12 of `queries`. The first rows may be given; others are made when they are asked for.
    """

    metric: Literal["cosine"] = "cosine"

    def __init__(
        self,
        dim: int = 384,
        seed: int = 0,
        queries: FloatArray | None = None,
        rows: FloatArray | None = None,
    ) -> None:
        self.dim = dim
        self.fingerprint = f"clustered vectors of {dim} dimensions, seed {seed}"
        self._seed = seed
        none = np.zeros((0, dim), np.float32)
        self._queries = none if queries is None else queries
        self._rows = none if rows is None else rows
        # Passages come in the order of their rows.
        self._chunk = lru_cache(maxsize=2)(_chunk)

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        """float32 (len(passages), dim)."""
        return self._stacked(self._row(_named(passage.text)[1]) for passage in passages)

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        """float32 (len(texts), dim). Raises ValueError where a text names no vector."""
        return self._stacked(self._query(*_named(text)) for text in texts)

    def make_ready(self, rows: range) -> None:
        """Make at most 10,000 rows now that will be asked for next."""
        for number in (rows[0], rows[-1]):
            self._row(number)

    def _query(self, what: str, number: int) -> FloatArray:
        if what == "query":
            query: FloatArray = self._queries[number]
            return query
        if what == "row":
            return self._row(number)
        chunk, place = divmod(number, CHUNK_ROWS)
        centre = _centres(chunk, self.dim, self._seed)[_clusters(_rng(self._seed, _MEMBERS, chunk))[place]]
        question: FloatArray = _members(centre[None], _rng(self._seed, _QUESTIONS, number))[0]
        return question

    def _row(self, number: int) -> FloatArray:
        row: FloatArray
        if number < len(self._rows):
            row = self._rows[number]
        else:
            row = self._chunk(number // CHUNK_ROWS, self.dim, self._seed)[number % CHUNK_ROWS]
        return row

    def _stacked(self, rows: Iterable[FloatArray]) -> FloatArray:
        return np.array(list(rows), np.float32).reshape(-1, self.dim)


def clustered_records(start: int, stop: int, seed: int = 0) -> list[TextRecord]:
    """Documents "d<row>" of one short passage each, for the rows `start` to `stop`."""
    texts = short_texts(start, stop, seed)
    return [TextRecord(f"d{i}", f"Passage {i}: {text}") for i, text in enumerate(texts, start)]


def _named(text: str) -> tuple[str, int]:
    """Such as ("row", 12)."""
    match = re.match(r"(passage|query|row) (\d+)\b", text, re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text[:80]!r} names no vector; begin with: passage 12, query 12 or row 12")
    return match[1].lower(), int(match[2])


def _chunk(number: int, dim: int, seed: int) -> FloatArray:
    """The rows of a chunk, float32 (10,000, dim)."""
    rng = _rng(seed, _MEMBERS, number)
    of = _clusters(rng)
    return _members(_centres(number, dim, seed)[of], rng)


def _clusters(rng: np.random.Generator) -> KeyArray:
    """The cluster of each row of a chunk."""
    of: KeyArray = rng.integers(_NUM_CLUSTERS, size=CHUNK_ROWS)
    return of


def _rng(*seeds: int) -> np.random.Generator:
    return np.random.default_rng(seeds)


def _centres(chunk: int, dim: int, seed: int) -> FloatArray:
    """The centres of a chunk's clusters, float32 (100, dim)."""
    rng = _rng(seed, _CENTRES, chunk)
    return _unit(rng.standard_normal((_NUM_CLUSTERS, dim), np.float32))


def _members(centres: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A member for each centre, float32 (n, dim)."""
    noise = _unit(rng.standard_normal(centres.shape, np.float32))
    return _unit(centres + np.float32(_NOISE_NORM) * noise)


def _unit(rows: FloatArray) -> FloatArray:
    scaled: FloatArray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled
