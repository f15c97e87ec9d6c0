"""A response as the events of a stream, and the items that it ends with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ragkit.records import Answer, AnswerEvent, Hit, TokenLogprob, ToolCall, ToolCallDelta
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.responses import responses_wire as wire
from ragkit.serve.responses.responses_wire import ResponseMaker, new_id

Event = dict[str, Any]

_ERROR_CODES = {429: "rate_limit_exceeded", 400: "invalid_prompt"}


@dataclass
class _Message:
    index: int
    id: str
    text: str = ""


@dataclass
class _Reasoning:
    index: int
    id: str
    text: str = ""


@dataclass
class _Call:
    index: int
    id: str
    call: ToolCall


@dataclass
class ResponseEvents:
    """Turns an answer's events into those of the responses API; `output` holds the items that are done.

    Items are numbered as they begin: the search, then reasoning, text and calls as the model writes them.
    """

    maker: ResponseMaker
    query: str
    output: dict[int, dict[str, Any]] = field(default_factory=dict)
    text: str = ""
    _number: int = 0
    _items: int = 0
    _message: _Message | None = None
    _reasoning: _Reasoning | None = None
    _calls: dict[int, _Call] = field(default_factory=dict)

    def begin(self, hits: tuple[Hit, ...], searched: str = "") -> Iterator[Event]:
        """The response begins, and the search is over. It reads the store where results were asked for.

        searched: the text that was searched for, where it is not the question.
        """
        query = searched or self.query
        yield self._event("response.created", response=self.maker.response("in_progress"))
        yield self._event("response.in_progress", response=self.maker.response("in_progress"))
        id_, index = new_id("fs"), self._next_index()
        where = {"item_id": id_, "output_index": index}
        item = self.maker.search_call(id_, "in_progress", query)
        yield self._event("response.output_item.added", output_index=index, item=item)
        for step in ("in_progress", "searching", "completed"):
            yield self._event(f"response.file_search_call.{step}", **where)
        yield self._done(index, self.maker.search_call(id_, "completed", query, hits))

    def piece(self, event: AnswerEvent) -> Iterator[Event]:
        """A piece of reasoning, text or calls."""
        if event.reasoning:
            yield from self._think(event.reasoning)
        if event.delta or (event.logprobs and self._message is not None):
            yield from self._write(event.delta, event.logprobs)
        for delta in event.tool_calls:
            yield from self._call(delta)

    def end(self, answer: Answer) -> Iterator[Event]:
        """All items are done, and so is the response, which is in the last event."""
        yield from self._end_reasoning()
        if self._message is None and not self._calls:
            yield from self._open_message()
        status = "incomplete" if answer.finish_reason in ("length", "content_filter") else "completed"
        yield from self._end_message(answer, status)
        for call in self._calls.values():
            item = wire.function_call(call.id, status, call.call)
            where = {"item_id": call.id, "output_index": call.index}
            arguments = call.call.arguments
            yield self._event(
                "response.function_call_arguments.done", **where, name=call.call.name, arguments=arguments
            )
            yield self._done(call.index, item)
        output = [self.output[index] for index in sorted(self.output)]
        whole = self.maker.finished(answer, output, time.time())
        yield self._event(f"response.{whole['status']}", response=whole)

    def failed(self, problem: HttpProblem) -> Event:
        """The response ends with an error; items that are done stay."""
        code = _ERROR_CODES.get(problem.status, "server_error")
        output = [self.output[index] for index in sorted(self.output)]
        error = {"code": code, "message": problem.message}
        return self._event("response.failed", response=self.maker.response("failed", output, error=error))

    def _think(self, piece: str) -> Iterator[Event]:
        if self._reasoning is None:
            self._reasoning = _Reasoning(self._next_index(), new_id("rs"))
            item = wire.reasoning(self._reasoning.id, "in_progress", "")
            yield self._event("response.output_item.added", output_index=self._reasoning.index, item=item)
            part = {"type": "reasoning_text", "text": ""}
            yield self._event("response.content_part.added", **self._at(self._reasoning), part=part)
        self._reasoning.text += piece
        yield self._event("response.reasoning_text.delta", **self._at(self._reasoning), delta=piece)

    def _end_reasoning(self) -> Iterator[Event]:
        if (thought := self._reasoning) is None or thought.index in self.output:
            return
        yield self._event("response.reasoning_text.done", **self._at(thought), text=thought.text)
        part = {"type": "reasoning_text", "text": thought.text}
        yield self._event("response.content_part.done", **self._at(thought), part=part)
        yield self._done(thought.index, wire.reasoning(thought.id, "completed", thought.text))

    def _open_message(self) -> Iterator[Event]:
        self._message = _Message(self._next_index(), new_id("msg"))
        item = {**wire.message(self._message.id, "in_progress", "", (), None), "content": []}
        yield self._event("response.output_item.added", output_index=self._message.index, item=item)
        yield self._event("response.content_part.added", **self._at(self._message), part=wire.text_part(""))

    def _write(self, piece: str, logprobs: tuple[TokenLogprob, ...]) -> Iterator[Event]:
        if self._message is None:
            yield from self._open_message()
        assert self._message is not None
        self._message.text += piece
        self.text += piece
        yield self._event(
            "response.output_text.delta",
            **self._at(self._message),
            delta=piece,
            logprobs=wire.logprobs_json(logprobs),
        )

    def _end_message(self, answer: Answer, status: str) -> Iterator[Event]:
        if (said := self._message) is None:
            return
        where = self._at(said)
        annotations = self.maker.annotations(answer, said.text)
        for number, annotation in enumerate(annotations):
            yield self._event(
                "response.output_text.annotation.added",
                **where,
                annotation_index=number,
                annotation=annotation,
            )
        logprobs = wire.logprobs_json(answer.logprobs or ())
        yield self._event("response.output_text.done", **where, text=said.text, logprobs=logprobs)
        part = wire.text_part(said.text, annotations, answer.logprobs)
        yield self._event("response.content_part.done", **where, part=part)
        yield self._done(said.index, wire.message(said.id, status, said.text, annotations, answer.logprobs))

    def _call(self, delta: ToolCallDelta) -> Iterator[Event]:
        if delta.index not in self._calls:
            call = ToolCall(delta.id, delta.name, "")
            self._calls[delta.index] = _Call(self._next_index(), new_id("fc"), call)
            one = self._calls[delta.index]
            item = wire.function_call(one.id, "in_progress", call)
            yield self._event("response.output_item.added", output_index=one.index, item=item)
        one = self._calls[delta.index]
        one.call = ToolCall(one.call.id, one.call.name, one.call.arguments + delta.arguments)
        if delta.arguments:
            where = {"item_id": one.id, "output_index": one.index}
            yield self._event("response.function_call_arguments.delta", **where, delta=delta.arguments)

    def _done(self, index: int, item: dict[str, Any]) -> Event:
        self.output[index] = item
        return self._event("response.output_item.done", output_index=index, item=item)

    def _at(self, item: _Message | _Reasoning) -> dict[str, Any]:
        return {"item_id": item.id, "output_index": item.index, "content_index": 0}

    def _next_index(self) -> int:
        self._items += 1
        return self._items - 1

    def _event(self, kind: str, **fields: Any) -> Event:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **fields}
