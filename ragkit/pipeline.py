"""From a question to a cited answer: retrieve, rerank, generate. The asynchronous side of `Corpus.ask`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

from ragkit.config import GenerationConfig
from ragkit.protocols import Embedder, Engine, PassageStore
from ragkit.records import Answer, AnswerEvent, AskRequest, Hit
from ragkit.search_batches import in_search_thread
from ragkit.serve.generate import generate_answer, stream_answer


@dataclass(frozen=True, slots=True)
class _Found:
    """What retrieval hands to generation."""

    hits: list[Hit]
    engine: Engine
    embedder: Embedder | None
    timings_ms: dict[str, float]


class Pipeline:
    """The `Answerer` of a corpus.

    Args:
        search: the hits for a request, reranked.
        engine, embedder: called when a question comes; they may load a model. embedder: of texts.
        settings: what of the hits the engine is shown, and in which style it answers.
    """

    def __init__(
        self,
        name: str,
        store: PassageStore,
        search: Callable[[AskRequest], list[Hit]],
        engine: Callable[[], Engine],
        embedder: Callable[[], Embedder | None],
        settings: GenerationConfig,
    ) -> None:
        self.name = name
        self._store = store
        self._search = search
        self._engine = engine
        self._embedder = embedder
        self._settings = settings

    async def ask(self, request: AskRequest) -> Answer:
        """As `Answerer.ask`. Raises EngineError where the engine fails."""
        found = await in_search_thread(partial(self._find, request))
        return await generate_answer(
            request,
            found.hits,
            found.engine,
            self._store_of(request),
            found.embedder,
            found.timings_ms,
            self._settings,
        )

    async def stream(self, request: AskRequest) -> AsyncIterator[AnswerEvent]:
        """As `Answerer.stream`."""
        found = await in_search_thread(partial(self._find, request))
        events = stream_answer(
            request,
            found.hits,
            found.engine,
            self._store_of(request),
            found.embedder,
            found.timings_ms,
            self._settings,
        )
        async for event in events:
            yield event

    def _store_of(self, request: AskRequest) -> PassageStore:
        return request.found.store if request.found is not None and request.found.store else self._store

    def _find(self, request: AskRequest) -> _Found:
        # Models are loaded here, off the event loop, and before the clock starts.
        engine, embedder = self._engine(), self._embedder()
        started = time.perf_counter()
        hits = self._search(request) if request.found is None else list(request.found.hits)
        return _Found(hits, engine, embedder, {"retrieve": (time.perf_counter() - started) * 1000})
