"""POST /v1/chat/completions."""

# FastAPI reads the endpoints' annotations, which name classes imported inside the function;
# postponed annotations would hide them.
import asyncio
import time
import uuid
from typing import TYPE_CHECKING

from ragkit.protocols import Answerer
from ragkit.records import AskRequest
from ragkit.serve.api.connection import Connection
from ragkit.serve.api.server_parts import ServerParts
from ragkit.serve.api.wire import json_bytes
from ragkit.serve.chat import chat_wire
from ragkit.serve.chat.chat_request import ChatBody, ask_request
from ragkit.serve.chat.choices import ask_choices, stream_choices
from ragkit.serve.chat.event_stream import EventStream
from ragkit.serve.guards.request_id import request_id_of

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response


def add_chat_routes(app: "FastAPI", parts: ServerParts) -> None:
    """Answers from a corpus, whole or streamed."""
    from starlette.requests import Request
    from starlette.responses import Response

    @app.post("/v1/chat/completions", response_model=None)
    async def chat_completions(body: ChatBody, request: Request) -> Response:
        return await _chat(parts, body, request)


async def _chat(parts: ServerParts, body: ChatBody, request: "Request") -> "Response":
    from starlette.responses import Response, StreamingResponse

    # In a thread: images are decoded there, and a corpus may be opened.
    ask, corpus, answerer = await asyncio.to_thread(lambda: _asked(parts, body))
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


def _asked(parts: ServerParts, body: ChatBody) -> tuple[AskRequest, str, Answerer]:
    """What is asked, the name of the corpus in links, and who answers."""
    ask, corpus = ask_request(body, parts.sampling), parts.corpus(body.model)
    return ask, corpus.name, corpus.answerer
