"""The embedders of one corpus."""

from __future__ import annotations

from dataclasses import dataclass

from ragkit.indexers.vectors.token_coding import TokenDtype
from ragkit.indexers.vectors.vector_shards import PICTURES, TEXTS, VectorSpace
from ragkit.protocols import Embedder, TokenEmbedder


@dataclass(frozen=True, slots=True)
class Embedders:
    """What makes a corpus's vectors: of texts, of page pictures, and of the tokens of pictures; None where unused.

    token_dtype: of token vectors on disk.
    """

    texts: Embedder | None = None
    pictures: Embedder | None = None
    tokens: TokenEmbedder | None = None
    token_dtype: TokenDtype = "float16"

    def of(self, space: VectorSpace) -> Embedder | None:
        """The one that made the vectors of a space."""
        return {TEXTS: self.texts, PICTURES: self.pictures}[space]
