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
    chosen, why = _choose([requests[i] for i in answering], [replies[i] for i in answering])
    request, reply = requests[answering[chosen]], replies[answering[chosen]]
    passage = request.sources[0].hit.passage
    place = f"{passage.document} page {passage.page}"
    usage = Usage(
        sum(reply.usage.prompt_tokens for reply in replies),
        sum(reply.usage.completion_tokens for reply in replies),
    )
    note = f"Of {len(replies)} pages asked one by one, the answer from {place} was kept: {why}."
    return PageAnswer(request, replace(reply, usage=usage), note)


def _choose(requests: Sequence[ChatRequest], replies: Sequence[ChatReply]) -> tuple[int, str]:
    """Which reply to keep, and why."""
    scores = [request.sources[0].hit.score for request in requests]
    means = [mean_logprob(reply.logprobs) for reply in replies if reply.logprobs is not None]
    if len(means) < len(replies):
        best = select_answer(scores, [0.0] * len(scores)).index
        return best, "that of the best retrieval score, because the engine gave no log-probabilities"
    selection = select_answer(scores, means)
    weights = ", ".join(f"{weight:.3g}" for weight in selection.weights)
    return selection.index, f"the surest (weights {weights})"


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
