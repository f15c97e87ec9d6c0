"""The seams of the house. Each has a contract test in tests/contracts that runs over every implementation.

Scores: higher is better. Ties: by key. Arrays: as said in each docstring.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ragkit.records import (
    Answer,
    AnswerEvent,
    AskRequest,
    ChatDelta,
    ChatMessage,
    ChatReply,
    ChatRequest,
    Document,
    Filter,
    FloatArray,
    Hit,
    ImageLimits,
    KeyArray,
    Page,
    PageImage,
    Passage,
    PassageKind,
    Query,
    Readiness,
    SpanArray,
    TextLine,
)

if TYPE_CHECKING:
    from PIL.Image import Image


@runtime_checkable
class Embedder(Protocol):
    """Turns queries and passages into vectors of one space.

    The vector of one input does not depend on what else is in the batch: 1e-5 in float32,
    cosine at least 0.9999 in bfloat16. `metric` "cosine" means rows of unit length; "dot" means
    rows as the model gives them. `fingerprint` names the weights and everything else that changes
    the vectors, but neither device nor dtype, so a corpus moves between machines.
    """

    @property
    def dim(self) -> int: ...

    @property
    def metric(self) -> Literal["cosine", "dot"]: ...

    @property
    def fingerprint(self) -> str: ...

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        """float32 (len(texts), dim)."""
        ...

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        """float32 (len(passages), dim)."""
        ...


@runtime_checkable
class TokenEmbedder(Protocol):
    """Turns queries and passages into one vector a token, for late interaction (ColBERT, SIGIR 2020).

    Rows are of unit length. `fingerprint` as in `Embedder`.
    """

    @property
    def dim(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    def embed_query_tokens(self, texts: Sequence[str]) -> list[FloatArray]:
        """For each text float32 (its number of tokens, dim)."""
        ...

    def embed_passage_tokens(self, passages: Sequence[Passage]) -> list[FloatArray]:
        """For each passage float32 (its number of tokens or image patches, dim)."""
        ...


@runtime_checkable
class Tokenizer(Protocol):
    """Says where a model's tokens stand in a text. Embedders that have one are split by it."""

    @property
    def max_tokens(self) -> int:
        """The most text tokens the model reads at once, its own special tokens and prompt not counted."""
        ...

    def token_spans(self, texts: Sequence[str]) -> list[SpanArray]:
        """For each text int32 (n, 2): start and end character of each of its n tokens."""
        ...


class VectorIndex(Protocol):
    """Nearest neighbours by inner product. Keys are passage keys, each at most once."""

    def __len__(self) -> int: ...

    def search(self, vectors: FloatArray, k: int, among: KeyArray | None = None) -> tuple[FloatArray, KeyArray]:
        """float32 (q, k) scores and int64 (q, k) keys, best first; places without a hit hold -inf and -1.

        `among` restricts the search to these keys.
        """
        ...

    def vectors_of(self, keys: KeyArray) -> FloatArray:
        """float32 (n, dim): the vectors that passages were added with, in the order of the keys.

        Raises:
            CorpusDamagedError: a key has no vector here.
        """
        ...


class LexicalIndex(Protocol):
    """Term matching over passages."""

    @property
    def language(self) -> str:
        """What the texts are taken for: it decides which words are terms."""
        ...

    def __len__(self) -> int: ...

    def search(self, queries: Sequence[str], k: int, among: KeyArray | None = None) -> tuple[FloatArray, KeyArray]:
        """As `VectorIndex.search`; passages that share no term with the query are no hits."""
        ...

    def search_terms(
        self, queries: Sequence[Mapping[str, float]], k: int, among: KeyArray | None = None
    ) -> tuple[FloatArray, KeyArray]:
        """As `search`, for queries of terms with weights above 0: a weight of 2 counts as standing there twice."""
        ...

    def words(self, text: str) -> Sequence[tuple[str, Sequence[str]]]:
        """The words of a text in its order, each with its terms: mostly one, none of a stop word."""
        ...

    def term_counts(self, text: str) -> Mapping[str, int]:
        """The terms of a text, and how often it has each: by these weights it is searched for."""
        ...


class PassageStore(Protocol):
    """Reads what the catalogue holds, as of one committed state."""

    def passages(self, keys: Sequence[int]) -> list[Passage]:
        """In the order of the keys. Raises CorpusDamagedError where a key is unknown."""
        ...

    def keys(self, where: Filter | None = None, kind: PassageKind | None = None) -> KeyArray:
        """Ascending keys of all passages, or of those the filter admits, or of one kind."""
        ...

    def documents(self) -> list[Document]:
        """Ordered by id."""
        ...

    def page(self, document: str, number: int) -> Page: ...

    def page_image(self, document: str, number: int) -> PageImage | None:
        """None where the page has no picture, as in a document of plain text."""
        ...


