"""txtai: its FAISS back end with the index that it chooses itself, contents in SQLite, an external embedder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss  # noqa: F401, as with every tool
import numpy as np
from numpy.typing import NDArray
from txtai import Embeddings

if TYPE_CHECKING:
    from ragkit.eval.peers.measure import Data, Documents


class Tool:
    def __init__(self, store: Path, data: Data) -> None:
        self._path = str(store / "index")
        self._documents: Documents | None = None
        self._asked: NDArray[np.float32] = data.queries[0]

        # txtai wants a plain function.
        def transform(texts: list[str]) -> NDArray[np.float32]:
            return np.array([self._vector(text) for text in texts], np.float32)

        self._external: dict[str, Any] = {"method": "external", "transform": transform}

    def _vector(self, text: str) -> NDArray[np.float32]:
        """Texts of documents begin with their numbers; whatever else is asked for is the query."""
        number = re.match(r"Passage (\d+):", text)
        if number is None:
            return self._asked
        assert self._documents is not None
        row: NDArray[np.float32] = self._documents.vectors[int(number[1]) - self._documents.start]
        return row

    def open(self) -> None:
        self._embeddings = Embeddings()
        # A function is not saved with the rest of the configuration.
        self._embeddings.load(self._path, config=self._external)

    def build(self, documents: Documents) -> None:
        self._embeddings = Embeddings({**self._external, "backend": "faiss", "content": "sqlite"})
        self._embeddings.index(self._rows(documents))

    def save(self) -> None:
        self._embeddings.save(self._path)

    def search(self, text: str, vector: NDArray[np.float32]) -> list[str]:
        self._asked = vector
        return [hit["id"] for hit in self._embeddings.search(text, 10) if hit["text"]]

    def search_part(self, text: str, vector: NDArray[np.float32], part: int) -> list[str]:
        self._asked = vector
        query = "select id, text, score from txtai where similar(:what) and part = :part"
        found = self._embeddings.search(query, 10, parameters={"what": text, "part": part})
        return [hit["id"] for hit in found if hit["text"]]

    def add(self, documents: Documents) -> None:
        self._embeddings.upsert(self._rows(documents))
        self.save()

    def delete(self, document: str) -> None:
        self._embeddings.delete([document])
        self.save()

    def _rows(self, documents: Documents) -> list[tuple[str, dict[str, Any], None]]:
        self._documents = documents
        of = zip(documents.ids, documents.texts, documents.parts, strict=True)
        return [(id_, {"text": text, "part": part}, None) for id_, text, part in of]
