"""Answers in the shapes of OpenAI's HTTP API, by the `openai` package's own types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ragkit.extras import require
from ragkit.records import Answer, Citation, Hit, Usage
from ragkit.serve.api.page_links import PageLinks

if TYPE_CHECKING:
    from openai.types import CompletionUsage, Model
    from openai.types.chat import ChatCompletion, ChatCompletionChunk
    from openai.types.chat.chat_completion_message import Annotation


def answer_json(answer: Answer, corpus: str = "", links: PageLinks | None = None) -> dict[str, Any]:
    """An answer's record: what `ragkit ask --json` prints and HTTP replies carry as `ragkit`.

    links: over HTTP, where pictures of pages are told by their links; else by their files.
    """
    return {
        "question": answer.question,
        "answer": answer.text,
        "engine": answer.engine,
        "found": answer.found,
        "citations": [asdict(citation) for citation in answer.citations],
        "hits": [hit_json(rank, hit, corpus, links) for rank, hit in enumerate(answer.hits, 1)],
        "unknown_marks": list(answer.unknown_marks),
        "notes": list(answer.notes),
        "finish_reason": answer.finish_reason,
        "usage": asdict(answer.usage),
        "timings_ms": dict(answer.timings_ms),
    }


def completion(answer: Answer, reply_id: str, created: int, corpus: str, links: PageLinks) -> ChatCompletion:
    """The reply to a chat request that is not streamed."""
    chat = require("openai.types.chat")
    message = {
        "role": "assistant",
        "content": answer.text,
        "refusal": None,
        "annotations": url_citations(answer, corpus, links),
    }
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}
    whole: ChatCompletion = chat.ChatCompletion(
        id=reply_id,
        object="chat.completion",
        created=created,
        model=corpus,
        choices=[choice],
        usage=usage(answer.usage),
        ragkit=answer_json(answer, corpus, links),
    )
    return whole


@dataclass(frozen=True, slots=True)
class ChunkMaker:
    """Makes the chunks of one streamed reply. with_usage: the client asked for a last chunk with usage."""

    reply_id: str
    created: int
    corpus: str
    with_usage: bool
    links: PageLinks

    def first(self) -> ChatCompletionChunk:
        """Says that the assistant speaks."""
        return self._chunk({"role": "assistant", "content": ""})

    def text(self, piece: str) -> ChatCompletionChunk:
        """A piece of the answer."""
        return self._chunk({"content": piece})

    def last(self, answer: Answer, sent: str) -> ChatCompletionChunk:
        """Annotations, whose places are those in the text that was `sent`, and the answer's record."""
        delta = {
            "annotations": [item.model_dump() for item in url_citations(answer, self.corpus, self.links, sent)]
        }
        return self._chunk(delta, answer.finish_reason, ragkit=answer_json(answer, self.corpus, self.links))

    def usage(self, answer: Answer) -> ChatCompletionChunk:
        """The chunk after the last one, without choices."""
        return self._make([], usage=usage(answer.usage))

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None, **extra: Any) -> ChatCompletionChunk:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return self._make([choice], **({"usage": None} if self.with_usage else {}), **extra)

    def _make(self, choices: list[dict[str, Any]], **extra: Any) -> ChatCompletionChunk:
        chunk: ChatCompletionChunk = require("openai.types.chat").ChatCompletionChunk(
            id=self.reply_id,
            object="chat.completion.chunk",
            created=self.created,
            model=self.corpus,
            choices=choices,
            **extra,
        )
        return chunk


def usage(used: Usage) -> CompletionUsage:
    """Tokens of prompt and answer; all of them text, none of them cached."""
    whole: CompletionUsage = require("openai.types").CompletionUsage(
        prompt_tokens=used.prompt_tokens,
        completion_tokens=used.completion_tokens,
        total_tokens=used.prompt_tokens + used.completion_tokens,
        prompt_tokens_details={"cached_tokens": 0, "image_tokens": 0, "text_tokens": used.prompt_tokens},
        completion_tokens_details={"reasoning_tokens": 0, "text_tokens": used.completion_tokens},
    )
    return whole


def model(name: str, created: int) -> Model:
    """A corpus as a model of the API."""
    whole: Model = require("openai.types").Model(id=name, object="model", created=created, owned_by="ragkit")
    return whole


def url_citations(answer: Answer, corpus: str, links: PageLinks, sent: str | None = None) -> list[Annotation]:
    """A url_citation for each citation; places are characters of the text the client has got."""
    kind = require("openai.types.chat.chat_completion_message").Annotation
    places = _places(answer, answer.text if sent is None else sent)
    return [
        kind(
            type="url_citation",
            url_citation={
                "start_index": places[citation.start],
                "end_index": places[citation.end],
                "title": f"{citation.document}, page {citation.page}",
                "url": citation_url(citation, corpus, links),
            },
        )
        for citation in answer.citations
    ]


def citation_url(citation: Citation, corpus: str, links: PageLinks) -> str:
    """Opens the page with the cited words marked."""
    return links.citation(corpus, citation)


def hit_json(rank: int, hit: Hit, corpus: str = "", links: PageLinks | None = None) -> dict[str, Any]:
    """A hit as searches and answers print it.

    image: the file of a page picture, where it is kept; with `links` the link to it: clients have no files here.
    """
    passage = hit.passage
    image = passage.image.path or None if passage.image is not None else None
    if passage.image is not None and links is not None:
        image = links.page(corpus, passage.document, passage.page)
    return {
        "rank": rank,
        "score": hit.score,
        "document": passage.document,
        "page": passage.page,
        "text": passage.text,
        "title": passage.title,
        "passage": passage.key,
        "start": passage.start,
        "end": passage.end,
        "kind": "text" if passage.image is None else "image",
        "image": image,
    }


def _places(answer: Answer, sent: str) -> Sequence[int]:
    """For each place in the answer's text the same place in `sent`, which lacks the marks that were put in."""
    if answer.text == sent:
        return range(len(answer.text) + 1)
    inserted = {place for citation in answer.citations for place in _mark_behind(answer.text, citation)}
    return list(accumulate((place not in inserted for place in range(len(answer.text))), initial=0))


def _mark_behind(text: str, citation: Citation) -> range:
    """Where `cite` put in the mark of a citation: at the end of its sentence, behind a space."""
    mark = f" [{citation.marker}]"
    return range(citation.end - len(mark), citation.end) if text.endswith(mark, 0, citation.end) else range(0)