class Retriever(Protocol):
    """Finds passages. The way to add one: docs/architecture.md."""

    def retrieve(self, queries: Sequence[Query], k: int, where: Filter | None = None) -> list[list[Hit]]:
        """For each query at most k hits, best first."""
        ...


class Ranker(Protocol):
    """A retriever's ranking before any passage is read: what hybrid retrieval merges."""

    def rank(
        self, queries: Sequence[Query], k: int, where: Filter | None = None
    ) -> list[tuple[KeyArray, NDArray[np.float32] | NDArray[np.float64]]]:
        """For each query keys int64 (n,) and scores (n,), n at most k, best first."""
        ...


class Feedback(Protocol):
    """Revises queries by the passages that they found first (pseudo-relevance feedback)."""

    @property
    def num_hits(self) -> int:
        """How many first hits of a query it wants; it may be given fewer, or more."""
        ...

    def revise(self, queries: Sequence[Query], found: Sequence[Sequence[Hit]]) -> list[Query]:
        """Each query with the vector or the terms to search with again, and how many hits these come from.

        A query without hits stays as it is. No query depends on the others.

        Args:
            queries: vectors are revised of queries that have one.
            found: the hits of each query, best first.
        """
        ...


class Reranker(Protocol):
    """Orders hits anew by reading query and passage together."""

    def rerank(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
        """The same passages, best first, with the reranker's own scores."""
        ...


class Engine(Protocol):
    """Writes answers. A coroutine or stream that is cancelled or closed stops the work behind it."""

    @property
    def name(self) -> str: ...

    @property
    def context_tokens(self) -> int:
        """The most tokens prompt and answer may have together."""
        ...

    @property
    def image_limits(self) -> ImageLimits | None:
        """What images a request may hold; None for an engine that reads text alone."""
        ...

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Tokens of the prompt that these messages make; an upper estimate where the model is remote."""
        ...

    async def chat(self, request: ChatRequest) -> ChatReply: ...

    def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """The deltas' texts joined are the reply that `chat` gives for the same request and seed."""
        ...

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """For offline work; in the order of the requests."""
        ...


@runtime_checkable
class Upstream(Protocol):
    """Something outside of this process that answers depend on, such as the server of a model."""

    async def readiness(self) -> Readiness:
        """Within seconds, and without raising."""
        ...


class Answerer(Protocol):
    """Answers questions over one corpus."""

    @property
    def name(self) -> str: ...

    @property
    def engine(self) -> Engine:
        """The one that writes the answers. It may be loaded for that: not on an event loop."""
        ...

    async def ask(self, request: AskRequest) -> Answer: ...

    def stream(self, request: AskRequest) -> AsyncIterator[AnswerEvent]: ...


class ServedCorpus(Protocol):
    """What a server asks of one corpus. Models are loaded when they are first asked for: not on an event loop."""

    @property
    def name(self) -> str: ...

    @property
    def answerer(self) -> Answerer: ...

    @property
    def store(self) -> PassageStore: ...

    @property
    def embedder(self) -> Embedder | None:
        """Of texts; None for a corpus without vectors of texts."""
        ...

    @property
    def page_embedder(self) -> Embedder | None:
        """Of page pictures; None for a corpus without them."""
        ...

    @property
    def reranker(self) -> Reranker | None: ...

    def search_many(self, queries: Sequence[str], k: int, *, where: Filter | None = None) -> list[list[Hit]]:
        """For each query at most k hits, reranked, best first.

        Raises FilterError where the filter names an attribute that no document has.
        """
        ...


class CorpusLibrary(Protocol):
    """The corpora that a server answers from, by name. They may come and go while it runs."""

    def names(self) -> list[str]: ...

    def corpus(self, name: str) -> ServedCorpus:
        """Raises KeyError where there is no corpus of that name."""
        ...

    def at_hand(self, name: str) -> ServedCorpus | None:
        """As `corpus`, at once; None where there is none, or where to look for it or to open it takes time."""
        ...


class StoreCorpora(Protocol):
    """The corpora of a server's vector stores, by the stores' ids."""

    def drop(self, store: str) -> None:
        """Hand it out no more."""
        ...

    def sweep(self, busy: str | None) -> None:
        """Delete from the disk what was dropped and is not used any more. busy: the store that is written to."""
        ...


class Renderer(Protocol):
    """Draws pages of a PDF."""

    def render(
        self, path: Path, page: int, dpi: float, password: str | None = None, max_pixels: int | None = None
    ) -> Image:
        """Page `page` (from 1) as an RGB image of round(points * dpi / 72) pixels.

        max_pixels: draw at as much less than `dpi` as keeps the image within so many.

        Raises DocumentError where the page cannot be drawn.
        """
        ...


class OcrEngine(Protocol):
    """Reads the text of an image."""

    def read(self, image: Image) -> list[TextLine]:
        """Lines in reading order."""
        ...
