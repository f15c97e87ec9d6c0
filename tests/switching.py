"""What tests of switching a corpus's embedder share: two embedders, records, and what a state holds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ragkit import Corpus, TextRecord
from ragkit.indexers.shards import current_vectors
from ragkit.indexers.vectors.vector_shards import TEXTS
from ragkit.protocols import Embedder
from ragkit.records import FloatArray, Passage
from tests.fakes import HashEmbedder

WORDS = "tide crane rope barge pilot storm ledger signal quay anchor lantern chart".split()
CONFIG = {"passages": {"max_tokens": 16, "overlap_tokens": 0}, "retrieval": {"method": "dense"}}


class BackwardEmbedder(HashEmbedder):
    """Another space than `HashEmbedder`'s, of other size. embedded: how many passages so far."""

    def __init__(self, dim: int = 48) -> None:
        super().__init__(dim)
        self.fingerprint = f"backward-{dim}"
        self.embedded = 0

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        self.embedded += len(passages)
        return super().embed_passages(passages)

    def _embed(self, text: str) -> FloatArray:
        return super()._embed(text[::-1])


def records(first: int, last: int) -> list[TextRecord]:
    """Documents of some passages each, with a colour to filter by."""
    found = []
    for number in range(first, last):
        choose = random.Random(number)
        sentences = [" ".join(choose.choices(WORDS, k=9)).capitalize() + "." for _ in range(1 + number % 3)]
        attributes = {"colour": ("red", "green", "blue")[number % 3]}
        found.append(TextRecord(f"d{number:03d}", " ".join(sentences), attributes=attributes))
    return found


def open_with(path: Path, embedder: Embedder, **tables: object) -> Corpus:
    return Corpus.open(path, embedder=embedder, config={**CONFIG, **tables})


def contents(corpus: Corpus) -> dict[tuple[str, int], list[float]]:
    """Each piece of text by document and place, with its vector; checks that all texts have one."""
    dim = corpus.manifest.embedder.dim
    keys, vectors = current_vectors(corpus._catalogue, TEXTS, dim)
    np.testing.assert_array_equal(keys, corpus.store.keys(kind="text"))
    passages = corpus.store.passages(keys.tolist())
    places = [(passage.document, passage.start) for passage in passages]
    return dict(zip(places, np.round(vectors, 5).tolist(), strict=True))


def hits(corpus: Corpus, query: str = "crane tide rope", **options: object) -> list[tuple[str, int, float]]:
    return [
        (hit.passage.document, hit.passage.start, round(hit.score, 4))
        for hit in corpus.search(query, 8, **options)
    ]


def fresh(path: Path, embedder: Embedder, given: Sequence[TextRecord], **tables: object) -> Corpus:
    """A corpus that the embedder has indexed from the beginning."""
    corpus = open_with(path, embedder, **tables)
    corpus.add(given)
    return corpus
