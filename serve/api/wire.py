"""What the replies of the HTTP API have in common."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ragkit.extras import require
from ragkit.records import Answer, Citation, Hit, Usage
from ragkit.serve.pages.page_links import PageLinks
from ragkit.serve.prompting.choice import disagreed_on

if TYPE_CHECKING:
    from openai.types import Model


# Of other tokens 0 may mean that nobody counts them.
_COUNTED = ("prompt_tokens", "completion_tokens")
_CITATION_FIELDS = tuple(field.name for field in fields(Citation))


def answer_json(answer: Answer, corpus: str = "", links: PageLinks | None = None) -> dict[str, Any]:
    """An answer's record: what `ragkit ask --json` prints and HTTP replies carry as `ragkit`.

    links: over HTTP, where pictures of pages are told by their links; else by their files.
    """
    return {
        "question": answer.question,
        "searched": answer.searched,
        "answer": answer.text,
        **({"refusal": answer.refusal} if answer.refusal else {}),
        "engine": answer.engine,
        "found": answer.found,
        "citations": [_citation_json(citation) for citation in answer.citations],
        "hits": hits_json(answer.hits, corpus, links),
        "unknown_marks": list(answer.unknown_marks),
        "notes": list(answer.notes),
        "finish_reason": answer.finish_reason,
        "usage": {name: count for name, count in asdict(answer.usage).items() if count or name in _COUNTED},
        "timings_ms": dict(answer.timings_ms),
        "packing": asdict(answer.packing),
    }


def _citation_json(citation: Citation) -> dict[str, Any]:
    """Every field of it. `asdict` would copy each of them, which takes longer than the rest of the record."""
    record = {name: getattr(citation, name) for name in _CITATION_FIELDS}
    return record | {"boxes": tuple(asdict(box) for box in citation.boxes)}


def usage_json(used: Sequence[Usage]) -> dict[str, Any]:
    """Tokens of prompts and answers, summed, with those details that the engine told."""
    whole = sum(used, Usage())
    body: dict[str, Any] = {
        "prompt_tokens": whole.prompt_tokens,
        "completion_tokens": whole.completion_tokens,
        "total_tokens": whole.prompt_tokens + whole.completion_tokens,
    }
    if whole.cached_tokens:
        body["prompt_tokens_details"] = {"cached_tokens": whole.cached_tokens}
    if whole.reasoning_tokens:
        body["completion_tokens_details"] = {"reasoning_tokens": whole.reasoning_tokens}
    return body


# json.dumps makes a new one for each piece of a stream.
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
# Many clients cut streams into lines by Unicode's line ends, at which texts of PDFs break their JSON.
_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def json_bytes(value: Any) -> bytes:
    """As JSON in UTF-8 on one line, whatever one takes for the end of a line.

    It has no infinity, which becomes null, and no halves of characters, which become "?".
    """
    try:
        text = _JSON.encode(value)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
    for end, escape in _LINE_ENDS.items():
        text = text.replace(end, escape)
    return text.encode("utf-8", "replace")


def model(name: str, created: int, title: str, kind: str) -> Model:
    """A corpus as a model of the API. title: what people call it. kind: "corpus" or "vector_store"."""
    whole: Model = require("openai.types").Model(
        id=name, object="model", created=created, owned_by="ragkit", ragkit={"name": title, "kind": kind}
    )
    return whole


def url_citations(answer: Answer, corpus: str, links: PageLinks, sent: str | None = None) -> list[dict[str, Any]]:
    """A url_citation for each citation; places are characters of the text the client has got."""
    places = places_in(answer, answer.text if sent is None else sent)
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": places[citation.start],
                "end_index": places[citation.end],
                "title": f"{citation.document}, page {citation.page}",
                "url": citation_url(citation, corpus, links),
            },
        }
        for citation in answer.citations
    ]


def citation_url(citation: Citation, corpus: str, links: PageLinks) -> str:
    """Opens the page with the cited words marked."""
    return links.citation(corpus, citation)


def hits_json(hits: Sequence[Hit], corpus: str = "", links: PageLinks | None = None) -> list[dict[str, Any]]:
    """Hits as searches and answers print them, best first.

    retriever_disagrees: true for one that the reranker put at least half of their number below the retriever.
    """
    fallen = set(disagreed_on(hits, 0))
    marks = [{"retriever_disagrees": True} if i in fallen else {} for i in range(len(hits))]
    return [
        hit_json(i, hit, corpus, links) | mark for i, (hit, mark) in enumerate(zip(hits, marks, strict=True), 1)
    ]


def hit_json(rank: int, hit: Hit, corpus: str = "", links: PageLinks | None = None) -> dict[str, Any]:
    """A hit as searches and answers print it.

    image: the file of a page picture, where it is kept; with `links` the link to it: clients have no files here.
    retrieved_rank, retrieval_score: where a reranker ordered the hits anew. feedback_depth: where feedback revised
    the query, by so many passages.
    """
    passage = hit.passage
    image = passage.image.path or None if passage.image is not None else None
    if passage.image is not None and links is not None:
        image = links.page(corpus, passage.document, passage.page)
    before = {"retrieved_rank": hit.retrieved_rank, "retrieval_score": hit.retrieval_score}
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
        **(before if hit.retrieved_rank is not None else {}),
        **({"feedback_depth": hit.feedback_depth} if hit.feedback_depth else {}),
    }


def places_in(answer: Answer, sent: str) -> Sequence[int]:
    """For each place in the answer's text the same place in `sent`, which lacks the marks that were put in."""
    if answer.text == sent:
        return range(len(answer.text) + 1)
    inserted = {place for citation in answer.citations for place in _mark_behind(answer.text, citation)}
    return list(accumulate((place not in inserted for place in range(len(answer.text))), initial=0))


def _mark_behind(text: str, citation: Citation) -> range:
    """Where `cite` put in the mark of a citation: at the end of its sentence, behind a space."""
    mark = f" [{citation.marker}]"
    return range(citation.end - len(mark), citation.end) if text.endswith(mark, 0, citation.end) else range(0)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
