"""From hits to an answer with citations, whole or as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from ragkit.config import GenerationConfig
from ragkit.protocols import Embedder, Engine, PassageStore
from ragkit.records import (
    Answer,
    AnswerEvent,
    AskRequest,
    Hit,
)
from ragkit.serve.generation import Generation
from ragkit.serve.not_found import says_not_found
from ragkit.serve.prompting.prompts import NOT_FOUND_TEXT
from ragkit.serve.reply_reader import ReplyReader
from ragkit.serve.tally import Tally

UNSUPPORTED_TEXT = "Not found in these documents: no source supports the text above."


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
    engine wrote is then in the notes. Calls of tools, and replies in JSON, stand as they were written, and so does
    an answer to results of tools. Without hits the engine is not asked, but where it may call tools or has their
    results. timings_ms: earlier stages.
    settings: what of the hits is shown (show, num_pages) and in which style the engine answers.

    Raises:
        ContextLengthError: the instructions alone do not fit, or the engine refuses the shortest prompt.
        ImageInputError: the request has images and the engine reads none.
        ConfigError: page pictures are to be shown and the engine reads none.
        UnsupportedRequestError: the engine cannot reply in the form asked for.
        EngineError: the engine failed.
    """
    generation = Generation(request, hits, engine, store, embedder, timings_ms, settings)
    await asyncio.to_thread(generation.plan)
    return await whole_answer(generation)


async def whole_answer(generation: Generation) -> Answer:
    """What is left of `generate_answer` once the prompts are planned."""
    if not generation.requests:
        return generation.without_sources()
    reply = await generation.reply()
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
    """As `generate_answer`, in pieces; the first event holds the hits, the last the answer.

    Where the engine writes marks, the pieces joined are the answer's text. Where it writes none, the
    marks that were found for it are only in the last event's answer; and where no source supports
    the text, a last piece says so, because what was sent cannot be taken back. Of a reply in the
    evidence style the answer alone is streamed; of weighted selection the chosen one, once it is chosen.
    """
    generation = Generation(request, hits, engine, store, embedder, timings_ms, settings)
    await asyncio.to_thread(generation.plan)
    events = streamed_answer(generation)
    try:
        async for event in events:
            yield event
    finally:
        if close := getattr(events, "aclose", None):
            await close()


async def streamed_answer(generation: Generation) -> AsyncIterator[AnswerEvent]:
    """What is left of `stream_answer` once the prompts are planned."""
    yield AnswerEvent(hits=tuple(generation.hits))
    if not generation.requests:
        yield AnswerEvent(NOT_FOUND_TEXT)
        yield AnswerEvent(answer=generation.without_sources())
        return
    tally = Tally()
    deltas = generation.deltas()
    # Weighted selection settles which sources the reply has when its first piece comes.
    reader: ReplyReader | None = None
    try:
        async for delta in deltas:
            reader = reader or generation.reader()
            if event := tally.event(delta, reader.push(delta.text)):
                yield event
    finally:
        # A consumer that stops early must not leave the engine writing on.
        if close := getattr(deltas, "aclose", None):
            await close()
    reader = reader or generation.reader()
    if event := tally.last_event(reader.finish()):
        yield event
    answer = await generation.end(reader, tally.reply(reader.text))
    if not answer.found and not says_not_found(reader.text):
        yield AnswerEvent(f"\n\n{UNSUPPORTED_TEXT}" if reader.text else NOT_FOUND_TEXT)
    yield AnswerEvent(answer=answer)
