"""POST /v1/embeddings: the embedders of the corpora, of texts and of page pictures."""

# FastAPI reads the endpoints' annotations; see chat_routes.
import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from ragkit.protocols import Embedder, ServedCorpus, Tokenizer
from ragkit.records import FloatArray, PageImage, Passage
from ragkit.serve.api.connection import Connection
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.api.model_use import ModelUse
from ragkit.serve.api.server_parts import ServerParts
from ragkit.serve.api.wire import json_bytes
from ragkit.serve.chat.chat_request import ApiMessage
from ragkit.serve.chat.known_fields import check_extra
from ragkit.serve.chat.request_images import pixels_of, read_image
from ragkit.serve.chat.sampling_fields import check_text
from ragkit.serve.engines.token_estimate import estimate_tokens

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

MOST_INPUTS = 2048
_MOST_CHARACTERS = 2_000_000
# Between two looks at whether anybody still waits.
_BATCH = 64
_NEUTRAL: dict[str, tuple[Any, ...]] = {"truncate_prompt_tokens": (None, -1), "add_special_tokens": (None, True)}
_HARMLESS = frozenset({"user", "priority", "mm_processor_kwargs"})


class EmbeddingsBody(BaseModel):
    """input: texts; or messages, in vLLM's form: one image of a user, by the embedder of page pictures.

    input_type: not of OpenAI's: whether texts are embedded as what is searched ("passage") or as what is searched
    for ("query"), which many embedders tell apart.
    """

    model_config = ConfigDict(extra="allow")

    model: StrictStr
    input: StrictStr | list[StrictStr] | list[StrictInt] | list[list[StrictInt]] | None = None
    messages: list[ApiMessage] | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[StrictInt, Field(ge=1)] | None = None
    input_type: Literal["passage", "query"] = "passage"


def add_embedding_routes(app: "FastAPI", parts: ServerParts) -> None:
    """Vectors of texts and of pictures."""
    from starlette.requests import Request
    from starlette.responses import Response

    use = ModelUse()

    @app.post("/v1/embeddings", response_model=None)
    async def embeddings(body: EmbeddingsBody, request: Request) -> Response:
        return await _embed(parts, use, body, request)


async def _embed(parts: ServerParts, use: ModelUse, body: EmbeddingsBody, request: "Request") -> "Response":
    from starlette.responses import Response

    check_extra(body.model_extra or {}, EmbeddingsBody.model_fields, _NEUTRAL, _HARMLESS)
    check_text("model", body.model)
    corpus = await asyncio.to_thread(parts.corpus, body.model)
    if (body.input is None) == (body.messages is None):
        raise HttpProblem(400, "send either input, which is text, or messages, with an image", param="input")
    async with Connection(request) as connection:
        work = _texts(use, corpus, body) if body.messages is None else _picture(use, corpus, body)
        embedded = await connection.run(work)
        reply = await asyncio.to_thread(_reply, body, embedded)
    return Response(reply, media_type="application/json")


@dataclass(frozen=True, slots=True)
class _Embedded:
    """tokens: read in all. truncated: which texts were too long; of those the beginning is embedded."""

    vectors: FloatArray
    tokens: int = 0
    truncated: tuple[int, ...] = ()


async def _texts(use: ModelUse, corpus: ServedCorpus, body: EmbeddingsBody) -> _Embedded:
    texts = _checked_texts(body.input)
    # Where nothing is loaded yet this loads the model.
    embedder = await asyncio.to_thread(lambda: corpus.embedder)
    if embedder is None:
        raise HttpProblem(400, f"the corpus {body.model!r} has no embedder of texts", param="model")
    _check_dimensions(embedder, body)
    parts = []
    for start in range(0, len(texts), _BATCH):
        batch = texts[start : start + _BATCH]
        parts.append(await use.run(embedder, lambda batch=batch: _vectors(embedder, batch, body.input_type)))  # type: ignore[misc]
    tokens, truncated = await asyncio.to_thread(_count, embedder, texts)
    return _Embedded(_cut(embedder, np.concatenate(parts), body.dimensions), tokens, truncated)


async def _picture(use: ModelUse, corpus: ServedCorpus, body: EmbeddingsBody) -> _Embedded:
    url, place = await asyncio.to_thread(_picture_url, body.messages or [])
    embedder = await asyncio.to_thread(lambda: corpus.page_embedder)
    if embedder is None:
        raise HttpProblem(400, f"the corpus {body.model!r} has no embedder of page pictures", param="model")
    _check_dimensions(embedder, body)
    # Decoded when its turn has come: many that wait would take much memory.
    vectors = await use.run(embedder, lambda: embedder.embed_passages([_pictured(url, place)]))
    return _Embedded(_cut(embedder, vectors, body.dimensions))


