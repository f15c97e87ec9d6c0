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


class ThumbnailEmbedder:
    """A deterministic `Embedder` of page pictures: the darkness of a small copy of the page, rows of unit length.

    A query says where the ink is: "left", "right", "top", "bottom".
    """

    metric: Literal["cosine"] = "cosine"
    side = 8

    def __init__(self, batch_pages: int = 4) -> None:
        self.dim = self.side**2
        self.fingerprint = "thumbnail"
        self.batch_pages = batch_pages
        self.batches: list[int] = []

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        return self._unit([self._wanted(text) for text in texts])

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        self.batches.append(len(passages))
        return self._unit([self._darkness(passage) for passage in passages])

    def _darkness(self, passage: Passage) -> FloatArray:
        assert passage.image is not None, "only pictures are embedded here"
        small = passage.image.load().convert("L").resize((self.side, self.side), 4)
        return (255 - np.asarray(small, np.float32)).ravel()

    def _wanted(self, text: str) -> FloatArray:
        field = np.zeros((self.side, self.side), np.float32)
        half = self.side // 2
        places = {"left": field[:, :half], "right": field[:, half:], "top": field[:half], "bottom": field[half:]}
        for word in text.lower().split():
            if word in places:
                places[word] += 1
        return field.ravel()

    def _unit(self, rows: Sequence[FloatArray]) -> FloatArray:
        table = np.array(rows, np.float32).reshape(len(rows), self.dim) + 1e-3
        return (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32)


class RowTokenEmbedder:
    """A deterministic `TokenEmbedder` of page pictures: a token is a row of `ThumbnailEmbedder`'s small copy."""

    def __init__(self) -> None:
        self._thumbnails = ThumbnailEmbedder()
        self.dim = self._thumbnails.side
        self.fingerprint = "thumbnail rows"

    def embed_query_tokens(self, texts: Sequence[str]) -> list[FloatArray]:
        return [self._rows(vector) for vector in self._thumbnails.embed_queries(texts)]

    def embed_passage_tokens(self, passages: Sequence[Passage]) -> list[FloatArray]:
        return [self._rows(vector) for vector in self._thumbnails.embed_passages(passages)]

    def _rows(self, vector: FloatArray) -> FloatArray:
        rows = vector.reshape(-1, self.dim)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)
