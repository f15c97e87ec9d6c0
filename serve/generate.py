"""From hits to an answer with citations, whole or as a stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, fields

from ragkit.config import GenerationConfig
from ragkit.protocols import Embedder, Engine, PassageStore
from ragkit.records import Answer, AnswerEvent, AskRequest, ChatDelta, ChatReply, ChatRequest, Hit, Sampling, Usage
from ragkit.serve.engines.echo_engine import EchoEngine
from ragkit.serve.engines.extractive_engine import ExtractiveEngine
from ragkit.serve.grounding.citations import CitedText, cite
from ragkit.serve.not_found import says_not_found
from ragkit.serve.prompting.page_answers import answer_by_page
from ragkit.serve.prompting.prompts import NOT_FOUND_TEXT
from ragkit.serve.prompting.request_plan import plan_requests
from ragkit.serve.reply_reader import ReplyReader

UNSUPPORTED_TEXT = "Not found in these documents: no source supports the text above."
_QUOTING_NOTE = "The answer quotes the documents; the setting [generation] engine adds a language model."


async def generate_answer(
    request: AskRequest,
    hits: Sequence[Hit],
    engine: Engine,
    store: PassageStore,
    embedder: Embedder | None = None,
    timings_ms: Mapping[str, float] | None = None,
    settings: GenerationConfig | None = None,
) -> Answer:
    """Ask the engine and turn its marks into citations.

    An answer that has no mark and that no source supports is replaced by `NOT_FOUND_TEXT`; what the
    engine wrote is then in the notes. Without hits the engine is not asked. timings_ms: earlier stages.
    settings: what of the hits is shown (show, num_pages) and in which style the engine answers.

    Raises:
        ContextLengthError: the question does not fit the engine's context.
        ImageInputError: the request has images and the engine reads none, or not so many.
        ConfigError: page pictures are to be shown and the engine reads none.
        EngineError: the engine failed.
    """
    generation = _Generation(request, hits, engine, store, embedder, timings_ms, settings)
    requests = await generation.begin()
    if not requests:
        return generation.without_sources()
    reply = await generation.chosen(requests) if len(requests) > 1 else await engine.chat(requests[0])
    reader = generation.reader()
    reader.push(reply.text)
    reader.finish()
    return await generation.end(reader, reply)


async def stream_answer(
    request: AskRequest,
    hits: Sequence[Hit],
    engine: Engine,
    store: PassageStore,
    embedder: Embedder | None = None,
    timings_ms: Mapping[str, float] | None = None,
    settings: GenerationConfig | None = None,
) -> AsyncIterator[AnswerEvent]:
    """As `generate_answer`, in pieces; the last event holds the answer.

    Where the engine writes marks, the pieces joined are the answer's text. Where it writes none, the
    marks that were found for it are only in the last event's answer; and where no source supports
    the text, a last piece says so, because what was sent cannot be taken back. Of a reply in the
    evidence style the answer alone is streamed; of weighted selection the chosen one, once it is chosen.
    """
    generation = _Generation(request, hits, engine, store, embedder, timings_ms, settings)
    requests = await generation.begin()
    if not requests:
        yield AnswerEvent(NOT_FOUND_TEXT)
        yield AnswerEvent(answer=generation.without_sources())
        return
    last = ChatDelta()
    deltas = generation.deltas(requests)
    # Weighted selection settles which sources the reply has when its first piece comes.
    reader: ReplyReader | None = None
    try:
        async for delta in deltas:
            reader = reader or generation.reader()
            last = delta if delta.finish_reason else last
            if piece := reader.push(delta.text):
                yield AnswerEvent(piece)
    finally:
        # A consumer that stops early must not leave the engine writing on.
        if close := getattr(deltas, "aclose", None):
            await close()
    reader = reader or generation.reader()
    if piece := reader.finish():
        yield AnswerEvent(piece)
    reply = ChatReply(reader.text, last.finish_reason or "stop", last.usage or Usage())
    answer = await generation.end(reader, reply)
    if not answer.found and not says_not_found(reader.text):
        yield AnswerEvent(f"\n\n{UNSUPPORTED_TEXT}" if reader.text else NOT_FOUND_TEXT)
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
    settings: GenerationConfig | None

    def __post_init__(self) -> None:
        self._settings = self.settings or GenerationConfig()
        if isinstance(self.engine, ExtractiveEngine | EchoEngine):
            # These repeat the sources and follow no form.
            self._settings = self._settings.model_copy(update={"style": "plain"})
        self._timings_ms = dict(self.timings_ms or {})
        quotes = isinstance(self.engine, ExtractiveEngine)
        self._notes = [_QUOTING_NOTE, *_note_unused(self.request.sampling)] if quotes else []
        self._started = time.perf_counter()

    async def begin(self) -> tuple[ChatRequest, ...]:
        """Build the prompts; none where the engine would see no source."""
        plan = await asyncio.to_thread(
            plan_requests, self.request, self.hits, self.engine, self.store, self._settings
        )
        self._notes += plan.notes
        if len(plan.requests) == 1:
            self._asked = plan.requests[0]
        return plan.requests

    async def chosen(self, requests: Sequence[ChatRequest]) -> ChatReply:
        """The reply that weighted selection keeps."""
        kept = await answer_by_page(self.engine, requests, self._settings.style)
        self._asked = kept.request
        self._notes.append(kept.note)
        return kept.reply

    def deltas(self, requests: Sequence[ChatRequest]) -> AsyncIterator[ChatDelta]:
        return self.engine.stream(requests[0]) if len(requests) == 1 else self._chosen_deltas(requests)

    async def _chosen_deltas(self, requests: Sequence[ChatRequest]) -> AsyncIterator[ChatDelta]:
        reply = await self.chosen(requests)
        yield ChatDelta(reply.text)
        yield ChatDelta(finish_reason=reply.finish_reason, usage=reply.usage)

    def reader(self) -> ReplyReader:
        """For the reply to what was asked; with weighted selection, once it is chosen."""
        return ReplyReader(self._asked.sources, self._settings.style)

    def without_sources(self) -> Answer:
        self._took("generate")
        return self._answer(CitedText(NOT_FOUND_TEXT, (), is_backed=False), ChatReply(""), ())

    async def end(self, reader: ReplyReader, reply: ChatReply) -> Answer:
        """The answer to a reply that was read to its end."""
        self._took("generate")
        text, unknown = reader.text, reader.unknown_marks
        evidence, notes = reader.evidence()
        self._notes += notes
        if reply.finish_reason == "length":
            self._notes.append(f"The answer was cut off at max_tokens = {self.request.sampling.max_tokens}.")
        if says_not_found(text):
            return self._answer(CitedText(text, (), is_backed=False), reply, unknown)
        cited = await asyncio.to_thread(cite, text, self._asked.sources, self.store, self.embedder, evidence)
        self._took("cite")
        if cited.note:
            self._notes.append(cited.note)
        if not cited.is_backed:
            self._notes.append(f"No source supports what the engine {self.engine.name} wrote: {text!r}")
            cited = CitedText(NOT_FOUND_TEXT, (), is_backed=False)
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
            found=cited.is_backed,
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
