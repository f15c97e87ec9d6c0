"""Haystack: the document store in memory that comes with it, saved to disk as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from haystack import Document
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ragkit.eval.peers.measure import Data, Documents


class Tool:
    def __init__(self, store: Path, data: Data) -> None:
        self._path = str(store / "documents.json")

    def open(self) -> None:
        self._use(InMemoryDocumentStore.load_from_disk(self._path))

    def build(self, documents: Documents) -> None:
        self._use(InMemoryDocumentStore(embedding_similarity_function="cosine"))
        self._store.write_documents(as_haystack(documents))

    def save(self) -> None:
        self._store.save_to_disk(self._path)

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

    def _use(self, store: InMemoryDocumentStore) -> None:
        self._store = store
        self._retriever = InMemoryEmbeddingRetriever(document_store=store, top_k=10)


def as_haystack(documents: Documents) -> list[Document]:
    """With their embeddings as lists of floats, as its embedders make them."""
    of = zip(documents.ids, documents.texts, documents.parts, documents.vectors, strict=True)
    return [
        Document(id=id_, content=text, meta={"part": part}, embedding=row.tolist()) for id_, text, part, row in of
    ]


def ids_of(found: dict[str, Any]) -> list[str]:
    """Of the documents that a retriever has returned."""
    return [document.id for document in found["documents"] if document.content]


def part_is(part: int) -> dict[str, Any]:
    """Its filter language."""
    return {"field": "meta.part", "operator": "==", "value": part}
