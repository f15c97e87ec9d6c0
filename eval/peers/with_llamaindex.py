"""LlamaIndex: a VectorStoreIndex over a FaissVectorStore with IndexFlatL2, persisted by its storage context.

deletes: with FaissMapVectorStore over an IndexIDMap2 in its place, which can delete.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.schema import QueryBundle, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from llama_index.vector_stores.faiss import FaissMapVectorStore, FaissVectorStore
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ragkit.eval.peers.measure import Data, Documents


class Tool:
    def __init__(self, store: Path, data: Data, deletes: bool) -> None:
        self._folder = str(store / "storage")
        self._dim = data.queries.shape[1]
        self._deletes = deletes
        self._vector_store = FaissMapVectorStore if deletes else FaissVectorStore

    def open(self) -> None:
        context = StorageContext.from_defaults(
            vector_store=self._vector_store.from_persist_dir(self._folder), persist_dir=self._folder
        )
        self._index = load_index_from_storage(context, embed_model=MockEmbedding(embed_dim=self._dim))
        self._retriever = self._index.as_retriever(similarity_top_k=10)

    def build(self, documents: Documents) -> None:
        flat = faiss.IndexFlatL2(self._dim)
        store = self._vector_store(faiss_index=faiss.IndexIDMap2(flat) if self._deletes else flat)
        self._index = VectorStoreIndex(
            self._nodes(documents),
            storage_context=StorageContext.from_defaults(vector_store=store),
            embed_model=MockEmbedding(embed_dim=self._dim),
        )

    def save(self) -> None:
        self._index.storage_context.persist(persist_dir=self._folder)

    def search(self, text: str, vector: NDArray[np.float32]) -> list[str]:
        return self._ids(self._retriever, text, vector)

    def search_part(self, text: str, vector: NDArray[np.float32], part: int) -> list[str]:
        filters = MetadataFilters(filters=[MetadataFilter(key="part", value=part)])
        return self._ids(self._index.as_retriever(similarity_top_k=10, filters=filters), text, vector)

    def add(self, documents: Documents) -> None:
        self._index.insert_nodes(self._nodes(documents))
        self.save()

    def delete(self, document: str) -> None:
        self._index.delete_nodes([document], delete_from_docstore=True)
        self.save()

    def _ids(self, retriever: Any, text: str, vector: NDArray[np.float32]) -> list[str]:
        hits = retriever.retrieve(QueryBundle(text, embedding=vector.tolist()))
        return [hit.node.node_id for hit in hits if hit.node.text]

    def _nodes(self, documents: Documents) -> list[TextNode]:
        of = zip(documents.ids, documents.texts, documents.parts, documents.vectors, strict=True)
        return [
            TextNode(id_=id_, text=text, metadata={"part": part}, embedding=row.tolist())
            for id_, text, part, row in of
        ]
