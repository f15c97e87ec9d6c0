"""Asks an engine about each page alone and keeps the surest answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ragkit.protocols import Engine
from ragkit.records import ChatReply, ChatRequest, Usage
from ragkit.serve.not_found import says_not_found
from ragkit.serve.prompting.weighted_selection import mean_logprob, select_answer
from ragkit.serve.reply_reader import ReplyReader


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """The reply that was kept, with the usage of all of them, the request it answers, and how it was chosen."""

    request: ChatRequest
    reply: ChatReply
    note: str


async def answer_by_page(engine: Engine, requests: Sequence[ChatRequest], style: str) -> PageAnswer:
    """Ask all requests, each of one source, and choose by `select_answer`.

    Beyond VisRAG, whose prompts always want an answer: a reply that says in the words of its prompt that its
    page holds none is kept only where all say so. Replies without log-probabilities are passed over where others
    have them; without any, the best page's answer is kept. In the evidence style the mean log-probability is
    that of all four parts. VisRAG's softmax is made for cosines: scores of more than 1, as BM25's, are divided
    by the largest; one that is no finite number counts as the lowest.

    Raises:
        EngineError: the engine failed on any of them.
    """
    replies = await _ask_all(engine, requests)
    everyone = range(len(replies))
    said = [_answer_in(request, reply, style) for request, reply in zip(requests, replies, strict=True)]
    answering = [i for i in everyone if said[i].strip() and not says_not_found(said[i])] or list(everyone)
    chosen, why = _choose([_score(requests[i]) for i in answering], [replies[i].logprobs for i in answering])
    request, reply = requests[answering[chosen]], replies[answering[chosen]]
    passage = request.sources[0].hit.passage
    place = f"{passage.document} page {passage.page}"
    usage = sum((reply.usage for reply in replies), Usage())
    note = f"Of {len(replies)} pages asked one by one, the answer from {place} was kept: {why}."
    return PageAnswer(request, replace(reply, usage=usage), note)


def _score(request: ChatRequest) -> float:
    return request.sources[0].hit.score


def _answer_in(request: ChatRequest, reply: ChatReply, style: str) -> str:
    reader = ReplyReader(request.sources, style)
    return reader.push(reply.text) + reader.finish()


def _choose(scores: Sequence[float], logprobs: Sequence[Sequence[float] | None]) -> tuple[int, str]:
    """Which answer to keep, and why."""
    known = [(i, mean_logprob(values)) for i, values in enumerate(logprobs) if values is not None]
    if not known:
        best = select_answer(_like_cosines(scores), [0.0] * len(scores)).index
        return best, "that of the best retrieval score, because the engine gave no log-probabilities"
    selection = select_answer(_like_cosines([scores[i] for i, _ in known]), [mean for _, mean in known])
    weights = ", ".join(f"{weight:.3g}" for weight in selection.weights)
    without = len(scores) - len(known)
    passed = f"; {without} without log-probabilities passed over" if without else ""
    return known[selection.index][0], f"the surest (weights {weights}{passed})"


def _like_cosines(scores: Sequence[float]) -> list[float]:
    finite = [score for score in scores if math.isfinite(score)] or [0.0]
    largest = max(1.0, *map(abs, finite))
    return [(score if math.isfinite(score) else min(finite)) / largest for score in scores]


async def _ask_all(engine: Engine, requests: Sequence[ChatRequest]) -> list[ChatReply]:
    tasks = [asyncio.ensure_future(engine.chat(request)) for request in requests]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        # Where one has failed, or the asker has gone, the others are work for nobody.
        for task in tasks:
            task.cancel()
