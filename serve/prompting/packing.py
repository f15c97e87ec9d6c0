"""A prompt packed to fit an engine's context, measured by the engine's own count of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ragkit.errors import ContextLengthError
from ragkit.protocols import Engine, Upstream
from ragkit.records import ChatMessage, ChatRequest, Hit, Sampling, Source
from ragkit.serve.engines.token_estimate import estimate_tokens
from ragkit.serve.prompting.prompts import Layout, SourceText, prompt_messages
from ragkit.serve.prompting.reorder import Order, in_order
from ragkit.serve.prompting.text_cuts import longest, sentence_cuts, word_cuts

MOST_SOURCES = 999
"""Marks of sources have three digits, so that a year in brackets is none."""
_MOST_NAMES = 10
# What an estimate may be wrong by where it decides what is tried.
_MARGIN = 1.1
# What an estimate is taken times where nothing is counted, and what a template may put around each message.
_SURELY = 1.25
_TEMPLATE_TOKENS = 32
# Fewer characters of a source beside others tell nothing, and take the place of a source that is whole.
_LEAST_CUT = 80


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request that fits the engine's context. notes: what was cut or left out; dropped: hits left out."""

    request: ChatRequest
    notes: tuple[str, ...]
    dropped: tuple[Hit, ...] = ()


def build_request(
    question: str,
    hits: Sequence[Hit],
    engine: Engine,
    history: Sequence[ChatMessage] = (),
    sampling: Sampling | None = None,
    layout: Layout | None = None,
    order: Order = "rank",
) -> Prompt:
    """Fit the hits, best first, into the context, and number them from 1 as they stand in the prompt.

    Where all of it is too long, turns of the history that take more than half of what question, images and
    instructions leave go first, oldest first. A text that would not fit alone is cut to half of what is left, or
    to what the others leave, unless that is next to nothing. Then the last
    sources of text go, and shorter ones behind the first that does not fit take its place. Texts are cut at a
    sentence, or at a word where not even a sentence fits. Each is noted. The layout's pages stay, in the order
    they are given in; order: of the texts behind them. Tokens are counted once where all fits, else some
    log2(turns) + log2(sources) times; not at all by a server where an estimate leaves ample room.

    Raises:
        ContextLengthError: question, instructions and the layout's images do not fit beside `sampling.max_tokens`.
    """
    return _Packer(question, hits, engine, history, sampling or Sampling(), layout or Layout(), order).pack()


def with_room_used(request: ChatRequest, engine: Engine, max_tokens: int, reserved: int) -> ChatRequest:
    """The request with an answer of up to `max_tokens`, as far as prompt and reserved tokens leave room."""
    planned = request.sampling.max_tokens - reserved
    if planned < max_tokens:
        left = engine.context_tokens - reserved - engine.count_tokens(request.messages)
        planned = min(max_tokens, max(planned, left))
    return replace(request, sampling=replace(request.sampling, max_tokens=planned))


