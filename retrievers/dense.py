"""Retrieval by vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ragkit.errors import ConfigError
from ragkit.pictures import rgb_on_white
from ragkit.protocols import Embedder, PassageStore, VectorIndex
from ragkit.records import Filter, FloatArray, Hit, PageImage, Passage, Query
from ragkit.retrievers.fusion import Ranking
from ragkit.retrievers.rankings import load_hits, to_rankings

if TYPE_CHECKING:
    from PIL.Image import Image


class DenseRetriever:
    """Finds the passages whose vectors have the highest inner product with the query's.

    Args:
        reads_images: whether the embedder embeds pictures. A query's images then count as much each as its text:
            its vector is the mean of theirs, each of unit length, at the length of the text's.
    """

    def __init__(
        self, store: PassageStore, embedder: Embedder, index: VectorIndex, *, reads_images: bool = False
    ) -> None:
        self._store = store
        self.embedder = embedder
        self.index = index
        self._reads_images = reads_images

    def retrieve(self, queries: Sequence[Query], k: int, where: Filter | None = None) -> list[list[Hit]]:
        """As `Retriever.retrieve`; scores are inner products (cosines for embedders of unit rows)."""
        return load_hits(self._store, self.rank(queries, k, where))

    def rank(self, queries: Sequence[Query], k: int, where: Filter | None = None) -> list[Ranking]:
        """As `Ranker.rank`."""
        among = None if where is None else self._store.keys(where)
        return to_rankings(*self.index.search(self._vectors(queries), k, among))

    def with_vectors(self, queries: Sequence[Query]) -> list[Query]:
        """The queries with the vectors that they are searched with: searching for these embeds nothing anew."""
        return [
            replace(query, dense=vector) for query, vector in zip(queries, self._vectors(queries), strict=True)
        ]

    def _vectors(self, queries: Sequence[Query]) -> FloatArray:
        """float32 (q, dim): a query's own vector where it has one, else its text embedded."""
        vectors = np.zeros((len(queries), self.embedder.dim), np.float32)
        texts = [i for i, query in enumerate(queries) if query.dense is None]
        if texts:
            vectors[texts] = self.embedder.embed_queries([queries[i].text for i in texts])
        for i, query in enumerate(queries):
            if query.dense is not None:
                vectors[i] = query.dense
            elif query.images and self._reads_images:
                vectors[i] = self._with_images(vectors[i], query)
        if not np.isfinite(vectors).all():
            raise ConfigError("a query's vector is not finite; check the embedder or the given vector")
        return vectors

    def _with_images(self, text: FloatArray, query: Query) -> FloatArray:
        """float32 (dim,); of the images alone where the query has no words."""
        pictures = self.embedder.embed_passages([_as_passage(image) for image in query.images])
        rows = [*pictures, text] if query.text.strip() else [*pictures]
        mean = np.mean([_unit(row) for row in rows], axis=0)
        length = float(np.linalg.norm(text)) or 1.0
        joined: FloatArray = (_unit(mean) * length).astype(np.float32)
        return joined


def _as_passage(image: Image) -> Passage:
    """What an embedder of pages takes."""
    picture = PageImage("", 1, image.width, image.height, load=lambda: rgb_on_white(image))
    return Passage(-1, "", 1, 0, 0, "", image=picture)


def _unit(row: FloatArray) -> FloatArray:
    """A row of zeros stays."""
    length = float(np.linalg.norm(row))
    return row / length if length else row
