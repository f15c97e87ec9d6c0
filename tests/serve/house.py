"""A small house for the tests of serve: pages, a store, hits, a library, a real server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn

from ragkit.config import GenerationConfig
from ragkit.errors import CorpusError
from ragkit.protocols import Answerer, Embedder, Engine, PassageStore, Reranker, ServedCorpus
from ragkit.records import (
    Answer,
    AnswerEvent,
    AskRequest,
    Document,
    Filter,
    Hit,
    KeyArray,
    Page,
    PageImage,
    Passage,
    Source,
    WordBoxes,
)
from ragkit.serve.generate import streamed_answer, whole_answer
from ragkit.serve.generation import Generation

LAKE = "Lake Ohm lies in the north. It is 41 metres deep. Pike and perch live in it."
BRIDGE = "The Stone Bridge was opened in 1874. Clara Venn designed it. It has five arches."


def make_page(text: str, number: int = 1) -> Page:
    """A page of which word i stands in the box (i, i, i + 1, i + 1) / 1000."""
    spans, position = [], 0
    for word in text.split():
        start = text.index(word, position)
        position = start + len(word)
        spans.append((start, position))
    boxes = [(i / 1000, i / 1000, (i + 1) / 1000, (i + 1) / 1000) for i in range(len(spans))]
    words = WordBoxes(np.array(spans, np.int32).reshape(-1, 2), np.array(boxes, np.float32).reshape(-1, 4))
    return Page(number, text, words)


@dataclass
class FakeStore:
    """A `PassageStore` of pages given by (document, number)."""

    pages: dict[tuple[str, int], Page]
    reads: list[tuple[str, int]] = field(default_factory=list)
    images: dict[tuple[str, int], PageImage] = field(default_factory=dict)

    def page_image(self, document: str, number: int) -> PageImage | None:
        return self.images.get((document, number))

    def page(self, document: str, number: int) -> Page:
        self.reads.append((document, number))
        if (document, number) not in self.pages:
            raise CorpusError(f"document {document!r} has no page {number} in this corpus")
        return self.pages[document, number]

    def passages(self, keys: Sequence[int]) -> list[Passage]:
        raise NotImplementedError

    def keys(self, where: Filter | None = None) -> KeyArray:
        raise NotImplementedError

    def documents(self) -> list[Document]:
        raise NotImplementedError


def make_hit(
    document: str, text: str, *, page: int = 1, start: int = 0, score: float = 1.0, title: str = ""
) -> Hit:
    return Hit(score, Passage(1, document, page, start, start + len(text), text, title))


def make_source(marker: int, text: str, **fields: Any) -> Source:
    return Source(marker, make_hit(fields.pop("document", f"{marker}.txt"), text, **fields))


def two_hits() -> list[Hit]:
    return [make_hit("lake.txt", LAKE, score=0.75), make_hit("bridge.txt", BRIDGE, page=3, score=0.5)]


def two_page_store() -> FakeStore:
    return FakeStore({("lake.txt", 1): make_page(LAKE), ("bridge.txt", 3): make_page(BRIDGE, 3)})


async def planned(
    request: AskRequest,
    hits: Sequence[Hit],
    engine: Engine,
    store: PassageStore,
    embedder: Embedder | None = None,
    timings_ms: Mapping[str, float] | None = None,
    settings: GenerationConfig | None = None,
) -> Generation:
    """An answer that is ready to be asked for; planned in a thread, as it is by a pipeline."""
    generation = Generation(request, hits, engine, store, embedder, timings_ms, settings)
    await asyncio.to_thread(generation.plan)
    return generation


async def generate_answer(*asked: Any) -> Answer:
    """The whole answer to what `planned` takes."""
    return await whole_answer(await planned(*asked))


async def stream_answer(*asked: Any) -> AsyncGenerator[AnswerEvent]:
    """Likewise in pieces."""
    events = streamed_answer(await planned(*asked))
    try:
        async for event in events:
            yield event
    finally:
        await events.aclose()  # type: ignore[attr-defined]


@dataclass
class FakeAnswerer:
    """Answers every question from the two hits by an engine."""

    name: str
    engine: Engine
    embedder: Embedder | None = None
    asked: list[AskRequest] = field(default_factory=list)

    async def ask(self, request: AskRequest) -> Answer:
        self.asked.append(request)
        return await generate_answer(
            request, two_hits(), self.engine, two_page_store(), self.embedder, {"retrieve": 2.5}
        )

    async def stream(self, request: AskRequest) -> AsyncIterator[AnswerEvent]:
        self.asked.append(request)
        events = stream_answer(
            request, two_hits(), self.engine, two_page_store(), self.embedder, {"retrieve": 2.5}
        )
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()


@dataclass
class FakeCorpus:
    """A `ServedCorpus` that is asked, and finds the two hits whatever is searched."""

    answerer: Answerer
    embedder: Embedder | None = None
    page_embedder: Embedder | None = None
    reranker: Reranker | None = None

    @property
    def name(self) -> str:
        return self.answerer.name

    @property
    def store(self) -> PassageStore:
        return two_page_store()

    def search_many(self, queries: Sequence[str], k: int, *, where: Filter | None = None) -> list[list[Hit]]:
        return [two_hits()[:k] for _ in queries]


class FakeLibrary:
    def __init__(self, *answerers: Answerer) -> None:
        self._corpora = {answerer.name: FakeCorpus(answerer) for answerer in answerers}

    def names(self) -> list[str]:
        return list(self._corpora)

    def corpus(self, name: str) -> ServedCorpus:
        return self._corpora[name]

    def at_hand(self, name: str) -> ServedCorpus | None:
        return self._corpora.get(name)


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The address of a real server that runs `app` in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def wait_until(condition: Any, timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.01)
