"""The bare libraries that ragkit is compared with, used as their own documentation shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ragkit.devices import quiet_loading
from ragkit.eval.runs.retrieval import Search
from ragkit.extras import require
from ragkit.records import FloatArray, KeyArray

Encode = Callable[[Sequence[str]], FloatArray]


class BareEncoder:
    """`SentenceTransformer.encode` with its defaults, in float32."""

    def __init__(self, model: str, device: str = "cpu") -> None:
        torch = require("torch")
        sentence_transformers = require("sentence_transformers")
        with quiet_loading():
            self._model = sentence_transformers.SentenceTransformer(
                model, device=device, model_kwargs={"dtype": torch.float32}
            )

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """float32 (len(texts), dim)."""
        vectors: FloatArray = self._model.encode(list(texts), show_progress_bar=False)
        return vectors


class BareSearch:
    """Encoding a query, then searching a FAISS `IndexFlatIP`."""

    def __init__(self, encode: Encode, vectors: FloatArray) -> None:
        faiss = require("faiss")
        self._encode = encode
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(np.ascontiguousarray(vectors, np.float32))

    def search(self, query: str, k: int) -> tuple[FloatArray, KeyArray]:
        """float32 (k,) scores and int64 (k,) row numbers, best first."""
        scores, rows = self._index.search(self._encode([query]), k)
        return scores[0], rows[0]


def search_vectors(encode: Encode, ids: Sequence[str], vectors: FloatArray) -> Search:
    """The `Search` of an exact scan over document vectors (n, dim), to measure their quality by."""

    def search(texts: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        scores = encode(texts) @ vectors.T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return [
            [(ids[row], float(score)) for row, score in zip(rows, found, strict=True)]
            for rows, found in zip(best, np.take_along_axis(scores, best, axis=1), strict=True)
        ]

    return search
