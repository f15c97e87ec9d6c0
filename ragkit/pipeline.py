"""From a question to a cited answer: condense, retrieve, rerank, generate. `Corpus.ask`, asynchronous."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import partial

from ragkit.config import GenerationConfig
from ragkit.hosting.search_batches import in_search_thread
from ragkit.protocols import Embedder, Engine, PassageStore
from ragkit.records import Answer, AnswerEvent, AskRequest, Hit, Usage
from ragkit.serve.generate import generate_answer, stream_answer
from ragkit.serve.prompting.condense import SearchText, looks_back, search_text
from ragkit.serve.search_notes import search_notes

_UNSEARCHED_NOTE = (
    "What the question shows as an image was not searched with: this corpus has no page pictures that a model "
    "compares with images."
)


@dataclass(frozen=True, slots=True)
class _Found:
    """What retrieval hands to generation, and what of it belongs into the answer's record."""

    hits: list[Hit]
    engine: Engine
    embedder: Embedder | None
    timings_ms: dict[str, float]
    searched: SearchText
    notes: tuple[str, ...]

    def recorded(self, answer: Answer) -> Answer:
        """The answer with what was searched for, and with the tokens that went into that."""
        before = self.searched.usage
        usage = Usage(
            answer.usage.prompt_tokens + before.prompt_tokens,
            answer.usage.completion_tokens + before.completion_tokens,
        )
        notes = (*self.searched.notes, *self.notes, *answer.notes)
        return replace(answer, searched=self.searched.text, notes=notes, usage=usage)

    def told(self, event: AnswerEvent) -> AnswerEvent:
        """A step of the answer with what retrieval knows of it."""
        if event.hits is not None:
            return replace(event, searched=self.searched.text)
        return event if event.answer is None else replace(event, answer=self.recorded(event.answer))


class Pipeline:
    """The `Answerer` of a corpus.

    Args:
        search: the hits for a request, reranked.
        engine, embedder: called when a question comes; they may load a model. embedder: of texts.
        settings: what of the hits the engine is shown, and in which style it answers.
        searches_images: whether the images of a request are searched with; it may load a model.
        query_embedder: the one of texts where vectors of texts are searched, else None; it may load a model.
    """

    def __init__(
        self,
        name: str,
        store: PassageStore,
        search: Callable[[AskRequest], list[Hit]],
        engine: Callable[[], Engine],
        embedder: Callable[[], Embedder | None],
        settings: GenerationConfig,
        searches_images: Callable[[], bool] = lambda: False,
        query_embedder: Callable[[], Embedder | None] = lambda: None,
    ) -> None:
        self.name = name
        self._store = store
        self._search = search
        self._engine = engine
        self._embedder = embedder
        self._settings = settings
        self._searches_images = searches_images
        self._query_embedder = query_embedder

    async def ask(self, request: AskRequest) -> Answer:
        """As `Answerer.ask`. Raises EngineError where the engine fails."""
        found = await self._find(request)
        answer = await generate_answer(
            request,
            found.hits,
            found.engine,
            self._store_of(request),
            found.embedder,
            found.timings_ms,
            self._settings,
        )
        return found.recorded(answer)

    async def stream(self, request: AskRequest) -> AsyncIterator[AnswerEvent]:
        """As `Answerer.stream`."""
        found = await self._find(request)
        events = stream_answer(
            request,
            found.hits,
            found.engine,
            self._store_of(request),
            found.embedder,
            found.timings_ms,
            self._settings,
        )
        try:
            async for event in events:
                yield found.told(event)
        finally:
            if close := getattr(events, "aclose", None):
                await close()

    def _store_of(self, request: AskRequest) -> PassageStore:
        return request.found.store if request.found is not None and request.found.store else self._store

    async def _find(self, request: AskRequest) -> _Found:
        """The hits, of a search for the last message or for what the settings make of the conversation."""
        if request.found is not None:
            engine, embedder = await in_search_thread(self._models)
            return _Found(
                list(request.found.hits),
                engine,
                embedder,
                {"retrieve": 0.0},
                SearchText(request.found.searched),
                request.found.notes,
            )
        if not looks_back(request, self._settings.condense):
            return await in_search_thread(partial(self._searched, request, SearchText(request.question), {}))
        engine, _ = await in_search_thread(self._models)
        started = time.perf_counter()
        searched = await search_text(request, engine, self._settings.condense)
        timings_ms = {"condense": _milliseconds_since(started)}
        return await in_search_thread(partial(self._searched, request, searched, timings_ms))

    def _models(self) -> tuple[Engine, Embedder | None]:
        """Not on the event loop: they may be loaded now."""
        return self._engine(), self._embedder()

    def _searched(self, request: AskRequest, searched: SearchText, timings_ms: dict[str, float]) -> _Found:
        """Models first: the clock of the search begins behind them."""
        engine, embedder = self._models()
        hits, notes, took_ms = self._search_for(replace(request, question=searched.text))
        return _Found(hits, engine, embedder, {**timings_ms, "retrieve": took_ms}, searched, notes)

    def _search_for(self, request: AskRequest) -> tuple[list[Hit], tuple[str, ...], float]:
        """Hits, notes and milliseconds."""
        unsearched = bool(request.images) and not self._searches_images()
        started = time.perf_counter()
        hits = self._search(request)
        took = _milliseconds_since(started)
        notes = search_notes(request.question, hits, self._store, self._query_embedder())
        return hits, (*((_UNSEARCHED_NOTE,) if unsearched else ()), *notes), took


def _milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
