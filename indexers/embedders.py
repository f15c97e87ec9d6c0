"""The embedders of one corpus."""

from __future__ import annotations

from dataclasses import dataclass

from ragkit.indexers.token_coding import TokenDtype
from ragkit.indexers.vectors import PICTURES, TEXTS, VectorSpace
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

    @property
    def dims(self) -> dict[VectorSpace, int]:
        """Dimensions of each space that is used."""
        pairs = ((TEXTS, self.texts), (PICTURES, self.pictures))
        return {space: embedder.dim for space, embedder in pairs if embedder is not None}
