"""From hits to an answer with citations, whole or as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ragkit.records import Answer, AnswerEvent
from ragkit.serve.generation import Generation
from ragkit.serve.not_found import says_not_found
from ragkit.serve.prompting.prompts import NOT_FOUND_TEXT
from ragkit.serve.reply_reader import ReplyReader
from ragkit.serve.tally import Tally

UNSUPPORTED_TEXT = "Not found in these documents: no source supports the text above."


async def whole_answer(generation: Generation) -> Answer:
    """Ask the engine what was planned and turn its marks into citations.

    An answer that has no mark and that no source supports is replaced by `NOT_FOUND_TEXT`; what the
    engine wrote is then in the notes. Calls of tools, replies in JSON and refusals stand as they were
    written, and so does an answer to results of tools. Without hits the engine is not asked, but where it may
    call tools or has their results.

    Raises:
        ContextLengthError: the engine refuses the shortest prompt.
        UnsupportedRequestError: the engine cannot reply in the form asked for.
        EngineError: the engine failed.
    """
    if not generation.requests:
        return generation.without_sources()
    reply = await generation.reply()
    reader = generation.reader()
    reader.push(reply.text)
    reader.finish()
    return await generation.end(reader, reply)


async def streamed_answer(generation: Generation) -> AsyncIterator[AnswerEvent]:
    """As `whole_answer`, in pieces; the first event holds the hits, the last the answer.

    Where the engine writes marks, the pieces joined are the answer's text. Where it writes none, the
    marks that were found for it are only in the last event's answer; and where no source supports
    the text, a last piece says so, because what was sent cannot be taken back. Of a reply in the
    evidence style the answer alone is streamed; of weighted selection the chosen one, once it is chosen.
    """
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
    if not (answer.found or answer.refusal or says_not_found(reader.text)):
        yield AnswerEvent(f"\n\n{UNSUPPORTED_TEXT}" if reader.text else NOT_FOUND_TEXT)
    yield AnswerEvent(answer=answer)
