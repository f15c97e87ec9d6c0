"""Reranking by a server that answers ``POST /v1/rerank``."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ragkit.errors import ConfigError, EngineError
from ragkit.extras import require
from ragkit.pictures import image_url, scaled_down
from ragkit.records import Hit, Passage, Query

_EXCERPT_CHARACTERS = 300
# Of a page picture that is sent.
_MOST_PIXELS = 2_000_000


class RemoteReranker:
    """A `Reranker` behind the request and response shapes that vLLM, Cohere and Jina have in common.

    The key, where `api_key_env` names a variable, is sent as a bearer token; it stands in no message.
    """

    def __init__(self, url: str, *, model: str = "", api_key_env: str = "", timeout_s: float = 60) -> None:
        """Check the settings; nothing is sent yet.

        Raises:
            ConfigError: the URL is no HTTP URL, or the variable that should hold the key is not set.
        """
        _split_http(url)
        self._url = url
        self._model = model
        self._timeout_s = timeout_s
        self._shown_url = shown_url(url)
        self._client = require("httpx").Client(headers=_headers(api_key_env), timeout=timeout_s)

    def rerank(self, query: Query, hits: Sequence[Hit]) -> list[Hit]:
        """The same passages by the server's score; sends `Passage.titled_text`, or a page picture.

        Raises:
            EngineError: the server cannot be reached, is too slow, answers with an error status (as one whose
                model reads no images does for a picture), or does not score every passage exactly once.
            DocumentError: a picture cannot be had.
        """
        if not hits:
            return []
        scores = self._scores(query.text, [_document(hit.passage) for hit in hits])
        scored = [Hit(score, hit.passage) for score, hit in zip(scores, hits, strict=True)]
        return sorted(scored, key=lambda hit: (-hit.score, hit.passage.key))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _scores(self, query: str, documents: list[Any]) -> list[float]:
        body: dict[str, Any] = {"query": query, "documents": documents, "top_n": len(documents)}
        if self._model:
            body["model"] = self._model
        scores: dict[int, float] = {}
        for index, score in map(self._index_and_score, self._results(body)):
            if not 0 <= index < len(documents) or index in scores:
                raise self._error(f"answered index {index}, out of range or twice, for {len(documents)} documents")
            scores[index] = score
        if len(scores) != len(documents):
            raise self._error(f"scored {len(scores)} of {len(documents)} documents")
        return [scores[index] for index in range(len(documents))]

    def _results(self, body: dict[str, Any]) -> list[Any]:
        answer = self._post(body)
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list):
            raise self._error(f'answered without a list "results": {_excerpt(str(answer))}')
        return results

    def _index_and_score(self, result: Any) -> tuple[int, float]:
        fields = result if isinstance(result, dict) else {}
        index: Any = fields.get("index")
        score: Any = fields.get("relevance_score")
        # Exact types: JSON's true and false are Python integers too.
        if type(index) is int and type(score) in (int, float) and math.isfinite(score):
            return index, float(score)
        problem = 'answered a result without "index" and a finite "relevance_score"'
        raise self._error(f"{problem}: {_excerpt(str(result))}")

    def _post(self, body: dict[str, Any]) -> Any:
        httpx = require("httpx")
        try:
            response = self._client.post(self._url, json=body)
        except httpx.TimeoutException as error:
            raise self._error(f"gave no answer within {self._timeout_s:g} s; see rerank.timeout_s") from error
        except httpx.HTTPError as error:
            raise self._error(f"cannot be reached: {error}") from error
        if not response.is_success:
            raise self._error(f"answered status {response.status_code}: {_excerpt(response.text)}")
        try:
            return response.json()
        except ValueError as error:
            raise self._error(f"answered what is not JSON: {_excerpt(response.text)}") from error

    def _error(self, problem: str) -> EngineError:
        return EngineError(f"the reranker at {self._shown_url} {problem}")


def _document(passage: Passage) -> str | dict[str, Any]:
    """A text, or a picture in the form that vLLM's /rerank has for multimodal models."""
    if passage.image is None:
        return passage.titled_text
    url = image_url(scaled_down(passage.image.load(), _MOST_PIXELS))
    return {"content": [{"type": "image_url", "image_url": {"url": url}}]}


def shown_url(url: str) -> str:
    """An address without user, password and query, where keys may stand: for messages and records."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else url


def _split_http(url: str) -> SplitResult:
    problem = f"rerank.url = {url!r} is no HTTP URL; give one such as http://host:8000/v1/rerank"
    try:
        parts = urlsplit(url)
        has_place = parts.hostname and parts.port != 0
    except ValueError as error:
        raise ConfigError(f"{problem} ({error})") from error
    if parts.scheme not in ("http", "https") or not has_place:
        raise ConfigError(problem)
    return parts


def _headers(api_key_env: str) -> dict[str, str]:
    if not api_key_env:
        return {}
    key = os.environ.get(api_key_env)
    if not key:
        raise ConfigError(
            f"rerank.api_key_env names {api_key_env}, which is not set; export it, or clear the setting"
        )
    return {"Authorization": f"Bearer {key}"}


def _excerpt(text: str) -> str:
    return text if len(text) <= _EXCERPT_CHARACTERS else text[:_EXCERPT_CHARACTERS] + "…"
