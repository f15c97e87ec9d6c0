"""Reranking by an embedder that is better than the one that searched, without an index of its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

from ragkit.errors import ConfigError
from ragkit.protocols import Embedder
from ragkit.records import FloatArray, Hit, Passage, Query
from ragkit.retrievers.cross_encoder import no_pictures

_KEPT_VALUES = 32_000_000
"""Numbers of float32 that are kept: 128 MB, 41,000 passages of a model of 768 dimensions."""


class EmbedderReranker:
    """A text `Embedder` as a `Reranker`: scores are inner products of its vectors.

    What it costs is one vector a hit, made when it is first asked for, in the place of vectors of all passages.
    Passages that are found again and again are embedded once: the vectors asked for last are kept, by their text.
    """

    def __init__(self, name: str, embedder: Embedder, kept_values: int = _KEPT_VALUES) -> None:
        """kept_values: of vectors, at most so many numbers are remembered."""
        self.name = name
        self._embedder = embedder
        self._room = kept_values // embedder.dim
        self._kept: OrderedDict[str, FloatArray] = OrderedDict()
        self._lock = Lock()

    def rerank(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
        """The same passages by the embedder; reads `Passage.titled_text`.

        Raises:
            ConfigError: a passage is a page picture.
        """
        if not hits:
            return []
        if pictures := [hit for hit in hits if hit.passage.image is not None]:
            raise ConfigError(no_pictures(pictures, f"the embedder {self.name!r}"))
        vectors = self._vectors([hit.passage for hit in hits])
        asked = self._embedder.embed_queries([query.text])[0]
        # One product a hit: of a whole matrix a row's product may differ in the last bit by its place in it.
        scored = [Hit(float(row @ asked), hit.passage) for row, hit in zip(vectors, hits, strict=True)]
        return sorted(scored, key=lambda hit: (-hit.score, hit.passage.key))

    def _vectors(self, passages: Sequence[Passage]) -> list[FloatArray]:
        """Of each passage (dim,); the new ones are embedded together."""
        with self._lock:
            found = {passage.titled_text: self._kept.get(passage.titled_text) for passage in passages}
        new = {passage.titled_text: passage for passage in passages if found[passage.titled_text] is None}
        # Not under the lock: others search meanwhile, and what both embed comes out the same.
        rows = self._embedder.embed_passages(list(new.values())) if new else ()
        vectors = {text: row for text, row in found.items() if row is not None}
        # A row of its own: a view would keep all rows of its batch.
        vectors |= {text: row.copy() for text, row in zip(new, rows, strict=True)}
        self._keep(vectors)
        return [vectors[passage.titled_text] for passage in passages]

    def _keep(self, vectors: dict[str, FloatArray]) -> None:
        with self._lock:
            for text, row in vectors.items():
                self._kept[text] = row
                self._kept.move_to_end(text)
            while len(self._kept) > self._room:
                self._kept.popitem(last=False)
