"""ragkit through its SDK, by vectors alone; its BM25 index is built and kept up all the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import faiss  # noqa: F401, it belongs to what is imported before opening, as with every tool
import numpy as np

from ragkit import Corpus, TextRecord
from ragkit.eval.speed.clustered_vectors import ClusteredEmbedder
from ragkit.records import FloatArray, Passage

if TYPE_CHECKING:
    from ragkit.eval.peers.measure import Data, Documents


class ReadyVectors:
    """An `Embedder` that looks up what a text's number says: "passage 12: ...", "query 12"."""

    metric: Literal["cosine"] = "cosine"

    def __init__(self, queries: FloatArray) -> None:
        self._clustered = ClusteredEmbedder(queries.shape[1], queries=queries)
        self.dim = self._clustered.dim
        self.fingerprint = self._clustered.fingerprint
        self.start = 0
        self.vectors = np.zeros((0, self.dim), np.float32)

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        """float32 (len(passages), dim)."""
        numbers = [int(re.findall(r"\d+", passage.text)[0]) for passage in passages]
        rows: FloatArray = self.vectors[np.array(numbers, np.int64) - self.start]
        return rows

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        """float32 (len(texts), dim)."""
        return self._clustered.embed_queries(texts)


class Tool:
    def __init__(self, store: Path, data: Data, kind: str) -> None:
        self._store = store
        self._config = {"retrieval": {"method": "dense"}, "index": {"kind": kind}}
        self._embedder = ReadyVectors(data.queries)

    def open(self) -> None:
        self._corpus = Corpus.open(self._store, config=self._config, embedder=self._embedder)

    def build(self, documents: Documents) -> None:
        self.open()
        self.add(documents)

    def save(self) -> None:
        """`add` has committed."""

    def search(self, text: str, vector: FloatArray, where: str | None = None) -> list[str]:
        return [hit.passage.document for hit in self._corpus.search(text, 10, where=where)]

    def search_part(self, text: str, vector: FloatArray, part: int) -> list[str]:
        return self.search(text, vector, f"part = {part}")

    def add(self, documents: Documents) -> None:
        self._embedder.start, self._embedder.vectors = documents.start, documents.vectors
        of = zip(documents.ids, documents.texts, documents.parts, strict=True)
        report = self._corpus.add(TextRecord(id_, text, attributes={"part": part}) for id_, text, part in of)
        if report.failed:
            raise RuntimeError(f"not indexed: {report.failed[:3]}")

    def delete(self, document: str) -> None:
        self._corpus.remove(document)
