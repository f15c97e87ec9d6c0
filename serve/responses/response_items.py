"""The items that a model writes into a response's output, each with its own events, in OpenAI's order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ragkit.records import AnswerEvent, TokenLogprob, ToolCall
from ragkit.serve.engines.chat_json import is_whole
from ragkit.serve.responses import responses_wire as wire
from ragkit.serve.responses.responses_wire import new_id

# An event's type behind "response.", and its fields but the number.
Step = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Piece:
    """What is written to an item.

    of: "reasoning", "message", "refusal", or the number of a call, which has id and name.
    """

    of: str | int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    call_id: str = ""
    name: str = ""


def pieces_of(event: AnswerEvent) -> Iterator[Piece]:
    """What a step of an answer writes, in its order."""
    if event.reasoning:
        yield Piece("reasoning", event.reasoning)
    if event.delta or event.logprobs:
        yield Piece("message", event.delta, event.logprobs)
    if event.refusal:
        yield Piece("refusal", event.refusal)
    for call in event.tool_calls:
        yield Piece(call.index, call.arguments, call_id=call.id, name=call.name)


@dataclass
class OutputItem(ABC):
    """An item while it is written. first: the piece it begins with, which is not yet written to it."""

    prefix: ClassVar[str]
    index: int
    first: Piece
    text: str = ""

    def __post_init__(self) -> None:
        self.id = new_id(self.prefix)

    @abstractmethod
    def begin(self) -> Iterator[Step]:
        """It is added."""

    @abstractmethod
    def write(self, piece: Piece) -> Iterator[Step]:
        """A piece is written to it."""

    @property
    @abstractmethod
    def is_whole(self) -> bool:
        """Whether it is over once the model writes to another."""

    @abstractmethod
    def end(self, status: str) -> Iterator[Step]:
        """It is done."""

    def _added(self, item: dict[str, Any]) -> Step:
        return "output_item.added", {"output_index": self.index, "item": item}

    def _done(self, item: dict[str, Any]) -> Step:
        return "output_item.done", {"output_index": self.index, "item": item}


class _TextItem(OutputItem):
    """An item with one part of text, called `text_name` there. kind: the part's, and its events' too."""

    kind: ClassVar[str]
    text_name: ClassVar[str] = "text"

    def begin(self) -> Iterator[Step]:
        yield self._added({**self._item("in_progress"), "content": []})
        yield "content_part.added", {**self._at, "part": self._part()}

    def write(self, piece: Piece) -> Iterator[Step]:
        self.text += piece.text
        yield f"{self.kind}.delta", {**self._at, "delta": piece.text}

    def end(self, status: str) -> Iterator[Step]:
        yield f"{self.kind}.done", {**self._at, self.text_name: self.text}
        yield "content_part.done", {**self._at, "part": self._part()}
        yield self._done(self._item(status))

    @property
    def _at(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.index, "content_index": 0}

    def _part(self) -> dict[str, Any]:
        return {"type": self.kind, self.text_name: self.text}

    @abstractmethod
    def _item(self, status: str) -> dict[str, Any]: ...


class _ReasoningItem(_TextItem):
    prefix = "rs"
    kind = "reasoning_text"

    @property
    def is_whole(self) -> bool:
        """What is thought later is an item of its own."""
        return True

    def _item(self, status: str) -> dict[str, Any]:
        return wire.reasoning(self.id, "in_progress" if status == "in_progress" else "completed", self.text)


@dataclass
class MessageItem(_TextItem):
    """annotations: to be set before it ends."""

    prefix = "msg"
    kind = "output_text"
    logprobs: list[TokenLogprob] = field(default_factory=list)
    annotations: Sequence[dict[str, Any]] = ()

    def write(self, piece: Piece) -> Iterator[Step]:
        self.logprobs += piece.logprobs
        for kind, fields in super().write(piece):
            yield kind, {**fields, "logprobs": wire.logprobs_json(piece.logprobs)}

    @property
    def is_whole(self) -> bool:
        """Not before the reply is: citations and notes come at its end."""
        return False

    def end(self, status: str) -> Iterator[Step]:
        for number, annotation in enumerate(self.annotations):
            fields = {"annotation_index": number, "annotation": annotation}
            yield "output_text.annotation.added", {**self._at, **fields}
        (kind, fields), *others = super().end(status)
        yield kind, {**fields, "logprobs": wire.logprobs_json(self.logprobs)}
        yield from others

    def _part(self) -> dict[str, Any]:
        return wire.text_part(self.text, self.annotations, self.logprobs)

    def _item(self, status: str) -> dict[str, Any]:
        return wire.message(self.id, status, self._part())


class _RefusalItem(_TextItem):
    prefix = "msg"
    kind = text_name = "refusal"

    @property
    def is_whole(self) -> bool:
        """Nothing is put in at its end."""
        return True

    def _item(self, status: str) -> dict[str, Any]:
        return wire.message(self.id, status, self._part())


class _CallItem(OutputItem):
    prefix = "fc"

    def begin(self) -> Iterator[Step]:
        yield self._added(self._item("in_progress"))

    def write(self, piece: Piece) -> Iterator[Step]:
        self.text += piece.text
        if piece.text:
            yield "function_call_arguments.delta", {**self._at, "delta": piece.text}

    @property
    def is_whole(self) -> bool:
        """By its arguments: some servers write pieces of several calls in turn."""
        return is_whole(self.text)

    def end(self, status: str) -> Iterator[Step]:
        fields = {"name": self.first.name, "arguments": self.text}
        yield "function_call_arguments.done", {**self._at, **fields}
        yield self._done(self._item(status))

    @property
    def _at(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.index}

    def _item(self, status: str) -> dict[str, Any]:
        return wire.function_call(self.id, status, ToolCall(self.first.call_id, self.first.name, self.text))


_TEXT_ITEMS: dict[str | int, type[OutputItem]] = {
    "reasoning": _ReasoningItem,
    "message": MessageItem,
    "refusal": _RefusalItem,
}


def new_item(index: int, first: Piece) -> OutputItem:
    """The item that begins with this piece."""
    return _TEXT_ITEMS.get(first.of, _CallItem)(index, first)
