"""A response as the events of a stream, and the items that it ends with."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ragkit.records import Answer, AnswerEvent, Hit
from ragkit.serve.api.http_errors import HttpProblem
from ragkit.serve.responses.response_items import MessageItem, OutputItem, Piece, Step, new_item, pieces_of
from ragkit.serve.responses.responses_wire import ResponseMaker, new_id

Event = dict[str, Any]

_ERROR_CODES = {429: "rate_limit_exceeded", 400: "invalid_prompt"}


@dataclass
class ResponseEvents:
    """Turns an answer's events into those of the responses API.

    Items are numbered as they begin: the search, then reasoning, text and calls as the model writes them. Each is
    done before the next begins; what the model writes elsewhere while one may still go on is held back, such as
    pieces of several calls in turn.
    """

    maker: ResponseMaker
    query: str
    _output: list[dict[str, Any]] = field(default_factory=list)
    _number: int = 0
    _text: str = ""
    _open: OutputItem | None = None
    _begun: set[str | int] = field(default_factory=set)
    _held: dict[str | int, list[Piece]] = field(default_factory=dict)

    def begin(self, hits: tuple[Hit, ...], searched: str = "") -> Iterator[Event]:
        """The response begins, and the search is over. It reads the store where results were asked for.

        searched: the text that was searched for, where it is not the question.
        """
        query = searched or self.query
        yield self._event("response.created", response=self.maker.response("in_progress"))
        yield self._event("response.in_progress", response=self.maker.response("in_progress"))
        id_ = new_id("fs")
        where = {"item_id": id_, "output_index": 0}
        item = self.maker.search_call(id_, "in_progress", query)
        yield self._event("response.output_item.added", output_index=0, item=item)
        for step in ("in_progress", "searching", "completed"):
            yield self._event(f"response.file_search_call.{step}", **where)
        self._output.append(self.maker.search_call(id_, "completed", query, hits))
        yield self._event("response.output_item.done", output_index=0, item=self._output[0])

    def piece(self, event: AnswerEvent) -> Iterator[Event]:
        """A piece of reasoning, text, refusal or calls."""
        for piece in pieces_of(event):
            if piece.text or piece.of != "message" or self._is_open(piece.of):
                yield from self._take(piece)

    def end(self, answer: Answer) -> Iterator[Event]:
        """All items are done, and so is the response, which is in the last event."""
        if self._begun <= {"reasoning"}:
            yield from self._end_item("completed")
            yield from self._begin_item(Piece("message", ""))
        status = "incomplete" if answer.finish_reason in ("length", "content_filter") else "completed"
        while self._open is not None:
            # Citations are places in the whole text: where a part of it ended before, there are none.
            if isinstance(self._open, MessageItem) and self._open.text == self._text:
                self._open.annotations = self.maker.annotations(answer, self._text)
            yield from self._end_item(status)
            yield from self._write_held()
        whole = self.maker.finished(answer, self._output, time.time())
        yield self._event(f"response.{whole['status']}", response=whole)

    def failed(self, problem: HttpProblem, number: int, output: list[dict[str, Any]]) -> Event:
        """The response ends with an error, behind so many events that were sent; items that are done stay."""
        code = _ERROR_CODES.get(problem.status, "server_error")
        error = {"code": code, "message": problem.message}
        response = self.maker.response("failed", output, error=error)
        return {"type": "response.failed", "sequence_number": number, "response": response}

    def _take(self, piece: Piece) -> Iterator[Event]:
        if self._is_open(piece.of):
            yield from self._write(piece)
        elif isinstance(piece.of, int) and piece.of in self._begun:
            # Behind whole arguments of a call there is nothing but white space.
            return
        else:
            self._held.setdefault(piece.of, []).append(piece)
        while self._held and self._may_end():
            yield from self._end_item("completed")
            yield from self._write_held()

    def _may_end(self) -> bool:
        """Whether what is held back may begin."""
        if isinstance(self._open, MessageItem):
            # A reply of calls has no citations, nor has a refusal.
            return any(of != "reasoning" for of in self._held)
        return self._open is None or self._open.is_whole

    def _is_open(self, of: str | int) -> bool:
        return self._open is not None and self._open.first.of == of

    def _write_held(self) -> Iterator[Event]:
        """The item that has waited longest begins; there may be none."""
        if not self._held:
            return
        pieces = self._held.pop(next(iter(self._held)))
        yield from self._begin_item(pieces[0])
        for piece in pieces:
            yield from self._write(piece)

    def _begin_item(self, first: Piece) -> Iterator[Event]:
        self._open = new_item(len(self._output), first)
        self._begun.add(first.of)
        yield from self._events(self._open.begin())

    def _write(self, piece: Piece) -> Iterator[Event]:
        assert self._open is not None
        self._text += piece.text if piece.of == "message" else ""
        yield from self._events(self._open.write(piece))

    def _end_item(self, status: str) -> Iterator[Event]:
        """There may be none."""
        if (item := self._open) is None:
            return
        self._open = None
        for event in self._events(item.end(status)):
            if event["type"] == "response.output_item.done":
                self._output.append(event["item"])
            yield event

    def _events(self, steps: Iterable[Step]) -> Iterator[Event]:
        for kind, fields in steps:
            yield self._event(f"response.{kind}", **fields)

    def _event(self, kind: str, **fields: Any) -> Event:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **fields}
