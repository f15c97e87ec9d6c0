"""From a question to a cited answer: retrieve, rerank, generate. The asynchronous side of `Corpus.ask`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ragkit.records import Answer, AnswerEvent, AskRequest, Hit
from ragkit.serve.generate import generate_answer, stream_answer

if TYPE_CHECKING:
    from ragkit.corpus import Corpus


class Pipeline:
    """The `Answerer` of a corpus."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    @property
    def name(self) -> str:
        return self._corpus.name

    async def ask(self, request: AskRequest) -> Answer:
        """As `Answerer.ask`. Raises EngineError where the engine fails."""
        hits, timings_ms = await asyncio.to_thread(self._retrieve, request)
        corpus = self._corpus
        return await generate_answer(request, hits, corpus.engine, corpus.store, corpus.embedder, timings_ms)

    async def stream(self, request: AskRequest) -> AsyncIterator[AnswerEvent]:
        """As `Answerer.stream`."""
        hits, timings_ms = await asyncio.to_thread(self._retrieve, request)
        corpus = self._corpus
        events = stream_answer(request, hits, corpus.engine, corpus.store, corpus.embedder, timings_ms)
        async for event in events:
            yield event

    def _retrieve(self, request: AskRequest) -> tuple[list[Hit], dict[str, float]]:
        """Hits, and milliseconds by stage; models are loaded here, off the event loop."""
        corpus = self._corpus
        _ = corpus.embedder, corpus.reranker, corpus.engine
        started = time.perf_counter()
        count = corpus.config.generation.num_passages
        hits = corpus.search_many([request.question], count, level="passage", where=request.where)[0]
        return hits, {"retrieve": (time.perf_counter() - started) * 1000}
