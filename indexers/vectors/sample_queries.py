"""Queries to measure an index's recall with: snippets of the corpus's own passages, embedded as queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ragkit.indexers.vectors.vector_shards import VectorSpace
from ragkit.protocols import Embedder, PassageStore
from ragkit.records import FloatArray, Passage

# About as long as questions are.
_WORDS = 10

# The embedder of a space, loaded when it is asked for.
EmbedderOf = Callable[[VectorSpace], Embedder | None]


def sample_queries(store: PassageStore, embedder: Embedder, keys: Sequence[int]) -> FloatArray | None:
    """float32 (len(keys), dim): of each passage, or of the page whose picture it is, some words of its middle.

    None where one has no text.
    """
    snippets = [_snippet(_text_of(store, passage)) for passage in store.passages(keys)]
    if not all(snippets):
        return None
    return np.ascontiguousarray(embedder.embed_queries(snippets), np.float32)


def _text_of(store: PassageStore, passage: Passage) -> str:
    return passage.text or store.page(passage.document, passage.page).text


def _snippet(text: str) -> str:
    words = text.split()
    start = max(0, (len(words) - _WORDS) // 2)
    return " ".join(words[start : start + _WORDS])
