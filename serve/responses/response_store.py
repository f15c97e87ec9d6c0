"""Responses that can be asked for again and gone on from, kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from ragkit.records import ChatMessage
from ragkit.serve.guards.caller import current_caller

_MESSAGE_BYTES = 200
_CHARACTER_BYTES = 4
_PIXEL_BYTES = 3


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """body: the response as it was sent. messages: the conversation with its reply. owner: an API key's name."""

    body: dict[str, Any]
    messages: tuple[ChatMessage, ...]
    owner: str
    size: int


class ResponseStore:
    """The newest responses, within a number of them and of bytes; each is seen by the API key that made it alone.

    Bytes are estimated from texts and pixels.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, StoredResponse] = OrderedDict()
        self._size = 0

    def put(self, body: dict[str, Any], body_bytes: int, messages: tuple[ChatMessage, ...]) -> None:
        """Keep a response; the oldest go to make room, and one that alone is too large is not kept."""
        size = body_bytes + sum(map(_size, messages))
        if size > self._most_bytes:
            return
        with self._lock:
            self._kept[body["id"]] = StoredResponse(body, messages, current_caller().name, size)
            self._size += size
            while len(self._kept) > self._most or self._size > self._most_bytes:
                _, oldest = self._kept.popitem(last=False)
                self._size -= oldest.size

    def get(self, response_id: str) -> StoredResponse | None:
        """None where it is not kept, or is another's."""
        with self._lock:
            stored = self._kept.get(response_id)
        return stored if stored is not None and stored.owner == current_caller().name else None

    def remove(self, response_id: str) -> bool:
        """Whether it was there."""
        if self.get(response_id) is None:
            return False
        with self._lock:
            stored = self._kept.pop(response_id, None)
            self._size -= stored.size if stored is not None else 0
        return stored is not None


def _size(message: ChatMessage) -> int:
    pixels = sum(image.width * image.height for image in message.images)
    calls = sum(len(call.arguments) for call in message.tool_calls)
    return _MESSAGE_BYTES + _CHARACTER_BYTES * (len(message.content) + calls) + _PIXEL_BYTES * pixels
