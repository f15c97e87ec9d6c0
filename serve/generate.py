"""From hits to an answer with citations, whole or as a stream."""

from __future__ import annotations

import asyncio
import string
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, fields

from ragkit.protocols import Embedder, Engine, PassageStore
from ragkit.records import Answer, AnswerEvent, AskRequest, ChatDelta, ChatReply, Hit, Sampling, Source, Usage
from ragkit.serve.citations import CitedText, cite
from ragkit.serve.extractive_engine import ExtractiveEngine
from ragkit.serve.marks import MarkFilter, without_marks
from ragkit.serve.prompts import NOT_FOUND_TEXT, build_request

UNSUPPORTED_TEXT = "Not found in these documents: no source supports the text above."
_AROUND = string.whitespace + string.punctuation + "“”„‟‘’‚«»‹›「」…。！"
_QUOTING_NOTE = "The answer quotes the documents; the setting [generation] engine adds a language model."
_ATTRIBUTED_NOTE = (
    "The engine wrote no marks of sources; they were put behind the sentences that a source supports."
)


async def generate_answer(
    request: AskRequest,
    hits: Sequence[Hit],
    engine: Engine,
    store: PassageStore,
    embedder: Embedder | None = None,
    timings_ms: Mapping[str, float] | None = None,
) -> Answer:
    """Ask the engine and turn its marks into citations.

    An answer that has no mark and that no source supports is replaced by `NOT_FOUND_TEXT`; what the
    engine wrote is then in the notes. Without hits the engine is not asked. timings_ms: earlier stages.

    Raises:
        ContextLengthError: the question does not fit the engine's context.
        EngineError: the engine failed.
    """
    generation = _Generation(request, hits, engine, store, embedder, timings_ms)
    sources = await generation.begin()
    if not sources:
        return generation.without_sources()
    reply = await engine.chat(generation.prompt.request)
    marks = MarkFilter(len(sources))
    text = marks.push(reply.text) + marks.finish()
    return await generation.end(text, reply, marks.unknown)


async def stream_answer(
    request: AskRequest,
    hits: Sequence[Hit],
    engine: Engine,
    store: PassageStore,
    embedder: Embedder | None = None,
    timings_ms: Mapping[str, float] | None = None,
) -> AsyncIterator[AnswerEvent]:
    """As `generate_answer`, in pieces; the last event holds the answer.

    Where the engine writes marks, the pieces joined are the answer's text. Where it writes none, the
    marks that were found for it are only in the last event's answer; and where no source supports
    the text, a last piece says so, because what was sent cannot be taken back.
    """
    generation = _Generation(request, hits, engine, store, embedder, timings_ms)
    sources = await generation.begin()
    if not sources:
        yield AnswerEvent(NOT_FOUND_TEXT)
        yield AnswerEvent(answer=generation.without_sources())
        return
    marks = MarkFilter(len(sources))
    text, last = "", ChatDelta()
    deltas = engine.stream(generation.prompt.request)
    try:
        async for delta in deltas:
            last = delta if delta.finish_reason else last
            if piece := marks.push(delta.text):
                text += piece
                yield AnswerEvent(piece)
    finally:
        # A consumer that stops early must not leave the engine writing on.
        if close := getattr(deltas, "aclose", None):
            await close()
    if piece := marks.finish():
        text += piece
        yield AnswerEvent(piece)
    reply = ChatReply(text, last.finish_reason or "stop", last.usage or Usage())
    answer = await generation.end(text, reply, marks.unknown)
    if not answer.found and not _says_not_found(text):
        yield AnswerEvent(f"\n\n{UNSUPPORTED_TEXT}" if text else NOT_FOUND_TEXT)
    yield AnswerEvent(answer=answer)


@dataclass
class _Generation:
    """What whole and streamed answers have in common. Tokenizing and citing run off the event loop."""

    request: AskRequest
    hits: Sequence[Hit]
    engine: Engine
    store: PassageStore
    embedder: Embedder | None
    timings_ms: Mapping[str, float] | None

    def __post_init__(self) -> None:
        self._timings_ms = dict(self.timings_ms or {})
        quotes = isinstance(self.engine, ExtractiveEngine)
        self._notes = [_QUOTING_NOTE, *_note_unused(self.request.sampling)] if quotes else []
        self._started = time.perf_counter()

    async def begin(self) -> tuple[Source, ...]:
        """Build the prompt; the sources it holds."""
        if not self.hits:
            return ()
        ask = self.request
        self.prompt = await asyncio.to_thread(
            build_request, ask.question, self.hits, self.engine, ask.history, ask.sampling
        )
        self._notes += self.prompt.notes
        return self.prompt.request.sources

    def without_sources(self) -> Answer:
        self._took("generate")
        return self._answer(CitedText(NOT_FOUND_TEXT, (), attributed=False), ChatReply(""), ())

    async def end(self, text: str, reply: ChatReply, unknown: tuple[int, ...]) -> Answer:
        """The answer to a reply whose text, with the marks of no source taken out, is `text`."""
        self._took("generate")
        sampling = self.request.sampling
        if reply.finish_reason == "length":
            self._notes.append(f"The answer was cut off at max_tokens = {sampling.max_tokens}.")
        if _says_not_found(text):
            return self._answer(CitedText(text, (), attributed=False), reply, unknown)
        sources = self.prompt.request.sources
        cited = await asyncio.to_thread(cite, text, sources, self.store, self.embedder)
        self._took("cite")
        if cited.citations and cited.attributed:
            self._notes.append(_ATTRIBUTED_NOTE)
        if not cited.citations:
            self._notes.append(f"No source supports what the engine {self.engine.name} wrote: {text!r}")
            cited = CitedText(NOT_FOUND_TEXT, (), attributed=False)
        return self._answer(cited, reply, unknown)

    def _took(self, stage: str) -> None:
        now = time.perf_counter()
        self._timings_ms[stage] = (now - self._started) * 1000
        self._started = now

    def _answer(self, cited: CitedText, reply: ChatReply, unknown: tuple[int, ...]) -> Answer:
        return Answer(
            question=self.request.question,
            text=cited.text,
            engine=self.engine.name,
            found=bool(cited.citations),
            citations=cited.citations,
            hits=tuple(self.hits),
            unknown_marks=unknown,
            notes=tuple(self._notes),
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            timings_ms=self._timings_ms,
        )


def _note_unused(sampling: Sampling) -> list[str]:
    """Quotes are whole sentences: neither shortened to max_tokens nor cut at a stop string."""
    names = [f.name for f in fields(Sampling) if getattr(sampling, f.name) != f.default]
    return [f"Quotes are not sampled: {', '.join(names)} had no effect."] if names else []


def _says_not_found(text: str) -> bool:
    """Whether the reply is the not-found sentence and nothing else; marks, quotes and full stops do not count."""
    return _bare(text) == _bare(NOT_FOUND_TEXT)


def _bare(text: str) -> str:
    return without_marks(text).casefold().strip(_AROUND)
