"""Haystack with its FAISS integration: IndexFlat in a .faiss file, documents in a .json file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import faiss  # noqa: F401, as with every tool
import numpy as np
from haystack_integrations.components.retrievers.faiss import FAISSEmbeddingRetriever
from haystack_integrations.document_stores.faiss import FAISSDocumentStore
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ragkit.eval.peers.measure import Data, Documents
    from ragkit.eval.peers.with_haystack import as_haystack, ids_of, part_is
else:
    from with_haystack import as_haystack, ids_of, part_is


class Tool:
    def __init__(self, store: Path, data: Data) -> None:
        self._path = str(store / "documents")
        self._dim = data.queries.shape[1]

    def open(self) -> None:
        """It loads what is at the path, if anything is."""
        self._store = FAISSDocumentStore(index_path=self._path, index_string="Flat", embedding_dim=self._dim)
        self._retriever = FAISSEmbeddingRetriever(document_store=self._store, top_k=10)

    def build(self, documents: Documents) -> None:
        self.open()
        self._store.write_documents(as_haystack(documents))

    def save(self) -> None:
        self._store.save(self._path)

    def search(self, text: str, vector: NDArray[np.float32]) -> list[str]:
        return ids_of(self._retriever.run(query_embedding=vector.tolist()))

    def search_part(self, text: str, vector: NDArray[np.float32], part: int) -> list[str]:
        return ids_of(self._retriever.run(query_embedding=vector.tolist(), filters=part_is(part)))

    def add(self, documents: Documents) -> None:
        self._store.write_documents(as_haystack(documents))
        self.save()

    def delete(self, document: str) -> None:
        self._store.delete_documents([document])
        self.save()
