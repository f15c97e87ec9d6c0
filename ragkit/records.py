"""The nouns that travel through the house; see docs/architecture.md for the way they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragkit.filters import Condition
    from ragkit.protocols import PassageStore

FloatArray = NDArray[np.float32]
KeyArray = NDArray[np.int64]
SpanArray = NDArray[np.int32]
AttributeValue = str | int | float | bool | date
PassageKind = Literal["text", "image"]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a page in shares of the page's width and height (0..1), origin top left."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class WordBoxes:
    """Where the words of a page's text stand on the page.

    spans: int32 (n, 2), start and end character of each word in the page's text, ascending.
    boxes: float32 (n, 4), left, top, right, bottom as in `Box`.
    """

    spans: SpanArray
    boxes: FloatArray

    @classmethod
    def none(cls) -> WordBoxes:
        """No words with known places (Markdown, HTML, plain text)."""
        return cls(np.zeros((0, 2), np.int32), np.zeros((0, 4), np.float32))

    def between(self, start: int, end: int) -> tuple[Box, ...]:
        """Boxes of the words that overlap the characters ``start`` to ``end``."""
        inside = (self.spans[:, 1] > start) & (self.spans[:, 0] < end)
        return tuple(Box(*row) for row in self.boxes[inside].tolist())


@dataclass(frozen=True, slots=True)
class Page:
    """One page as read from a document. Formats without pages have one page, number 1."""

    number: int
    text: str
    words: WordBoxes = field(default_factory=WordBoxes.none)
    width_pt: float = 0.0
    height_pt: float = 0.0
    text_source: Literal["text", "ocr"] = "text"


@dataclass(frozen=True, slots=True)
class PageImage:
    """The picture of a page: read from disk, or drawn, each time that `load` is called.

    width, height: pixels; 0 where they are not known before it is loaded.
    load: gives it in RGB; raises DocumentError where it cannot be had.
    path: the file that the corpus keeps it in, "" where it is drawn anew.
    """

    document: str
    page: int
    width: int
    height: int
    load: Callable[[], Image] = field(compare=False, repr=False)
    path: str = ""


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text that OCR found: its words and the box of each."""

    words: tuple[str, ...]
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class TextRecord:
    """A document given in memory: its text is its only page. attributes: what filters ask for."""

    id: str
    text: str
    title: str = ""
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A document given as a file that lies under a name of its own making.

    name: what the file is called: it gives the title, and among kinds of text the kind. path: absolute.
    """

    id: str
    path: Path
    name: str
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """A document as the catalogue knows it.

    id: unique in the corpus; for files the path below the indexed folder, with forward slashes.
    source: absolute path of the file, or "" for a record given in memory.
    """

    id: str
    title: str
    source: str
    media_type: str
    num_pages: int
    num_passages: int
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passage:
    """What gets embedded: a piece of one page's text, or the picture of one page.

    key: int64 given by the catalogue, never used twice; -1 before it is stored.
    start, end: the characters of the page's text that `text` is.
    image: the page's picture where that is what is embedded; `text` is then "".
    """

    key: int
    document: str
    page: int
    start: int
    end: int
    text: str
    title: str = ""
    image: PageImage | None = None

    @property
    def titled_text(self) -> str:
        """Title and text as one string: what embedders, BM25 and rerankers read."""
        return f"{self.title} {self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Query:
    """A question on its way through retrieval; feedback may replace vector and terms.

    dense: float32 (dim,), in place of the text's own vector. images: what the asker shows with it; searched with
    where page pictures are. terms: in place of the text's own, as the lexical index has them, each with its weight
    above 0. feedback_depth: how many passages, found before, vector or terms were revised by.
    """

    text: str
    dense: FloatArray | None = None
    images: tuple[Image, ...] = field(default=(), compare=False)
    terms: tuple[tuple[str, float], ...] | None = None
    feedback_depth: int = 0


@dataclass(frozen=True, slots=True)
class Filter:
    """Which documents a search may return: those with one of the ids, of whose attributes the condition is true.

    None stands for all of them.
    """

    documents: frozenset[str] | None = None
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found for a query; a higher score is better, ties are ordered by passage key.

    retrieved_rank, retrieval_score: place (from 1) and score before a reranker ordered the hits anew; None
    where none did. feedback_depth: how many passages of a first search the query of this one was revised by.
    """

    score: float
    passage: Passage
    retrieved_rank: int | None = None
    retrieval_score: float | None = None
    feedback_depth: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """A passage as the prompt shows it: ``[marker]`` followed by the text."""

    marker: int
    hit: Hit


@dataclass(frozen=True, slots=True)
class Citation:
    """A place in a document that a sentence of the answer rests on.

    start, end: characters of the answer's text that the citation covers (the sentence, with its mark).
    quote: words of the page, verbatim; boxes: where they stand on it (empty where unknown).
    page_start, page_end: the quote's characters in the page's text.
    """

    marker: int
    document: str
    page: int
    quote: str
    start: int
    end: int
    page_start: int
    page_end: int
    score: float
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written by the engine.

    cached_tokens, reasoning_tokens: those of the prompt that it had read before, and those of the completion that
    it thought; 0 where it does not say.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of one of the asker's tools that a model wants made. arguments: JSON as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of the call number `index`: id and name come with its first piece, the arguments in pieces."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token that was written, and the natural logarithm of its probability; top: the likeliest in its place."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class DroppedHit:
    """A hit that was found and not shown to the engine. rank: its place among the hits, from 1."""

    rank: int
    document: str
    page: int
    reason: str