class _Packer:
    def __init__(
        self,
        question: str,
        hits: Sequence[Hit],
        engine: Engine,
        history: Sequence[ChatMessage],
        sampling: Sampling,
        layout: Layout,
        order: Order,
    ) -> None:
        self._question, self._engine, self._sampling, self._layout = question, engine, sampling, layout
        self._order = order
        self._given = list(hits)
        self._hits = list(hits)
        self._texts = [SourceText.of(hit.passage) for hit in hits]
        self._system = [message for message in history if message.role == "system"]
        self._turns = [message for message in history if message.role != "system"]
        self._room = engine.context_tokens - sampling.max_tokens
        self._pages = list(range(layout.num_pages))
        self._estimates: dict[int, int] = {}
        # Tokens for each that is estimated.
        self._scale = 1.0

    def pack(self) -> Prompt:
        chosen = list(range(min(len(self._hits), MOST_SOURCES)))
        if self._surely_fits(chosen):
            return self._prompt(chosen, 0)
        num_turns, size = len(self._turns), self._size(chosen)
        if size > self._room:
            bare = self._fit_turns(len(chosen) > len(self._pages))
            size = self._size(chosen) if len(self._turns) < num_turns else size
            chosen = chosen if size <= self._room else self._fit_sources(chosen, size, bare)
        return self._prompt(chosen, num_turns - len(self._turns))

    def _surely_fits(self, chosen: Sequence[int]) -> bool:
        """By a generous estimate of text, where counting would be a request to a server that may be busy."""
        messages = self._messages(self._arranged(chosen)) if isinstance(self._engine, Upstream) else []
        if not messages or any(message.images or message.tool_calls for message in messages):
            return False
        estimated = sum(estimate_tokens(message.content) for message in messages)
        return estimated * _SURELY + _TEMPLATE_TOKENS * (len(messages) + 1) <= self._room

    def _fit_turns(self, has_texts: bool) -> int:
        """Leave out old turns; gives the tokens without sources of text, which keep half of what is left.

        A question goes with its answer, which many templates want.
        """
        turns, self._turns = self._turns, []
        bare = self._size(self._pages)
        if bare > self._room:
            raise self._too_long(bare)
        if not turns:
            return bare
        most = bare + (self._room - bare) // 2 if has_texts else min(self._room, bare + self._room // 2)
        # Counted from the end: how many of the last turns are kept.
        kept = [len(turns) - i for i, turn in enumerate(turns) if i and turn.role == "user"]

        def fits(number: int) -> bool:
            self._turns = turns[len(turns) - number :]
            return self._size(self._pages) <= most

        number = longest([*reversed(kept), len(turns)], fits)
        self._turns = turns[len(turns) - number :]
        return self._size(self._pages) if number else bare

    def _fit_sources(self, everything: list[int], size: int, bare: int) -> list[int]:
        """Those that fit; size: tokens with everything, bare: without sources of text."""
        texts = everything[len(self._pages) :]
        if len(texts) > 1 or (texts and self._pages):
            estimated = sum(map(self._estimate, texts))
            self._scale = max(0, size - bare) / max(1, estimated)
            self._trim(texts, self._room - bare)
        # Where even the first is too long, from the first of those that are likely to fit.
        likely = (i for i in range(1, len(texts)) if self._estimate(texts[i]) * self._scale <= self._room - bare)
        for left in (texts, texts[next(likely, len(texts)) :]):
            if fitting := self._fitting(left):
                return fitting
        if texts and not self._pages:
            return texts[:1] if self._cut(texts[0], lambda: self._fits(texts[:1])) else []
        return list(self._pages)

    def _fitting(self, texts: list[int]) -> list[int]:
        """The pages, and the most of the texts that fit from the first one on; [] where not even that one does."""
        number = longest(range(1, len(texts) + 1), lambda n: self._fits(self._pages + texts[:n]))
        return self._filled(self._pages + texts[:number], texts[number + 1 :]) if number else []

    def _filled(self, chosen: list[int], rest: list[int]) -> list[int]:
        """With sources behind the first that is too long that are likely to fit, where they do."""
        left = float(self._room - self._size(chosen)) if rest else 0.0
        more = []
        for i in rest:
            size = self._estimate(i) * self._scale * _MARGIN
            if size <= left:
                left -= size
                more.append(i)
        return [*chosen, *more] if more and self._fits([*chosen, *more]) else chosen

    def _trim(self, texts: list[int], room: int) -> None:
        """Cut each text that is longer than the room to half of it, or to what the others leave, by estimate."""
        sizes = {i: self._estimate(i) * self._scale for i in texts}
        for i in [i for i in texts if sizes[i] > room]:
            most = max(room / 2, room - (sum(sizes.values()) - sizes[i]))
            self._cut(i, partial(self._is_within, i, most / _MARGIN / self._scale), _LEAST_CUT)
            sizes[i] = self._estimate(i) * self._scale

    def _estimate(self, index: int) -> int:
        if index not in self._estimates:
            self._estimates[index] = estimate_tokens(self._block(index, index + 1))
        return self._estimates[index]

    def _is_within(self, index: int, allowed: float) -> bool:
        return self._estimate(index) <= allowed

    def _fits(self, chosen: Sequence[int]) -> bool:
        return self._size(chosen) <= self._room

    def _cut(self, index: int, fits: Callable[[], bool], least: int = 1) -> bool:
        """Shorten a source to its longest beginning that fits; False where none of so many characters does."""
        hit, text = self._hits[index], self._hits[index].passage.text

        def shorten(length: int) -> bool:
            passage = hit.passage
            cut = replace(passage, text=text[:length], end=passage.start + length)
            self._hits[index], self._texts[index] = replace(hit, passage=cut), SourceText.of(cut)
            self._estimates.pop(index, None)
            return fits()

        before = hit, self._texts[index]
        length = longest(sentence_cuts(text), shorten)
        if length < _LEAST_CUT:
            # A heading alone, or nothing.
            at_word = longest(word_cuts(text), shorten)
            length = at_word if at_word > 2 * length else length
        if length >= least:
            shorten(length)
        else:
            self._hits[index], self._texts[index] = before
            self._estimates.pop(index, None)
        return length >= least

    def _size(self, chosen: Sequence[int]) -> int:
        return self._engine.count_tokens(self._messages(self._arranged(chosen)))

    def _arranged(self, chosen: Sequence[int]) -> list[int]:
        """Pages as they are given, then texts in the order that is wanted."""
        pages, texts = list(chosen[: len(self._pages)]), chosen[len(self._pages) :]
        ranks = in_order(self._order, [self._hits[i] for i in texts])
        return [*pages, *(texts[rank - 1] for rank in ranks)]

    def _messages(self, arranged: Sequence[int]) -> list[ChatMessage]:
        blocks = [self._block(i, marker) for marker, i in enumerate(arranged, 1)]
        return prompt_messages(self._question, blocks, [*self._system, *self._turns], self._layout)

    def _block(self, index: int, marker: int) -> str:
        return self._texts[index].block(marker, self._layout)

    def _prompt(self, chosen: list[int], num_dropped_turns: int) -> Prompt:
        arranged = self._arranged(chosen)
        sources = tuple(Source(marker, self._hits[i]) for marker, i in enumerate(arranged, 1))
        request = ChatRequest(tuple(self._messages(arranged)), self._question, sources, self._sampling)
        notes = [_note_turns(num_dropped_turns)] if num_dropped_turns else []
        for source, i in zip(sources, arranged, strict=True):
            if self._hits[i] is not self._given[i]:
                notes.append(_note_cut(source, self._given[i]))
        beyond = self._given[MOST_SOURCES:]
        shown = set(chosen)
        left_out = [hit for i, hit in enumerate(self._given[:MOST_SOURCES]) if i not in shown]
        if left_out:
            notes.append(_note_dropped(left_out, self._room))
        if beyond:
            notes.append(f"A prompt holds at most {MOST_SOURCES} sources; left out: {len(beyond)}.")
        return Prompt(request, tuple(notes), (*left_out, *beyond))

    def _too_long(self, size: int) -> ContextLengthError:
        what = "question, instructions and images" if self._layout.images else "question and instructions"
        context = self._engine.context_tokens
        return ContextLengthError(
            f"{what} have {size} tokens; the context of {self._engine.name} holds {context} and the answer may "
            f"take {self._sampling.max_tokens}: ask a shorter question or set a smaller max_tokens"
        )


def _note_turns(number: int) -> str:
    turns_were = "turn was" if number == 1 else "turns were"
    return f"The {number} oldest {turns_were} left out of the prompt to make room."


def _note_cut(source: Source, given: Hit) -> str:
    passage = given.passage
    return (
        f"Source {source.marker} ({passage.document}, page {passage.page}) was cut to its first "
        f"{len(source.hit.passage.text)} of {len(passage.text)} characters to fit the engine's context."
    )


def _note_dropped(dropped: Sequence[Hit], room: int) -> str:
    names = named(dropped)
    sources = "source" if len(dropped) == 1 else "sources"
    return f"{len(dropped)} {sources} did not fit into {room} prompt tokens and were left out: {names}."


def named(hits: Sequence[Hit]) -> str:
    """The pages of the first hits, and how many there are beside them."""
    names = ", ".join(f"{hit.passage.document} page {hit.passage.page}" for hit in hits[:_MOST_NAMES])
    return names if len(hits) <= _MOST_NAMES else f"{names} and {len(hits) - _MOST_NAMES} more"
