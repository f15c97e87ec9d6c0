"""Searching the committed state of a corpus while others may write to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ragkit.assemble import CorpusParts, RetrieverFactory, make_retriever
from ragkit.config import Config
from ragkit.embedder_set import EmbedderSet
from ragkit.errors import CorpusDamagedError
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.lexical.lexical_files import KIND as LEXICAL_KIND
from ragkit.indexers.lexical.lexical_files import open_lexical
from ragkit.indexers.page_images import Drawing, Redraw
from ragkit.indexers.shards import current_vectors
from ragkit.indexers.store import SqlitePassageStore
from ragkit.indexers.vectors.numpy_index import NumpyIndex
from ragkit.indexers.vectors.token_shards import token_files
from ragkit.indexers.vectors.token_vectors import TokenVectors
from ragkit.indexers.vectors.vector_indexes import open_vectors
from ragkit.indexers.vectors.vector_shards import PICTURES, TEXTS, VectorSpace
from ragkit.protocols import Embedder, Reranker, Retriever, VectorIndex
from ragkit.records import Filter, Hit, Query
from ragkit.retrievers.late_interaction import LateInteractionReranker
from ragkit.retrievers.levels import Level, best_per

# A writer that merges as fast as states are opened is outrun sooner or later.
_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class _State:
    """The retriever of one generation."""

    generation: int
    retriever: Retriever


class Searcher:
    """Keeps the indexes of the newest generation open, and follows when a writer commits another.

    Args:
        embedders: asked when vectors are first needed.
        make: in place of the configured retriever.
        redraw: draws the pages whose pictures the corpus does not keep.
    """

    def __init__(
        self,
        path: Path,
        catalogue: Catalogue,
        config: Config,
        embedders: EmbedderSet,
        make: RetrieverFactory | None = None,
        redraw: Redraw = Drawing.draw_again,
    ) -> None:
        self._path = path
        self._redraw = redraw
        self._catalogue = catalogue
        self._config = config
        self._embedders = embedders
        self._make = make or (lambda parts: make_retriever(config, parts))
        # A user's retriever may want anything; BM25 alone needs neither model nor vectors.
        self._wants_vectors = make is not None or config.retrieval.method != "bm25"
        self._state: _State | None = None
        self._lock = threading.Lock()

    def search(self, queries: list[Query], k: int, level: Level, where: Filter | None) -> list[list[Hit]]:
        """At most k results of the level for each query, all from one state.

        Passages are fetched until they make so many pages or documents, or there are no more.
        """
        fetch = k if level == "passage" else 4 * k
        results: dict[int, list[Hit]] = {}
        waiting = list(range(len(queries)))
        with self._current() as retriever:
            while waiting:
                found = retriever.retrieve([queries[i] for i in waiting], fetch, where)
                results.update((i, best_per(hits, level)[:k]) for i, hits in zip(waiting, found, strict=True))
                fetched = dict(zip(waiting, map(len, found), strict=True))
                waiting = [i for i in waiting if len(results[i]) < k and fetched[i] >= fetch]
                fetch *= 4
        return [results[i] for i in range(len(queries))]

    def load(self) -> None:
        """Open the indexes of the newest state."""
        with self._current():
            pass

    def open_parts(self) -> CorpusParts:
        """The indexes of the state that this thread's reads see."""
        store = SqlitePassageStore(self._catalogue, self._redraw)
        files, dead = self._catalogue.files(LEXICAL_KIND), self._catalogue.dead_keys()
        lexical = open_lexical(self._path, files, dead, self._config.lexical)
        texts = self._embedders.texts if self._wants_vectors else None
        pictures = self._embedders.pictures
        return CorpusParts(
            store,
            lexical,
            texts,
            self._index(TEXTS, texts),
            pictures,
            self._index(PICTURES, pictures),
            self._late_interaction(),
            self._catalogue.settings.get("page_fusion"),  # type: ignore[arg-type]
        )

    def _index(self, space: VectorSpace, embedder: Embedder | None) -> VectorIndex | None:
        if embedder is None:
            return None
        if self._config.index.kind == "numpy":
            return NumpyIndex(*current_vectors(self._catalogue, space, embedder.dim))
        return open_vectors(self._catalogue, space, self._config.index)

    def _late_interaction(self) -> Reranker | None:
        embedder = self._embedders.tokens
        if embedder is None:
            return None
        return LateInteractionReranker(embedder, TokenVectors.open(self._path, token_files(self._catalogue)))

    @contextmanager
    def _current(self) -> Iterator[Retriever]:
        """The retriever of the committed state; all reads inside the block see that state."""
        missing = FileNotFoundError()
        for _ in range(_ATTEMPTS):
            with self._catalogue.snapshot() as generation:
                try:
                    retriever = self._retriever_of(generation)
                except FileNotFoundError as error:
                    missing = error
                else:
                    yield retriever
                    return
            # A writer merged files away between our look at the catalogue and at the folder: then there is a newer
            # state, for files are swept after the commit that no longer names them.
            if self._catalogue.generation == generation:
                break
        raise CorpusDamagedError(f"{missing.filename} is missing; run ragkit repair") from missing

    def _retriever_of(self, generation: int) -> Retriever:
        with self._lock:
            if self._state is None or self._state.generation != generation:
                self._state = _State(generation, self._make(self.open_parts()))
            return self._state.retriever
