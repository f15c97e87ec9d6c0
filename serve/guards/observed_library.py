"""Corpora that note in the request's record what their answers and searches cost."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

from ragkit.protocols import Answerer, CorpusLibrary, Embedder, Engine, PassageStore, Reranker, ServedCorpus
from ragkit.records import Answer, AnswerEvent, AskRequest, Filter, Hit
from ragkit.serve.guards.request_record import current_record


class ObservedLibrary:
    """A `CorpusLibrary`. log_questions: whether records hold the questions."""

    def __init__(self, library: CorpusLibrary, log_questions: bool) -> None:
        self._library = library
        self._log_questions = log_questions

    def names(self) -> list[str]:
        """As the library's."""
        return self._library.names()

    def corpus(self, name: str) -> ServedCorpus:
        """Raises KeyError where there is no corpus of that name."""
        return _ObservedCorpus(self._library.corpus(name), self._log_questions)

    def at_hand(self, name: str) -> ServedCorpus | None:
        """As the library's."""
        corpus = self._library.at_hand(name)
        return None if corpus is None else _ObservedCorpus(corpus, self._log_questions)


class _ObservedCorpus:
    def __init__(self, corpus: ServedCorpus, log_questions: bool) -> None:
        self._corpus = corpus
        self._log_questions = log_questions

    @property
    def name(self) -> str:
        return self._corpus.name

    @property
    def answerer(self) -> Answerer:
        return _ObservedAnswerer(self._corpus.answerer, self._log_questions)

    @property
    def store(self) -> PassageStore:
        return self._corpus.store

    @property
    def embedder(self) -> Embedder | None:
        return self._corpus.embedder

    @property
    def page_embedder(self) -> Embedder | None:
        return self._corpus.page_embedder

    @property
    def reranker(self) -> Reranker | None:
        return self._corpus.reranker

    def search_many(self, queries: Sequence[str], k: int, *, where: Filter | None = None) -> list[list[Hit]]:
        record = current_record()
        started = time.perf_counter()
        hits = self._corpus.search_many(queries, k, where=where)
        if record:
            record.corpus = self.name
            _add(record.stages_ms, "retrieve", (time.perf_counter() - started) * 1000)
            if self._log_questions:
                record.question = "\n".join(queries)
        return hits


class _ObservedAnswerer:
    def __init__(self, answerer: Answerer, log_questions: bool) -> None:
        self._answerer = answerer
        self._log_questions = log_questions

    @property
    def name(self) -> str:
        return self._answerer.name

    @property
    def engine(self) -> Engine:
        return self._answerer.engine

    async def ask(self, request: AskRequest) -> Answer:
        self._note_question(request)
        answer = await self._answerer.ask(request)
        _note_answer(answer)
        return answer

    async def stream(self, request: AskRequest) -> AsyncIterator[AnswerEvent]:
        self._note_question(request)
        events = self._answerer.stream(request)
        try:
            async for event in events:
                if event.answer is not None:
                    _note_answer(event.answer)
                yield event
        finally:
            # A consumer that stops early must not leave the engine writing on.
            if close := getattr(events, "aclose", None):
                await close()

    def _note_question(self, request: AskRequest) -> None:
        if record := current_record():
            record.corpus = self.name
            if self._log_questions:
                record.question = request.question


def _note_answer(answer: Answer) -> None:
    if record := current_record():
        for stage, took_ms in answer.timings_ms.items():
            _add(record.stages_ms, stage, took_ms)
        record.prompt_tokens += answer.usage.prompt_tokens
        record.completion_tokens += answer.usage.completion_tokens


def _add(stages: dict[str, float], stage: str, took_ms: float) -> None:
    stages[stage] = stages.get(stage, 0.0) + took_ms
