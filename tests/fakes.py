"""Stand-ins that several tests share."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ragkit.records import FloatArray, Passage


class HashEmbedder:
    """A deterministic `Embedder`: counts of hashed character trigrams, rows of unit length."""

    metric: Literal["cosine"] = "cosine"

    def __init__(self, dim: int = 64) -> None:
        self.dim = dim
        self.fingerprint = f"hash-{dim}"

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        rows = [self._embed(text) for text in texts]
        return np.stack(rows) if rows else np.zeros((0, self.dim), np.float32)

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        return self.embed_queries([passage.titled_text for passage in passages])

    def _embed(self, text: str) -> FloatArray:
        padded = f" {text.lower()} "
        vector = np.zeros(self.dim, np.float32)
        for i in range(len(padded) - 2):
            vector[zlib.crc32(padded[i : i + 3].encode()) % self.dim] += 1.0
        vector[0] += 1e-3  # the empty text has no trigram and still needs a direction
        return vector / np.linalg.norm(vector)
