"""Reranking by another embedder than the one that searched, without an index of its own."""

from __future__ import annotations

import hashlib
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
    Passages that are found again and again are embedded once: the vectors asked for last are kept in memory. A
    score is as exact as the embedder's rows are, which may differ in their last bits with what they are embedded
    beside (`Embedder`).
    """

    def __init__(self, name: str, embedder: Embedder, kept_values: int = _KEPT_VALUES) -> None:
        """kept_values: of vectors, at most so many numbers are remembered."""
        self.name = name
        self._embedder = embedder
        self._room = kept_values // embedder.dim
        # By digests: the texts would take as much memory again.
        self._kept: OrderedDict[bytes, FloatArray] = OrderedDict()
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
        # One product a hit: a row's product with a whole matrix may depend on its place in it.
        scored = [Hit(float(row @ asked), hit.passage) for row, hit in zip(vectors, hits, strict=True)]
        return sorted(scored, key=lambda hit: (-hit.score, hit.passage.key))

    def _vectors(self, passages: Sequence[Passage]) -> list[FloatArray]:
        """Of each passage (dim,); the new ones are embedded together, whatever order they come in."""
        names = [hashlib.blake2b(passage.titled_text.encode(), digest_size=16).digest() for passage in passages]
        with self._lock:
            vectors = {name: self._kept[name] for name in names if name in self._kept}
        new = {name: one for name, one in zip(names, passages, strict=True) if name not in vectors}
        ordered = sorted(new, key=lambda name: (-len(new[name].titled_text), name))
        # Not under the lock: others search meanwhile.
        rows = self._embedder.embed_passages([new[name] for name in ordered]) if new else ()
        # Rows of their own: a view would keep all rows of its batch.
        vectors |= {name: row.copy() for name, row in zip(ordered, rows, strict=True)}
        self._keep(vectors)
        return [vectors[name] for name in names]

    def _keep(self, vectors: dict[bytes, FloatArray]) -> None:
        with self._lock:
            for name, row in vectors.items():
                self._kept[name] = row
                self._kept.move_to_end(name)
            while len(self._kept) > self._room:
                self._kept.popitem(last=False)