@dataclass(frozen=True, slots=True)
class Packing:
    """How the hits stood in the prompt.

    order: "rank", "ends", "reverse" or "document"; why: what chose it, in a plain sentence.
    ranks: of the hits (from 1) that the sources are, in the order of the prompt: that of marker m is ranks[m - 1].
    dropped: what was left out, by rank.
    """

    order: str = "rank"
    why: str = ""
    ranks: tuple[int, ...] = ()
    dropped: tuple[DroppedHit, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and what it rests on.

    found: False where the documents hold no answer; `text` then says so. True where there are `tool_calls`, or
    where another form than text was asked for: such replies stand as they were written, without citations. False
    where the engine refused to answer; `refusal` is then what it said, and `text` what it wrote before.
    unknown_marks: numbers in square brackets that no source had; removed from `text`.
    notes: what a reader should know about how the answer came about, in plain sentences.
    timings_ms: milliseconds by stage (condense, retrieve, rerank, generate, cite).
    searched: what was searched for, "" where that is not known.
    packing: which of the hits the engine was shown, and in which order.
    """

    question: str
    text: str
    engine: str
    found: bool
    citations: tuple[Citation, ...]
    hits: tuple[Hit, ...]
    unknown_marks: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    finish_reason: str = "stop"
    usage: Usage = field(default_factory=Usage)
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    logprobs: tuple[TokenLogprob, ...] | None = None
    searched: str = ""
    packing: Packing = field(default_factory=Packing)
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class AnswerEvent:
    """A step of a streamed answer: what was found, pieces of the reply, then one last event with the answer.

    hits, and the text that was searched for where that is known: in the first event alone. reasoning, tool_calls,
    logprobs, refusal: pieces as `ChatDelta` has them.
    """

    delta: str = ""
    answer: Answer | None = None
    hits: tuple[Hit, ...] | None = None
    searched: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation; its images stand before its text, in order.

    tool_calls: what an assistant asked for. tool_call_id: the call whose result a message of role "tool" is.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What an engine accepts: images in a request, and pixels (width times height) of each."""

    max_images: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an engine writes; None leaves the choice to the engine.

    logprobs: whether the asker wants to see them. response_format, tools, tool_choice: in OpenAI's JSON.
    extra: further fields of an engine's own API by name, such as vLLM's top_k.
    """

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: Mapping[str, float] | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    response_format: Mapping[str, Any] | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    extra: Mapping[str, Any] | None = None
    verbosity: str | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What an engine is asked.

    question and sources say again, in parts, what `messages` say as text: engines without a
    language model (extractive) read the parts, engines with one read the messages.
    logprobs: whether the reply should tell the log-probability of each token.
    """

    messages: tuple[ChatMessage, ...]
    question: str
    sources: tuple[Source, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class ChatReply:
    """A whole reply. finish_reason is OpenAI's: "stop", "length", "tool_calls" or "content_filter".

    logprobs: natural logarithm of the probability of each token written, where they were asked for
    and the engine has them; else None. tokens: the same with the tokens' texts, where `Sampling.logprobs`
    asked for them. reasoning: what the model thought before it answered, where a server tells it apart.
    refusal: what it said in place of an answer, where a server tells that apart.
    """

    text: str
    finish_reason: str = "stop"
    usage: Usage = field(default_factory=Usage)
    logprobs: tuple[float, ...] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    tokens: tuple[TokenLogprob, ...] | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class ChatDelta:
    """A piece of a streamed reply; the last piece carries finish_reason and usage.

    tokens: those that were written since the piece before, where `Sampling.logprobs` asked for them.
    """

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()
    reasoning: str = ""
    tokens: tuple[TokenLogprob, ...] = ()
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """Hits that were found before a question is asked, by the text `searched`.

    store: what holds their pages, if not the corpus asked. notes: of the search, as in `Answer`.
    """

    hits: tuple[Hit, ...]
    store: PassageStore | None = None
    searched: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AskRequest:
    """A question to a corpus.

    history: earlier turns and system messages, oldest first. images: what the asker shows with the question.
    after: the tool calls that answered the question so far, and their results.
    num_passages: how many to look for, in place of the settings'. min_score: hits below it are left out.
    found: hits to answer from, in place of a search.
    """

    question: str
    history: tuple[ChatMessage, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    where: Filter | None = None
    images: tuple[Image, ...] = ()
    after: tuple[ChatMessage, ...] = ()
    num_passages: int | None = None
    min_score: float | None = None
    found: Found | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether something that answers depend on can be used now.

    name: what clients may know it by. state: in a few words, without addresses. retry_after_s: when it may be
    again, where that is known.
    """

    name: str
    is_ready: bool
    state: str
    retry_after_s: float | None = None
