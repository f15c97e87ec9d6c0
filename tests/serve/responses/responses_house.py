"""Two small corpora, an engine that says what it is told to, and a library of them, for tests over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ragkit.errors import EngineError, FilterError
from ragkit.protocols import Embedder, Engine, Reranker, ServedCorpus
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
    Hit,
    ImageLimits,
    Passage,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from ragkit.serve.engines.chat_json import joined_calls
from tests.serve.house import BRIDGE, LAKE, FakeStore, generate_answer, make_page, stream_answer

SAID = "It is 41 metres deep. [1]"
RIVER = "The river Ohm is 90 kilometres long. It springs in the hills."


def text_deltas(text: str) -> list[ChatDelta]:
    return [*(ChatDelta(text[i : i + 4]) for i in range(0, len(text), 4)), END]


END = ChatDelta(finish_reason="stop", usage=Usage(5, 6))
CALLS = [
    ChatDelta(tool_calls=(ToolCallDelta(0, "call_a", "weather", ""),)),
    ChatDelta(tool_calls=(ToolCallDelta(0, arguments='{"place":'),)),
    ChatDelta(tool_calls=(ToolCallDelta(1, "call_b", "clock", "{}"),)),
    ChatDelta(tool_calls=(ToolCallDelta(0, arguments=' "Ohm"}'),)),
    ChatDelta(finish_reason="tool_calls", usage=Usage(5, 6)),
]
TOKENS = tuple(TokenLogprob(text, -0.5, None, (TokenLogprob("x", -2.0),)) for text in ("It is 41 ", "deep. [1]"))


@dataclass
class TalkingEngine:
    """Says `deltas`; where `error` is set it fails behind them."""

    deltas: list[ChatDelta] = field(default_factory=lambda: text_deltas(SAID))
    error: Exception | None = None
    name: str = "talking"
    context_tokens: int = 8192
    image_limits: ImageLimits | None = field(default_factory=lambda: ImageLimits(4, 1_000_000))
    asked: list[ChatRequest] = field(default_factory=list)

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return sum(1 + len(message.content) // 4 for message in messages)

    async def chat(self, request: ChatRequest) -> ChatReply:
        deltas = [delta async for delta in self.stream(request)]
        tokens = tuple(token for delta in deltas for token in delta.tokens)
        return ChatReply(
            "".join(delta.text for delta in deltas),
            deltas[-1].finish_reason or "stop",
            deltas[-1].usage or Usage(),
            None,
            joined_calls(call for delta in deltas for call in delta.tool_calls),
            "".join(delta.reasoning for delta in deltas),
            tokens or None,
            "".join(delta.refusal for delta in deltas),
        )

    async def stream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        self.asked.append(request)
        for delta in self.deltas:
            yield delta
        if self.error is not None:
            raise self.error

    def chat_batch(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        raise NotImplementedError


class ListedStore(FakeStore):
    def documents(self) -> list[Document]:
        names = dict.fromkeys(document for document, _ in self.pages)
        made = {"year": 2020, "made": date(2020, 1, 2)}
        return [Document(name, name, "", "text/plain", 1, 1, made) for name in names]


@dataclass
class SmallCorpus:
    """A `ServedCorpus` of texts by document, found in their order with falling scores."""

    name: str
    texts: dict[str, str]
    engine: Engine = field(default_factory=TalkingEngine)
    embedder: Embedder | None = None
    page_embedder: Embedder | None = None
    reranker: Reranker | None = None
    best: float = 0.9
    asked: list[AskRequest] = field(default_factory=list)
    searched: list[tuple[str, int, Filter | None]] = field(default_factory=list)

    @property
    def store(self) -> ListedStore:
        return ListedStore({(name, 1): make_page(text) for name, text in self.texts.items()})

    @property
    def answerer(self) -> SmallCorpus:
        return self

    def search_many(self, queries: Sequence[str], k: int, *, where: Filter | None = None) -> list[list[Hit]]:
        self.searched += [(query, k, where) for query in queries]
        if where is not None and where.condition is not None and "nothing" in repr(where.condition):
            raise FilterError("no document has the attribute 'nothing'")
        found = [
            Hit(self.best - 0.25 * rank, Passage(rank + 1, name, 1, 0, len(text), text))
            for rank, (name, text) in enumerate(self.texts.items())
        ]
        return [found[:k] for _ in queries]

    def _hits(self, request: AskRequest) -> list[Hit]:
        self.asked.append(request)
        if request.found is not None:
            return list(request.found.hits)
        (hits,) = self.search_many([request.question], request.num_passages or 5, where=request.where)
        return [hit for hit in hits if request.min_score is None or hit.score >= request.min_score]

    def _arguments(self, request: AskRequest) -> tuple[Any, ...]:
        store = request.found.store if request.found is not None and request.found.store else self.store
        return request, self._hits(request), self.engine, store, None, {"retrieve": 2.5}

    async def ask(self, request: AskRequest) -> Answer:
        return await generate_answer(*self._arguments(request))

    async def stream(self, request: AskRequest) -> AsyncIterator[AnswerEvent]:
        events = stream_answer(*self._arguments(request))
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()  # type: ignore[attr-defined]


class SmallLibrary:
    """A `CorpusLibrary`."""

    def __init__(self, *corpora: SmallCorpus) -> None:
        self.corpora = {corpus.name: corpus for corpus in corpora}

    def names(self) -> list[str]:
        return list(self.corpora)

    def corpus(self, name: str) -> ServedCorpus:
        return self.corpora[name]

    def at_hand(self, name: str) -> ServedCorpus | None:
        return self.corpora.get(name)


def small_library() -> SmallLibrary:
    """lakes and rivers both have a document notes.txt."""
    broken = TalkingEngine([ChatDelta("It is ")], EngineError("http://10.0.0.1 is away"))
    silent = TalkingEngine([], EngineError("http://10.0.0.1 is away"))
    return SmallLibrary(
        SmallCorpus("lakes", {"lake.txt": LAKE, "notes.txt": BRIDGE}),
        SmallCorpus("rivers", {"notes.txt": RIVER}, best=0.3),
        SmallCorpus("broken", {"lake.txt": LAKE}, broken),
        SmallCorpus("silent", {"lake.txt": LAKE}, silent),
        SmallCorpus("calling", {"lake.txt": LAKE}, TalkingEngine(CALLS)),
        SmallCorpus(
            "thinking",
            {"lake.txt": LAKE},
            TalkingEngine([ChatDelta(reasoning="Let "), ChatDelta(reasoning="me see."), *text_deltas(SAID)]),
        ),
        SmallCorpus(
            "sure",
            {"lake.txt": LAKE},
            TalkingEngine([*(ChatDelta(token.token, tokens=(token,)) for token in TOKENS), END]),
        ),
        SmallCorpus(
            "cut", {"lake.txt": LAKE}, TalkingEngine([ChatDelta("It is 41 [1]"), ChatDelta("", "length")])
        ),
        SmallCorpus("empty", {}, TalkingEngine(CALLS)),
        SmallCorpus(
            "refusing",
            {"lake.txt": LAKE},
            TalkingEngine([ChatDelta(refusal="I "), ChatDelta(refusal="cannot."), END]),
        ),
        SmallCorpus("json", {"lake.txt": LAKE}, TalkingEngine(text_deltas('{"depths": [41], "b": "x [7]"}'))),
    )
