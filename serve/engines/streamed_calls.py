"""Calls of functions in a stream of a model's server, whichever way it numbers them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ragkit.records import ToolCallDelta
from ragkit.serve.engines.chat_json import calls_in, is_whole, new_call_id


@dataclass
class _Call:
    """What of a call has come. id: the server's own. number: None while it has no name, and is held back."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    number: int | None = None


class StreamedCalls:
    """The calls of one streamed reply, numbered over all of its deltas; each has id and name in its first piece.

    Servers that number none, or all alike, begin each with an id of its own, with another name, or behind a call
    that is whole. Some repeat id and name in every piece, some tell them late.
    """

    def __init__(self) -> None:
        # By the server's number the call that it means now; by number and id all that have one.
        self._open: dict[int, _Call] = {}
        self._known: dict[tuple[int, str], _Call] = {}
        self._numbers: set[int] = set()

    def pieces_of(self, delta: Any) -> tuple[ToolCallDelta, ...]:
        """The pieces of calls in a delta; what is no call of a function is passed over."""
        pieces = (self._placed(sent) for sent in calls_in(delta))
        return tuple(piece for piece in pieces if piece is not None)

    def _placed(self, sent: ToolCallDelta) -> ToolCallDelta | None:
        call = self._call_of(sent)
        call.id, call.name = call.id or sent.id, call.name or sent.name
        call.arguments += sent.arguments
        if call.id:
            self._known[sent.index, call.id] = call
        if call.number is not None:
            return ToolCallDelta(call.number, "", "", sent.arguments)
        if not call.name:
            return None
        call.number = self._number(sent.index)
        return ToolCallDelta(call.number, call.id or new_call_id(), call.name, call.arguments)

    def _call_of(self, sent: ToolCallDelta) -> _Call:
        call = self._known.get((sent.index, sent.id)) or self._open.get(sent.index)
        if call is None or _begins_another(call, sent):
            call = _Call()
        self._open[sent.index] = call
        return call

    def _number(self, wanted: int) -> int:
        number = max(self._numbers) + 1 if wanted in self._numbers else wanted
        self._numbers.add(number)
        return number


def _begins_another(call: _Call, sent: ToolCallDelta) -> bool:
    if not (sent.name and call.name):
        return bool(sent.name and sent.id and call.id) and sent.id != call.id
    if sent.id and call.id:
        return sent.id != call.id
    # An empty piece behind a whole call is the last of that.
    return sent.name != call.name or (bool(sent.arguments) and is_whole(call.arguments))
