"""POST /v1/rerank, /rerank and /v2/rerank: the shapes that vLLM, Jina and Cohere share."""

# FastAPI reads the endpoints' annotations; see chat_routes.
import asyncio
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from ragkit.protocols import Embedder, Reranker, ServedCorpus
from ragkit.records import Hit, Passage, Query
from ragkit.serve.api.connection import Connection
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.api.model_use import ModelUse
from ragkit.serve.api.server_parts import ServerParts, listed
from ragkit.serve.api.wire import json_bytes
from ragkit.serve.chat.known_fields import check_extra
from ragkit.serve.chat.sampling_fields import check_text
from ragkit.serve.engines.token_estimate import estimate_tokens

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

MOST_DOCUMENTS = 1000
_MOST_CHARACTERS = 2_000_000
_PATHS = ("/v1/rerank", "/v2/rerank", "/rerank")
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "rank_fields": (None, [], ["text"]),
    "truncate_prompt_tokens": (None, -1, 0),
    "max_chunks_per_doc": (None,),
}
_HARMLESS = frozenset({"user", "priority", "max_tokens_per_doc", "truncation"})


class TextDocument(BaseModel):
    """Jina's and Cohere's form of a document."""

    text: StrictStr


class RerankBody(BaseModel):
    """top_n: 0 stands for all. return_documents: by default they are there, as in vLLM; in Cohere's form not."""

    model_config = ConfigDict(extra="allow")

    model: StrictStr | None = None
    query: StrictStr
    documents: Annotated[list[StrictStr | TextDocument], Field(min_length=1, max_length=MOST_DOCUMENTS)]
    top_n: Annotated[StrictInt, Field(ge=0)] | None = None
    return_documents: StrictBool | None = None


def add_rerank_routes(app: "FastAPI", parts: ServerParts) -> None:
    """Orders texts by a corpus's reranker."""
    from starlette.requests import Request
    from starlette.responses import Response

    use = ModelUse()

    for path in _PATHS:

        @app.post(path, response_model=None, operation_id=f"rerank{path.replace('/', '_')}")
        async def rerank(body: RerankBody, request: Request) -> Response:
            return await _rerank(parts, use, body, request)


async def _rerank(parts: ServerParts, use: ModelUse, body: RerankBody, request: "Request") -> "Response":
    from starlette.responses import Response

    check_extra(body.model_extra or {}, RerankBody.model_fields, _NEUTRAL, _HARMLESS)
    check_text("model", body.model)
    texts = [document if isinstance(document, str) else document.text for document in body.documents]
    _check(body.query, texts)
    corpus = await asyncio.to_thread(lambda: parts.corpus(_model(parts, body)))
    async with Connection(request) as connection:
        scores, by = await connection.run(_scores(use, corpus, body.query, texts))
    is_cohere = request.url.path.startswith("/v2/")
    reply = _reply(body, corpus.name, texts, scores, is_cohere=is_cohere)
    return Response(json_bytes(reply | {"ragkit": {"scored_by": by}}), media_type="application/json")


def _model(parts: ServerParts, body: RerankBody) -> str:
    names = parts.library.names()
    if body.model is None and len(names) != 1:
        raise HttpProblem(400, f"model is missing; models here: {listed(names)}", param="model")
    return names[0] if body.model is None else body.model


def _check(query: str, texts: Sequence[str]) -> None:
    if not query.strip():
        raise HttpProblem(400, "query is empty", param="query")
    check_text("query", query)
    for place, text in enumerate(texts):
        check_text(f"documents[{place}]", text)
    if (size := sum(map(len, texts))) > _MOST_CHARACTERS:
        raise HttpProblem(
            400,
            f"documents have {size} characters; at most {_MOST_CHARACTERS} are ranked at once",
            param="documents",
        )


async def _scores(
    use: ModelUse, corpus: ServedCorpus, query: str, texts: Sequence[str]
) -> tuple[list[float], str]:
    """A score for each text, and what gave them: "reranker", or "embedder" where there is none."""
    hits = [Hit(0.0, Passage(place, "", 1, 0, len(text), text)) for place, text in enumerate(texts)]
    # Where nothing is loaded yet these load the models.
    reranker = await asyncio.to_thread(lambda: corpus.reranker)
    if reranker is not None:
        return await use.run(reranker, lambda: _by_reranker(reranker, query, hits)), "reranker"
    embedder = await asyncio.to_thread(lambda: corpus.embedder)
    if embedder is None:
        raise HttpProblem(
            400, f"the corpus {corpus.name!r} has neither a reranker nor an embedder of texts", param="model"
        )
    return await use.run(embedder, lambda: _by_embedder(embedder, query, hits)), "embedder"


def _by_reranker(reranker: Reranker, query: str, hits: Sequence[Hit]) -> list[float]:
    scores = {hit.passage.key: hit.score for hit in reranker.rerank(Query(query), hits)}
    return [float(scores[hit.passage.key]) for hit in hits]


def _by_embedder(embedder: Embedder, query: str, hits: Sequence[Hit]) -> list[float]:
    vectors = embedder.embed_passages([hit.passage for hit in hits])
    scores = np.asarray(vectors, np.float32) @ embedder.embed_queries([query])[0]
    return [float(score) for score in scores]


def _reply(
    body: RerankBody, model: str, texts: Sequence[str], scores: Sequence[float], *, is_cohere: bool
) -> dict[str, Any]:
    order = sorted(range(len(texts)), key=lambda place: (-scores[place], place))[: body.top_n or None]
    shows = not is_cohere if body.return_documents is None else body.return_documents
    results = [
        {"index": place, "relevance_score": scores[place]}
        | ({"document": {"text": texts[place]}} if shows else {})
        for place in order
    ]
    tokens = estimate_tokens(body.query) * len(texts) + sum(map(estimate_tokens, texts))
    reply: dict[str, Any] = {"id": f"rerank-{uuid.uuid4().hex}", "results": results}
    if is_cohere:
        meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
        return reply | {"meta": meta | {"tokens": {"input_tokens": tokens, "output_tokens": 0}}}
    return reply | {"model": body.model or model, "usage": {"total_tokens": tokens, "prompt_tokens": tokens}}
