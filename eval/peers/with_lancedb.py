"""LanceDB: one table in a folder, which commits each change by itself.

indexed: with its default vector index, IVF_PQ, refined by ten times as many exact vectors, and scalar indexes on
what is filtered and deleted by.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import Bitmap, BTree, IvfPq
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ragkit.eval.peers.measure import Data, Documents

_REFINE_FACTOR = 10


class Tool:
    def __init__(self, store: Path, data: Data, indexed: bool) -> None:
        self._folder = str(store)
        self._indexed = indexed

    def open(self) -> None:
        self._table = lancedb.connect(self._folder).open_table("documents")

    def build(self, documents: Documents) -> None:
        self._table = lancedb.connect(self._folder).create_table("documents", self._rows(documents))
        if self._indexed:
            self._table.create_index("vector", config=IvfPq(distance_type="cosine"))
            self._table.create_index("id", config=BTree())
            self._table.create_index("part", config=Bitmap())

    def save(self) -> None:
        """Each change has committed."""

    def search(self, text: str, vector: NDArray[np.float32], where: str | None = None) -> list[str]:
        query = self._table.search(vector).distance_type("cosine").select(["id", "text", "_distance"]).limit(10)
        if self._indexed:
            query = query.refine_factor(_REFINE_FACTOR)
        if where is not None:
            query = query.where(where)
        return [hit["id"] for hit in query.to_list() if hit["text"]]

    def search_part(self, text: str, vector: NDArray[np.float32], part: int) -> list[str]:
        return self.search(text, vector, f"part = {part}")

    def add(self, documents: Documents) -> None:
        self._table.add(self._rows(documents))

    def delete(self, document: str) -> None:
        self._table.delete(f"id = '{document}'")

    def _rows(self, documents: Documents) -> pa.Table:
        rows = documents.vectors
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
        columns = {"id": documents.ids, "text": documents.texts, "part": documents.parts, "vector": vectors}
        return pa.table(columns)
