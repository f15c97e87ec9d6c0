"""POST /v1/vector_stores/{id}/search: passages of a store, in OpenAI's shape."""

from __future__ import annotations

from typing import Any

from ragkit.filter_json import filter_from_json
from ragkit.filter_text import parse_filter
from ragkit.protocols import ServedCorpus
from ragkit.records import Filter, Hit
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.stores.rows import StoreFileRow
from ragkit.serve.stores.rules import SearchStore

# Of each page shown for a picture of it.
_MOST_TEXT = 8000
# Passages of documents that are being taken out may be found and are not shown.
_SPARE = 10


def where_of(body: SearchStore) -> Filter | None:
    """The filter of a request. Raises FilterError where it is none."""
    if body.filters is None:
        return None
    if isinstance(body.filters, str):
        return Filter(condition=parse_filter(body.filters))
    return Filter(condition=filter_from_json(body.filters))


def search(corpus: ServedCorpus, body: SearchStore, where: Filter | None) -> list[Hit]:
    """The best passages for any of the queries; one that several find counts with its best score.

    Raises:
        HttpProblem: 400, a query says nothing.
        FilterError: the filter asks for what no document has.
    """
    for number, query in enumerate(body.queries):
        if not query.strip():
            raise HttpProblem(400, f"query {number + 1} is empty", param="query")
    best: dict[int, Hit] = {}
    for hits in corpus.search_many(body.queries, body.max_num_results + _SPARE, where=where):
        for hit in hits:
            known = best.get(hit.passage.key)
            if known is None or hit.score > known.score:
                best[hit.passage.key] = hit
    options = body.ranking_options
    least = None if options is None else options.score_threshold
    kept = [hit for hit in best.values() if least is None or hit.score >= least]
    # Of one query the order is the retriever's own.
    return kept if len(body.queries) == 1 else sorted(kept, key=lambda hit: (-hit.score, hit.passage.key))


def results(
    corpus: ServedCorpus,
    hits: list[Hit],
    files: dict[str, StoreFileRow],
    filenames: dict[str, str],
    body: SearchStore,
) -> dict[str, Any]:
    """The reply. files: by document; hits of documents that are in no file any more are left out."""
    there = [hit for hit in hits if hit.passage.document in files][: body.max_num_results]
    return {
        "object": "vector_store.search_results.page",
        "search_query": body.queries,
        "data": [_result(corpus, hit, files[hit.passage.document], filenames) for hit in there],
        "has_more": False,
        "next_page": None,
    }


def _result(corpus: ServedCorpus, hit: Hit, file: StoreFileRow, filenames: dict[str, str]) -> dict[str, Any]:
    passage = hit.passage
    text = passage.text if passage.image is None else corpus.store.page(passage.document, passage.page).text
    return {
        "file_id": file.file,
        "filename": filenames.get(file.file, file.document),
        "score": float(hit.score),
        "attributes": dict(file.attributes),
        "content": [{"type": "text", "text": text if passage.image is None else text[:_MOST_TEXT]}],
        "ragkit": {
            "document": passage.document,
            "page": passage.page,
            "start": passage.start,
            "end": passage.end,
            "kind": "text" if passage.image is None else "image",
        },
    }
