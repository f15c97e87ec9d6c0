"""POST /v1/chat/completions."""

# FastAPI reads the endpoints' annotations, which name classes imported inside the function;
# postponed annotations would hide them.
import asyncio
import time
import uuid
from typing import TYPE_CHECKING

from ragkit.protocols import Answerer, ServedCorpus
from ragkit.records import AskRequest
from ragkit.serve.api.connection import Connection
from ragkit.serve.api.server_parts import ServerParts
from ragkit.serve.api.wire import json_bytes
from ragkit.serve.chat import chat_wire
from ragkit.serve.chat.chat_request import ChatBody, ask_request
from ragkit.serve.chat.choices import ask_choices, stream_choices
from ragkit.serve.chat.event_stream import EventStream
from ragkit.serve.chat.request_images import GivenImages
from ragkit.serve.guards.request_id import request_id_of

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

# Of a body that is judged on the event loop, within some milliseconds whatever it holds.
_MOST_BYTES_AT_ONCE = 16_384
_Asked = tuple[AskRequest, str, Answerer]


def add_chat_routes(app: "FastAPI", parts: ServerParts) -> None:
    """Answers from a corpus, whole or streamed."""
    from starlette.requests import Request
    from starlette.responses import Response

    @app.post("/v1/chat/completions", response_model=None)
    async def chat_completions(body: ChatBody, request: Request) -> Response:
        return await _chat(parts, body, request)


async def _chat(parts: ServerParts, body: ChatBody, request: "Request") -> "Response":
    from starlette.responses import Response, StreamingResponse

    asked = _asked_at_once(parts, body, request)
    if asked is None:
        images = GivenImages("messages")
        # In a thread: images are looked at there, and a corpus may be opened.
        ask, corpus, answerer = await asyncio.to_thread(_asked, parts, body, images)
        asked = (await images.decoded(parts.decoding)).in_question(ask), corpus, answerer
    ask, corpus, answerer = asked
    reply_id, created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
    connection = Connection(request)
    if body.stream:
        chunks = chat_wire.ChunkMaker(
            reply_id, created, body.model, corpus, body.wants_usage, parts.links(request)
        )
        events = stream_choices(answerer, ask, body.number)
        stream = EventStream(events, connection, chunks, request_id_of(request), body.number)
        await stream.begin()
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return StreamingResponse(stream.body(), media_type="text/event-stream", headers=headers)
    async with connection:
        answers = await connection.run(ask_choices(answerer, ask, body.number))
    whole = chat_wire.completion(answers, reply_id, created, body.model, corpus, parts.links(request))
    return Response(json_bytes(whole), media_type="application/json")


def _asked_at_once(parts: ServerParts, body: ChatBody, request: "Request") -> _Asked | None:
    """Of short requests: to wake a thread takes longer. None where something may take time."""
    size = request.headers.get("content-length", "")
    if not size.isdecimal() or int(size) > _MOST_BYTES_AT_ONCE or not body.is_plain:
        return None
    corpus = parts.library.at_hand(body.model)
    return None if corpus is None else _asked(parts, body, GivenImages("messages"), corpus)


def _asked(parts: ServerParts, body: ChatBody, images: GivenImages, at_hand: ServedCorpus | None = None) -> _Asked:
    """What is asked, with blanks for its images; the name of the corpus in links; and who answers."""
    ask = ask_request(body, parts.sampling, images)
    corpus = parts.corpus(body.model) if at_hand is None else at_hand
    images.choose(ask, lambda: corpus.answerer.engine)
    return ask, corpus.name, corpus.answerer