def _checked_texts(given: Any) -> list[str]:
    values = [given] if isinstance(given, str) else list(given)
    if not values:
        raise HttpProblem(400, "input is empty", param="input")
    if len(values) > MOST_INPUTS:
        raise HttpProblem(400, f"input has {len(values)} items; at most {MOST_INPUTS} are embedded", param="input")
    if not all(isinstance(value, str) for value in values):
        raise HttpProblem(
            400, "input holds numbers of tokens, which embedders here do not read: send text", param="input"
        )
    if (size := sum(map(len, values))) > _MOST_CHARACTERS:
        raise HttpProblem(
            400, f"input has {size} characters; at most {_MOST_CHARACTERS} are embedded at once", param="input"
        )
    for place, value in enumerate(values):
        if not value:
            raise HttpProblem(400, f"input[{place}] is empty", param="input")
        check_text(f"input[{place}]", value)
    return values


def _vectors(embedder: Embedder, texts: Sequence[str], kind: str) -> FloatArray:
    if kind == "query":
        return embedder.embed_queries(texts)
    return embedder.embed_passages([Passage(-1, "", 1, 0, len(text), text) for text in texts])


def _count(embedder: Embedder, texts: Sequence[str]) -> tuple[int, tuple[int, ...]]:
    """Tokens read, and which texts were too long: by the embedder's tokenizer, without its special tokens.

    Where it shows none, the tokens are an estimate, and nothing is known to be too long.
    """
    if not isinstance(embedder, Tokenizer):
        return sum(map(estimate_tokens, texts)), ()
    counts = list(map(len, embedder.token_spans(texts)))
    most = embedder.max_tokens
    return sum(min(count, most) for count in counts), tuple(i for i, count in enumerate(counts) if count > most)


def _picture_url(messages: list[ApiMessage]) -> tuple[str, str]:
    """The one image of the one message, and its place; its header is sound."""
    users = [message for message in messages if message.role == "user"]
    parts = users[0].content if len(users) == 1 and isinstance(users[0].content, list) else []
    urls = [part.image_url.url for part in parts if part.type == "image_url" and part.image_url is not None]
    others = [
        part for part in parts if part.type != "image_url" and (part.type != "text" or (part.text or "").strip())
    ]
    if len(messages) != 1 or len(urls) != 1 or others:
        raise HttpProblem(
            400,
            "messages must be one of a user, with one image_url and no text: each picture has a vector of its own",
            param="messages",
        )
    place = "messages[0].content"
    pixels_of(urls[0], place)
    return urls[0], place


def _pictured(url: str, place: str) -> Passage:
    image = read_image(url, place)
    picture = PageImage("", 1, image.width, image.height, lambda: image)
    return Passage(-1, "", 1, 0, 0, "", image=picture)


def _check_dimensions(embedder: Embedder, body: EmbeddingsBody) -> None:
    if body.dimensions is None or body.dimensions == embedder.dim:
        return
    if body.dimensions > embedder.dim:
        raise HttpProblem(
            400,
            f"dimensions = {body.dimensions}, and the vectors of {body.model!r} have {embedder.dim}",
            param="dimensions",
        )
    if embedder.metric != "cosine":
        raise HttpProblem(
            400,
            f"the vectors of {body.model!r} are compared by their inner product, which a part of them does not "
            "keep: leave out dimensions",
            param="dimensions",
        )


def _cut(embedder: Embedder, vectors: FloatArray, dimensions: int | None) -> FloatArray:
    """The first dimensions, of unit length again."""
    if dimensions is None or dimensions == embedder.dim:
        return np.ascontiguousarray(vectors, np.float32)
    first = np.asarray(vectors[:, :dimensions], np.float32)
    lengths = np.linalg.norm(first, axis=1, keepdims=True)
    unit: FloatArray = np.divide(first, lengths, out=np.zeros_like(first), where=lengths > 0)
    return unit


def _reply(body: EmbeddingsBody, embedded: _Embedded) -> bytes:
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(row, body.encoding_format)}
        for index, row in enumerate(embedded.vectors)
    ]
    usage = {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens}
    record = {"input_type": body.input_type, "truncated": list(embedded.truncated)}
    return json_bytes({"object": "list", "data": data, "model": body.model, "usage": usage, "ragkit": record})


def _encoded(row: FloatArray, encoding: str) -> str | list[float]:
    """base64 of float32, little-endian; or numbers."""
    if encoding == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
    return [float(value) for value in row]
