"""Vectors of a batch of page pictures, checked; a page that no model can read costs only itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragkit.errors import ConfigError, DocumentError
from ragkit.protocols import Embedder, TokenEmbedder
from ragkit.records import FloatArray, Passage

_UNIT = 1e-3
# A GPU that has met an error fails on everything after it: that must not pass for so many bad pages.
_MOST_FAILED_IN_A_ROW = 20


@dataclass(frozen=True, slots=True)
class PictureVectors:
    """vector: float32 (dim,). tokens: float16 (n, dim) for late interaction, or None."""

    vector: FloatArray
    tokens: NDArray[np.float16] | None


class PictureReader:
    """Embeds pictures with one model or with two.

    A batch that a model fails on is done again page by page. Where then every page fails, and none was ever
    read, or so many in a row fail, it is not the pages: the error is raised.
    """

    def __init__(self, embedder: Embedder, tokens: TokenEmbedder | None) -> None:
        self._embedder = embedder
        self._tokens = tokens
        self._has_read = False
        self._failed_in_a_row = 0

    def read(self, passages: Sequence[Passage]) -> list[PictureVectors | DocumentError]:
        """One result a picture, in order.

        Raises:
            ConfigError: a model gives other than what its protocol says.
        """
        try:
            found: list[PictureVectors | DocumentError] = list(self._together(passages))
        except ConfigError:
            raise
        except Exception:
            found = self._one_by_one(passages)
        else:
            self._failed_in_a_row = 0
        self._has_read = True
        return found

    def _one_by_one(self, passages: Sequence[Passage]) -> list[PictureVectors | DocumentError]:
        found: list[PictureVectors | DocumentError] = []
        failures: list[Exception] = []
        for passage in passages:
            try:
                found += self._together([passage])
                self._failed_in_a_row = 0
            except ConfigError:
                raise
            except Exception as error:
                self._failed_in_a_row += 1
                if self._failed_in_a_row == _MOST_FAILED_IN_A_ROW:
                    raise
                failures.append(error)
                found.append(DocumentError(f"the model cannot read it ({type(error).__name__}: {error})"))
        if len(failures) == len(passages) and not self._has_read:
            raise failures[0]
        return found

    def _together(self, passages: Sequence[Passage]) -> list[PictureVectors]:
        vectors = self._embedder.embed_passages(passages)
        check_vectors(vectors, len(passages), self._embedder)
        if self._tokens is None:
            return [PictureVectors(vector, None) for vector in vectors]
        tokens = self._tokens.embed_passage_tokens(passages)
        check_tokens(tokens, len(passages), self._tokens.dim)
        # Half the memory while a long document waits for its last page; stored no finer than this.
        halves = [np.asarray(rows, np.float16) for rows in tokens]
        return [PictureVectors(vector, rows) for vector, rows in zip(vectors, halves, strict=True)]


def check_vectors(vectors: FloatArray, count: int, embedder: Embedder) -> None:
    """Raises ConfigError where an embedder gave other than one finite row an input, of unit length if so said."""
    expected = (count, embedder.dim)
    given = getattr(vectors, "shape", type(vectors).__name__)
    if given != expected:
        raise ConfigError(f"the embedder gave {given} for {count} passages, not an array of shape {expected}")
    if not np.isfinite(vectors).all():
        raise ConfigError("the embedder gave vectors that are not finite; try dtype = 'float32'")
    if embedder.metric == "cosine" and count:
        norms = np.linalg.norm(np.asarray(vectors, np.float32), axis=1)
        worst = float(norms[np.abs(norms - 1).argmax()])
        if abs(worst - 1) > _UNIT:
            raise ConfigError(
                f"the embedder's metric is 'cosine' and a row has length {worst:.4f}, not 1; normalise the rows"
            )


def check_tokens(tokens: Sequence[FloatArray], count: int, dim: int) -> None:
    """Raises ConfigError where a model gave other than finite rows, one array a picture."""
    if len(tokens) != count:
        raise ConfigError(f"the late-interaction model gave {len(tokens)} arrays for {count} pictures")
    for rows in tokens:
        shape = np.shape(rows)
        if len(shape) != 2 or shape[0] == 0 or shape[1] != dim:
            raise ConfigError(
                f"the late-interaction model gave an array of shape {shape}, not (n, {dim}) with n > 0"
            )
        if not np.isfinite(rows).all():
            raise ConfigError("the late-interaction model gave vectors that are not finite; try dtype = 'float32'")
