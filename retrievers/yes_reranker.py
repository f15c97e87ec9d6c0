"""Reranking by the probability with which a language model says that a passage helps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ragkit.errors import ConfigError, ContextLengthError, EngineError
from ragkit.pictures import scaled_down
from ragkit.protocols import Engine
from ragkit.records import ChatMessage, ChatReply, ChatRequest, Hit, Passage, Query, Sampling
from ragkit.retrievers.listwise_reranker import check_has_model, first_words

_RULES = "You judge whether a passage helps to answer a question. Reply with one word: yes or no."
_MOST_WORDS = 300
_FEWEST_WORDS = 10
_NUM_LIKELIEST = 10


class YesReranker:
    """A `Reranker` whose scores are probabilities of "yes" from 0 to 1, as monoT5 has them (arXiv 2003.06713).

    A page picture is shown to an engine that reads images.
    """

    def __init__(self, engine: Engine) -> None:
        """Raises ConfigError where the engine has no language model."""
        check_has_model(engine, "llm-yes")
        self._engine = engine

    def rerank(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
        """The same passages by how likely the engine says yes; equal ones are asked for once.

        Raises:
            EngineError: the engine fails, gives no probabilities, or says neither yes nor no.
            ConfigError: a hit is a picture and the engine reads none.
        """
        asked = {self._key(hit.passage): hit.passage for hit in hits}
        requests = [self._request(query.text, passage) for passage in asked.values()]
        replies = self._engine.chat_batch(requests)
        scores = {key: self._score(reply) for key, reply in zip(asked, replies, strict=True)}
        scored = [Hit(scores[self._key(hit.passage)], hit.passage) for hit in hits]
        return sorted(scored, key=lambda hit: (-hit.score, hit.passage.key))

    def _key(self, passage: Passage) -> object:
        return passage.titled_text if passage.image is None else (passage.document, passage.page)

    def _request(self, question: str, passage: Passage) -> ChatRequest:
        sampling = Sampling(max_tokens=1, logprobs=True, top_logprobs=_NUM_LIKELIEST)
        words = _MOST_WORDS
        while words >= _FEWEST_WORDS:
            messages = self._messages(question, passage, words)
            if self._engine.count_tokens(messages) + sampling.max_tokens <= self._engine.context_tokens:
                return ChatRequest(messages, question, sampling=sampling, logprobs=True)
            words //= 2
        raise ContextLengthError(
            f"question and passage do not fit into the {self._engine.context_tokens} tokens of {self._engine.name}"
        )

    def _messages(self, question: str, passage: Passage, words: int) -> tuple[ChatMessage, ...]:
        ask = f"Question: {question}\nDoes the passage help to answer the question?"
        if passage.image is None:
            shown = f"Passage: {first_words(passage, words)}\n\n{ask}"
            return ChatMessage("system", _RULES), ChatMessage("user", shown)
        if self._engine.image_limits is None:
            raise ConfigError(
                f"page {passage.page} of {passage.document} was found by its picture, and the engine "
                f"{self._engine.name} reads text alone; take one that reads images"
            )
        picture = scaled_down(passage.image.load(), self._engine.image_limits.max_pixels)
        return ChatMessage("system", _RULES), ChatMessage("user", f"The page is the passage.\n{ask}", (picture,))

    def _score(self, reply: ChatReply) -> float:
        probability = probability_of_yes(reply)
        if probability is None:
            raise EngineError(
                f"the engine {self._engine.name} gave no probability of yes or no but {reply.text[:60]!r}; "
                "take one that gives log-probabilities (transformers, vllm, openai), or rerank.kind = "
                "'llm-listwise'"
            )
        return probability


def probability_of_yes(reply: ChatReply) -> float | None:
    """Of yes among yes and no in the first token's place; where only the written token is known, by that.

    None where neither is there, or there are no log-probabilities.
    """
    first = reply.tokens[0] if reply.tokens else None
    if first is not None and first.top:
        found = {"yes": 0.0, "no": 0.0}
        for token in first.top:
            if (word := _word(token.token)) in found:
                found[word] += math.exp(token.logprob)
        total = sum(found.values())
        return found["yes"] / total if total else None
    logprob = first.logprob if first is not None else next(iter(reply.logprobs or ()), None)
    if logprob is None or _word(reply.text) not in ("yes", "no"):
        return None
    return math.exp(logprob) if _word(reply.text) == "yes" else 1 - math.exp(logprob)


def _word(text: str) -> str:
    return text.strip(" \n\t▁Ġ.,!*'\"").lower()
