"""Answers without a language model: the sentences of the sources that best match the question."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import numpy as np

from ragkit.protocols import Embedder
from ragkit.records import ChatDelta, ChatMessage, ChatReply, ChatRequest, FloatArray, ImageLimits, Source
from ragkit.sentences import Span
from ragkit.serve.grounding.content_words import ContentWords, Weights, Words, numbers_in
from ragkit.serve.grounding.marks import defuse_marks
from ragkit.serve.grounding.similarity import Similarity
from ragkit.serve.grounding.units import Unit, units_of
from ragkit.serve.grounding.word_usage import count_words, word_usage
from ragkit.serve.prompting.image_size import check_images
from ragkit.serve.prompting.prompts import NOT_FOUND_TEXT

# Calibrated on questions with and without their passage; see tests/serve/test_calibration.py.
_ACCEPT_WITH_EMBEDDER = 0.42
_ACCEPT_BY_WORDS = 0.33
_RANK_COST = 0.01
_KIND_BONUS = 0.05
_LABEL_COST = 0.1
_MISSING_COST = 0.1
_MARGIN = 0.06
_MOST_UNITS = 3
_MOST_EMBEDDED = 24
_SAME_WORDS = 0.7

_PAGE_NUMBER = re.compile(r"\d{1,2}$")
_DATE = (
    r"\b1\d{3}\b|\b20\d\d\b|\d:\d\d|\d[年月]|\b(?:January|February|March|April|May|June|July|August|September|October"
    r"|November|December|Januar|Februar|März|Mai|Juni|Juli|Oktober|Dezember)\b"
)
# What a question asks for, and what a sentence that says it contains.
_KINDS = tuple(
    (re.compile(question, re.IGNORECASE), re.compile(answer))
    for question, answer in (
        (
            r"\b(?:when|what year|which year|what date|wann|welche[ms]? jahr)\b|什么时候|何时|哪一?年|いつ",
            _DATE,
        ),
        (r"\b(?:how (?:many|much|old|long|far|tall|big|high|deep|fast|often)|wie ?viele?)\b|多少|几", r"\d"),
        (r"\b(?:who|whose|whom|wer|wem|wessen)\b", r"\w[ ,]\W?[A-ZÄÖÜ]\w+ [A-ZÄÖÜ]"),
    )
)


@dataclass(frozen=True, slots=True)
class _Candidate:
    unit: Unit
    rank: int
    words: Words
    passage_words: Words


class ExtractiveEngine:
    """Quotes up to three sentences, rows or items of the sources; it cannot invent.

    Each stands on a line of its own with its mark, and so do the lines that must be read before it.

    A sentence is scored by the question's content words that it and its title hold and, with an
    embedder, mostly by the cosine of question and sentence. Where nothing reaches the threshold the
    reply is `NOT_FOUND_TEXT`. `Sampling` does not apply; tokens are words.
    """

    name = "extractive"
    context_tokens = 1_000_000
    image_limits: ImageLimits | None = None
    heeds: frozenset[str] = frozenset()

    def __init__(self, embedder: Embedder | None = None) -> None:
        self._similarity = Similarity(embedder) if embedder is not None else None

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return count_words(messages)

    async def chat(self, request: ChatRequest) -> ChatReply:
        return await asyncio.to_thread(self._reply, request)

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        reply = await self.chat(request)
        yield ChatDelta(reply.text)
        yield ChatDelta(finish_reason=reply.finish_reason, usage=reply.usage)

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        return [self._reply(request) for request in requests]

    def _reply(self, request: ChatRequest) -> ChatReply:
        check_images(request.messages, self.image_limits, self.name)
        chosen = self._choose(request.question, request.sources)
        text = "\n".join(_lines(chosen)) or NOT_FOUND_TEXT
        return ChatReply(text, usage=word_usage(request, text))

    def _choose(self, question: str, sources: Sequence[Source]) -> list[Unit]:
        content = ContentWords([question, *(source.hit.passage.text for source in sources)])
        wanted = content.of(question)
        candidates = _candidates(sources, content)
        if not candidates:
            return []
        scores, accepted = self._score(question, wanted, candidates, content.language)
        if not accepted:
            return []
        order = np.argsort(-scores, kind="stable")
        return _best_distinct([(candidates[i], float(scores[i])) for i in order])

    def _score(
        self, question: str, wanted: Words, candidates: list[_Candidate], language: str
    ) -> tuple[FloatArray, bool]:
        """float32 (len(candidates),), and whether any candidate is near enough to be an answer."""
        numbers = numbers_in(wanted)
        plain = np.array([_share(wanted, c.words) for c in candidates], np.float32)
        wide = np.array([_share(wanted, c.passage_words) for c in candidates], np.float32)
        weights = Weights(c.words for c in candidates)
        telling = np.array([weights.coverage(wanted, c.words) for c in candidates], np.float32)
        prior = np.array([_prior(question, c) for c in candidates], np.float32)
        # A year that the passage does not have is asked of another passage, if of any.
        missing = np.array([_MISSING_COST * bool(numbers - c.passage_words) for c in candidates], np.float32)
        by_words = 0.5 * telling + 0.5 * wide + prior - missing
        if self._similarity is None or not self._similarity.is_trusted(language):
            return by_words, bool((0.5 * plain + 0.5 * wide - missing).max() >= _ACCEPT_BY_WORDS)
        embedded = np.argsort(-by_words, kind="stable")[:_MOST_EMBEDDED]
        near = self._similarity.of_question(question, [candidates[i].unit for i in embedded], language)
        scores = np.full(len(candidates), -1.0, np.float32)
        scores[embedded] = 0.2 * telling[embedded] + 0.5 * near + prior[embedded] - missing[embedded]
        return scores, bool(
            (0.2 * plain[embedded] + 0.5 * near - missing[embedded]).max() >= _ACCEPT_WITH_EMBEDDER
        )


def _candidates(sources: Sequence[Source], content: ContentWords) -> list[_Candidate]:
    found = []
    for rank, source in enumerate(sources):
        title = content.of(source.hit.passage.title)
        passage_words = title | content.of(source.hit.passage.text)
        for unit in units_of(source):
            if unit.text.endswith(("?", "？")) or _PAGE_NUMBER.match(unit.text):
                continue
            words = title | content.of(unit.full_text)
            found.append(_Candidate(unit, rank, words, passage_words))
    return found


def _best_distinct(ranked: Sequence[tuple[_Candidate, float]]) -> list[Unit]:
    """The best candidate and those nearly as good that say something else."""
    chosen: list[_Candidate] = []
    for candidate, score in ranked:
        if len(chosen) == _MOST_UNITS or score < ranked[0][1] - _MARGIN:
            break
        if all(_alike(candidate.words, other.words) < _SAME_WORDS for other in chosen):
            chosen.append(candidate)
    return [candidate.unit for candidate in chosen]


def _lines(units: Sequence[Unit]) -> list[str]:
    """Every line is one place of a source as it stands there, so that each can be cited on its own."""
    lines: list[str] = []
    before: tuple[int, tuple[Span, ...]] = (0, ())
    for unit in units:
        marker = unit.source.marker
        told = unit.lines[-1:] if before == (marker, unit.heads) else unit.lines
        marked = [f"{defuse_marks(line)} [{marker}]" for line in told]
        lines += marked[1:] if lines[-1:] == marked[:1] else marked
        before = (marker, unit.heads)
    return lines


def _prior(question: str, candidate: _Candidate) -> float:
    """What speaks for a candidate whatever its words: its rank, the kind of answer, that it is no heading."""
    cost = _RANK_COST * candidate.rank + _LABEL_COST * candidate.unit.is_label
    return _kind_bonus(question, candidate.unit) - cost


def _kind_bonus(question: str, unit: Unit) -> float:
    kinds = [answer for asked, answer in _KINDS if asked.search(question)]
    return _KIND_BONUS if all(answer.search(unit.text) for answer in kinds) else 0.0


def _share(wanted: Words, among: Words) -> float:
    return len(wanted & among) / len(wanted) if wanted else 0.0


def _alike(first: Words, second: Words) -> float:
    """Jaccard similarity."""
    return len(first & second) / len(first | second) if first | second else 1.0
