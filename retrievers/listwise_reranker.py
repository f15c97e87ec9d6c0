"""Reranking by a language model that puts passages in order, some at a time.

Sun et al., "Is ChatGPT Good at Search?", arXiv 2304.09542: windows slide from the end of the list to its
beginning, each overlapping the next by half.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from ragkit.errors import ConfigError, ContextLengthError
from ragkit.protocols import Engine
from ragkit.records import ChatMessage, ChatRequest, Hit, Passage, Query, Sampling
from ragkit.retrievers.permutations import Permutation, parse_permutation

_log = logging.getLogger("ragkit.retrievers")

_RULES = (
    "You judge how well passages answer a question. You are given numbered passages and reply with their numbers "
    "alone, the most helpful first, in the form [2] > [1] > [3]. Name every number once and write nothing else."
)
# A mark, a sign and spaces around it, in any tokenizer.
_TOKENS_A_MARK = 8
_MOST_WORDS = 300
_FEWEST_WORDS = 10


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """Windows asked for, and how many replies were no order, or lacked, repeated or made up marks."""

    windows: int = 0
    unreadable: int = 0
    missing: int = 0
    repeated: int = 0
    unknown: int = 0

    def plus(self, found: Permutation) -> WindowCounts:
        return WindowCounts(
            self.windows + 1,
            self.unreadable + (not found.readable),
            self.missing + (found.readable and found.missing > 0),
            self.repeated + (found.repeated > 0),
            self.unknown + (found.unknown > 0),
        )


class ListwiseReranker:
    """A `Reranker` that asks an engine. Its scores say the order alone: 1 for the last, 2 for the one before it.

    A reply that lacks passages, repeats or makes some up is repaired, one that is no order changes nothing:
    `counts` says how often, and a warning of the log. Passages are cut to 300 words, and further until a window
    fits the engine's context. What comes out depends on the order that comes in.
    """

    def __init__(self, engine: Engine, *, window: int = 20, step: int = 10) -> None:
        """Raises ConfigError where the engine has no language model, or windows would leave passages out."""
        check_has_model(engine, "llm-listwise")
        if not 1 <= step < window:
            raise ConfigError(f"window = {window} and step = {step}; a step is at least 1 and less than a window")
        self._engine = engine
        self._window, self._step = window, step
        self._counts = WindowCounts()
        self._lock = threading.Lock()

    @property
    def counts(self) -> WindowCounts:
        return self._counts

    def rerank(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
        """The same passages in the engine's order.

        Raises:
            EngineError: the engine fails, or not even some words of each passage fit its context.
            ConfigError: a hit is a picture.
        """
        check_texts(hits)
        ordered = list(hits)
        repaired: list[Permutation] = []
        end = len(ordered)
        while end > 1:
            start = max(0, end - self._window)
            found = self._ask(query.text, [hit.passage for hit in ordered[start:end]])
            ordered[start:end] = [ordered[start + place] for place in found.order]
            repaired += [] if found.is_whole else [found]
            end = end - self._step if start else 0
        if repaired:
            _log.warning("%s", _repairs(self._engine.name, repaired))
        return [Hit(float(len(ordered) - i), hit.passage) for i, hit in enumerate(ordered)]

    def _ask(self, question: str, passages: Sequence[Passage]) -> Permutation:
        request = self._request(question, passages)
        [reply] = self._engine.chat_batch([request])
        found = parse_permutation(reply.text, len(passages), is_cut=reply.finish_reason == "length")
        with self._lock:
            self._counts = self._counts.plus(found)
        return found

    def _request(self, question: str, passages: Sequence[Passage]) -> ChatRequest:
        """With as many words of each passage as fit."""
        sampling = Sampling(max_tokens=_TOKENS_A_MARK * len(passages))
        words = _MOST_WORDS
        while words >= _FEWEST_WORDS:
            messages = listwise_messages(question, passages, words)
            if self._engine.count_tokens(messages) + sampling.max_tokens <= self._engine.context_tokens:
                return ChatRequest(messages, question, sampling=sampling)
            words //= 2
        raise ContextLengthError(
            f"{len(passages)} passages of {_FEWEST_WORDS} words do not fit into the {self._engine.context_tokens} "
            f"tokens of {self._engine.name}; take an engine with a longer context, or rerank.kind = 'llm-yes'"
        )


def listwise_messages(question: str, passages: Sequence[Passage], words: int) -> tuple[ChatMessage, ...]:
    """What the engine is shown: numbered passages, each cut to so many words."""
    blocks = [f"[{i}] {first_words(passage, words)}" for i, passage in enumerate(passages, 1)]
    shown = "\n\n".join(blocks)
    ask = f"Question: {question}\n\n{shown}\n\nQuestion: {question}\nOrder of the {len(passages)} passages:"
    return ChatMessage("system", _RULES), ChatMessage("user", ask)


def first_words(passage: Passage, number: int) -> str:
    """The beginning of title and text, without anything that looks like a mark."""
    words = passage.titled_text.split()[:number]
    return " ".join(words).replace("[", "(").replace("]", ")")


def check_texts(hits: Sequence[Hit]) -> None:
    """Raises ConfigError where a hit is a picture, of which there is no text to read."""
    for hit in hits:
        if hit.passage.image is not None:
            raise ConfigError(
                f"page {hit.passage.page} of {hit.passage.document} was found by its picture, and rerank.kind = "
                "'llm-listwise' reads texts alone; take 'llm-yes' with an engine that reads images, or a reranker "
                "of page pictures with 'cross-encoder' or 'remote'"
            )


def check_has_model(engine: Engine, kind: str) -> None:
    """Raises ConfigError where the engine only quotes."""
    if engine.name == "extractive":
        raise ConfigError(
            f"rerank.kind = {kind!r} asks the engine of [generation], and 'extractive' has no language model; "
            "set generation.engine"
        )


def _repairs(name: str, repaired: Sequence[Permutation]) -> str:
    total = WindowCounts()
    for found in repaired:
        total = total.plus(found)
    return (
        f"{name} did not put all passages in order: {total.windows} replies were repaired "
        f"({total.unreadable} no order at all, {total.missing} with missing, {total.repeated} with repeated, "
        f"{total.unknown} with unknown passages)"
    )
