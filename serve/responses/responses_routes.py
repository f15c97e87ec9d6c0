"""POST /v1/responses, and what was answered there before: GET and DELETE /v1/responses/{id}."""

# FastAPI reads the endpoints' annotations; see chat_routes.
import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ragkit.errors import ContextLengthError, ImageInputError
from ragkit.records import AnswerEvent, AskRequest, ChatMessage, ToolCall, ToolCallDelta
from ragkit.serve.api.connection import Connection
from ragkit.serve.api.http_errors import HttpProblem, problem_of
from ragkit.serve.api.server_parts import ServerParts
from ragkit.serve.api.wire import json_bytes
from ragkit.serve.chat.conversation import ask_of
from ragkit.serve.chat.request_images import GivenImages
from ragkit.serve.guards.request_id import request_id_of
from ragkit.serve.guards.time_limit import end_stream_with
from ragkit.serve.responses.file_search import SearchPlan, plan_search
from ragkit.serve.responses.found_files import FoundFiles
from ragkit.serve.responses.response_events import ResponseEvents
from ragkit.serve.responses.response_input import messages_of
from ragkit.serve.responses.response_store import ResponseStore
from ragkit.serve.responses.response_stream import ResponseStream
from ragkit.serve.responses.responses_request import ResponsesBody, Wishes, wishes_of
from ragkit.serve.responses.responses_wire import ResponseMaker, new_id

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response


def add_responses_routes(app: "FastAPI", parts: ServerParts) -> None:
    """Answers with the search as an item of the output, whole or streamed, and gone on from."""
    from starlette.requests import Request
    from starlette.responses import Response

    settings = parts.settings
    kept = ResponseStore(settings.max_stored_responses, int(settings.stored_responses_mb * 1e6))

    @app.post("/v1/responses", response_model=None)
    async def create_response(body: ResponsesBody, request: Request) -> Response:
        try:
            return await _respond(parts, kept, body, request)
        except (ContextLengthError, ImageInputError) as error:
            problem = problem_of(error, request_id_of(request))
            # What chat calls messages.
            problem.param = "input"
            raise problem from error

    @app.get("/v1/responses/{response_id}", response_model=None)
    async def get_response(response_id: str, stream: bool = False) -> Response:
        if stream:
            raise HttpProblem(400, "a response that is there already is not streamed", param="stream")
        return _json(_stored(kept, response_id).body)

    @app.delete("/v1/responses/{response_id}", response_model=None)
    async def delete_response(response_id: str) -> Response:
        _stored(kept, response_id)
        kept.remove(response_id)
        return _json({"id": response_id, "object": "response", "deleted": True})

    def _json(value: dict[str, Any]) -> Response:
        return Response(json_bytes(value), media_type="application/json")


async def _respond(parts: ServerParts, kept: ResponseStore, body: ResponsesBody, request: "Request") -> "Response":
    from starlette.responses import Response, StreamingResponse

    prepared = await _prepare(parts, kept, body)
    maker = ResponseMaker(
        body,
        prepared.wishes,
        prepared.plan,
        parts.links(request),
        FoundFiles(parts.stores),
        new_id("resp"),
        int(time.time()),
    )
    events = ResponseEvents(maker, prepared.ask.question)

    def finished(response: dict[str, Any]) -> None:
        if body.store is not False:
            reply = _reply_of(response)
            kept.put(response, len(json_bytes(response)), (*prepared.messages, reply))

    connection = Connection(request)
    answerer = prepared.plan.answerer
    if body.stream:
        stream = ResponseStream(
            answerer.stream(prepared.ask), connection, events, request_id_of(request), finished
        )
        await stream.begin()
        end_stream_with(request.scope, stream.last_event)
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return StreamingResponse(stream.body(), media_type="text/event-stream", headers=headers)
    async with connection:
        answer = await connection.run(answerer.ask(prepared.ask))
    calls = (ToolCallDelta(i, call.id, call.name, call.arguments) for i, call in enumerate(answer.tool_calls))
    piece = AnswerEvent(
        answer.text,
        reasoning=answer.reasoning,
        tool_calls=tuple(calls),
        logprobs=answer.logprobs or (),
        refusal=answer.refusal,
    )

    def whole() -> dict[str, Any]:
        *_, last = [*events.begin(answer.hits, answer.searched), *events.piece(piece), *events.end(answer)]
        response: dict[str, Any] = last["response"]
        finished(response)
        return response

    return Response(json_bytes(await asyncio.to_thread(whole)), media_type="application/json")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """messages: the conversation with this request's input, without its instructions."""

    wishes: Wishes
    plan: SearchPlan
    ask: AskRequest
    messages: tuple[ChatMessage, ...]


async def _prepare(parts: ServerParts, kept: ResponseStore, body: ResponsesBody) -> _Prepared:
    wishes = wishes_of(body, parts.sampling)
    before: tuple[ChatMessage, ...] = ()
    if body.previous_response_id is not None:
        before = _stored(kept, body.previous_response_id, "previous_response_id").messages
    # Those of earlier requests do not go on to hold.
    rules = [ChatMessage("system", body.instructions)] if body.instructions else []
    images = GivenImages("input")

    def read() -> tuple[SearchPlan, list[ChatMessage], AskRequest]:
        plan = plan_search(parts, body, wishes.file_search)
        given = messages_of(body.input, images)
        ask = ask_of([*rules, *before, *given], wishes.sampling, param="input")
        images.choose(ask, lambda: plan.answerer.engine)
        return plan, given, ask

    # In a thread: images are looked at there, and corpora may be opened.
    plan, given, ask = await asyncio.to_thread(read)
    decoded = await images.decoded(parts.decoding)
    ask = await plan.ask(decoded.in_question(ask), body)
    return _Prepared(wishes, plan, ask, (*before, *decoded.in_place(given)))


def _stored(kept: ResponseStore, response_id: str, param: str | None = None) -> Any:
    stored = kept.get(response_id)
    if stored is None:
        raise HttpProblem(
            404,
            f"there is no response {response_id!r:.80} any more; the server keeps the newest, in memory",
            param=param,
            code="previous_response_not_found" if param else "not_found",
        )
    return stored


def _reply_of(response: dict[str, Any]) -> ChatMessage:
    """The assistant's turn that a response is."""
    output = response["output"]
    parts = [item["content"][0] for item in output if item["type"] == "message"]
    text = "\n\n".join(part["refusal" if part["type"] == "refusal" else "text"] for part in parts)
    calls = [item for item in output if item["type"] == "function_call"]
    made = tuple(ToolCall(item["call_id"], item["name"], item["arguments"]) for item in calls)
    return replace(ChatMessage("assistant", text), tool_calls=made)
