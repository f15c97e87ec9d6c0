"""From a question to a cited answer: condense, retrieve, rerank, generate. `Corpus.ask`, asynchronous."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from ragkit.config import GenerationConfig
from ragkit.hosting.search_batches import in_loading_thread
from ragkit.protocols import Embedder, Engine, PassageStore
from ragkit.records import Answer, AnswerEvent, AskRequest, Hit
from ragkit.serve.generate import streamed_answer, whole_answer
from ragkit.serve.generation import Generation
from ragkit.serve.prompting.condense import SearchText, looks_back, search_text
from ragkit.serve.search_notes import search_notes

T = TypeVar("T")

_UNSEARCHED_NOTE = (
    "What the question shows as an image was not searched with: this corpus has no page pictures that a model "
    "compares with images."
)


class Search(Protocol):
    """Searches for a request, and goes on with the hits, reranked, in a thread; returns at once."""

    def __call__(self, request: AskRequest, then: Callable[[list[Hit]], T]) -> Future[T]: ...


@dataclass(frozen=True, slots=True)
class _Found:
    """What retrieval hands on: an answer whose prompts are planned, and what belongs into its record."""

    generation: Generation
    searched: SearchText
    notes: tuple[str, ...]

    def recorded(self, answer: Answer) -> Answer:
        """The answer with what was searched for, and with the tokens that went into that."""
        usage = answer.usage + self.searched.usage
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
        search: as `Search`.
        models: the engine, and the embedder of texts; called when a question comes, it may load them.
        settings: what of the hits the engine is shown, and in which style it answers.
        searches_images: whether the images of a request are searched with; it may load a model.
        query_embedder: the one of texts where vectors of texts are searched, else None; it may load a model.
        is_loaded: whether the models were loaded before, so that a search begins at once.
    """

    def __init__(
        self,
        name: str,
        store: PassageStore,
        search: Search,
        models: Callable[[], tuple[Engine, Embedder | None]],
        settings: GenerationConfig,
        searches_images: Callable[[], bool] = lambda: False,
        query_embedder: Callable[[], Embedder | None] = lambda: None,
        is_loaded: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name = name
        self._store = store
        self._search = search
        self._models = models
        self._settings = settings
        self._searches_images = searches_images
        self._query_embedder = query_embedder
        self._is_loaded = is_loaded

    @property
    def engine(self) -> Engine:
        """As `Answerer.engine`."""
        return self._models()[0]

    async def ask(self, request: AskRequest) -> Answer:
        """As `Answerer.ask`. Raises EngineError where the engine fails."""
        found = await self._find(request)
        return found.recorded(await whole_answer(found.generation))

    async def stream(self, request: AskRequest) -> AsyncIterator[AnswerEvent]:
        """As `Answerer.stream`."""
        found = await self._find(request)
        events = streamed_answer(found.generation)
        try:
            async for event in events:
                yield found.told(event)
        finally:
            if close := getattr(events, "aclose", None):
                await close()

    async def _find(self, request: AskRequest) -> _Found:
        """What is found by the last message, or by what the settings make of the conversation, and planned."""
        if request.found is not None:
            return await in_loading_thread(partial(self._found_before, request))
        if not self._is_loaded():
            # The clock of the search begins behind them.
            await in_loading_thread(self._models)
        if not looks_back(request, self._settings.condense):
            return await self._searched(request, SearchText(request.question), {})
        engine, _ = await in_loading_thread(self._models)
        started = time.perf_counter()
        searched = await search_text(request, engine, self._settings.condense)
        return await self._searched(request, searched, {"condense": _milliseconds_since(started)})

    def _found_before(self, request: AskRequest) -> _Found:
        assert request.found is not None
        found = request.found
        generation = self._planned(request, list(found.hits), {"retrieve": 0.0}, found.store)
        return _Found(generation, SearchText(found.searched), found.notes)

    async def _searched(
        self, request: AskRequest, searched: SearchText, timings_ms: Mapping[str, float]
    ) -> _Found:
        # What the engine does not get to see is not searched with either.
        seen = self.engine.image_limits if request.images else None
        images = request.images[: seen.max_images] if seen else ()
        question = replace(request, question=searched.text, images=images)
        started = time.perf_counter()

        def found(hits: list[Hit]) -> _Found:
            took = {**timings_ms, "retrieve": _milliseconds_since(started)}
            notes = search_notes(searched.text, hits, self._store, self._query_embedder())
            if request.images and not self._searches_images():
                notes = (_UNSEARCHED_NOTE, *notes)
            return _Found(self._planned(request, hits, took), searched, notes)

        return await asyncio.wrap_future(self._search(question, found))

    def _planned(
        self,
        request: AskRequest,
        hits: list[Hit],
        timings_ms: Mapping[str, float],
        store: PassageStore | None = None,
    ) -> Generation:
        engine, embedder = self._models()
        generation = Generation(request, hits, engine, store or self._store, embedder, timings_ms, self._settings)
        generation.plan()
        return generation


def _milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
