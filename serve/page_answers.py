"""Asks an engine about each page alone and keeps the surest answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ragkit.protocols import Engine
from ragkit.records import ChatReply, ChatRequest, Usage
from ragkit.serve.evidence_style import AnswerFilter
from ragkit.serve.not_found import says_insufficient, says_not_found
from ragkit.serve.weighted_selection import mean_logprob, select_answer


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """The reply that was kept, with the usage of all of them, the request it answers, and how it was chosen."""

    request: ChatRequest
    reply: ChatReply
    note: str


async def answer_by_page(engine: Engine, requests: Sequence[ChatRequest]) -> PageAnswer:
    """Ask all requests, each of one source, and choose by `select_answer`.

    Beyond VisRAG, whose prompts always want an answer: a reply that says that its page holds none is kept
    only where all say so. Without log-probabilities the best page's answer is kept.

    Raises:
        EngineError: the engine failed on any of them.
    """
    replies = await _ask_all(engine, requests)
    answering = [i for i, reply in enumerate(replies) if not _holds_none(reply.text)] or list(range(len(replies)))
    logprobs = [replies[i].logprobs for i in answering]
    known = [mean_logprob(values) for values in logprobs if values is not None]
    scores = [requests[i].sources[0].hit.score for i in answering]
    is_known = len(known) == len(answering)
    selection = select_answer(scores, known if is_known else [0.0] * len(answering))
    chosen = answering[selection.index]
    weights = ", ".join(f"{weight:.3g}" for weight in selection.weights)
    why = (
        f"the surest (weights {weights})"
        if is_known
        else "that of the best retrieval score, because the engine gave no log-probabilities"
    )
    passage = requests[chosen].sources[0].hit.passage
    place = f"{passage.document} page {passage.page}"
    note = f"Of {len(replies)} pages asked one by one, the answer from {place} was kept: {why}."
    usages = [reply.usage for reply in replies]
    usage = Usage(sum(u.prompt_tokens for u in usages), sum(u.completion_tokens for u in usages))
    return PageAnswer(requests[chosen], replace(replies[chosen], usage=usage), note)


async def _ask_all(engine: Engine, requests: Sequence[ChatRequest]) -> list[ChatReply]:
    tasks = [asyncio.ensure_future(engine.chat(request)) for request in requests]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        # Where one has failed, or the asker has gone, the others are work for nobody.
        for task in tasks:
            task.cancel()


def _holds_none(text: str) -> bool:
    """In either style; a reply without parts passes the filter as it is."""
    answer = AnswerFilter()
    said = answer.push(text) + answer.finish()
    return not said.strip() or says_not_found(said) or says_insufficient(said)
