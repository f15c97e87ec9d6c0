"""The asker's own words cut to fit: system messages first, the end of the question last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ragkit.errors import ContextLengthError
from ragkit.protocols import Engine
from ragkit.records import ChatMessage
from ragkit.serve.prompting.prompts import Layout, prompt_messages
from ragkit.serve.prompting.text_cuts import longest, word_cuts

# Of the room beside the instructions: what is kept for sources, and what the question has before system messages.
_FOR_SOURCES = 0.25
_FOR_QUESTION = 0.75
_LEAST_ROOM = 8


@dataclass(frozen=True, slots=True)
class OwnText:
    """Question and history as they fit, and what was cut."""

    question: str
    history: tuple[ChatMessage, ...]
    notes: tuple[str, ...]


def shorten_own_text(
    question: str, history: Sequence[ChatMessage], engine: Engine, room: int, layout: Layout
) -> OwnText:
    """Cut the question's end and system messages, the longest first, so that three quarters of the room hold them.

    The question has three quarters of these, all of them where there are no system messages. Turns are left alone.

    Raises:
        ContextLengthError: the instructions and the layout's images leave no room.
    """
    return _OwnText(question, history, engine, room, layout).shortened()


class _OwnText:
    def __init__(
        self, question: str, history: Sequence[ChatMessage], engine: Engine, room: int, layout: Layout
    ) -> None:
        self._question, self._history, self._engine, self._layout = question, list(history), engine, layout
        self._notes: list[str] = []
        base = self._size("", [])
        if room - base < _LEAST_ROOM:
            raise ContextLengthError(
                f"the instructions{' and images' if layout.images else ''} alone have {base} tokens, and the "
                f"context of {engine.name} has {room} for the prompt: use a model with a longer context"
            )
        self._most = base + int((room - base) * (1 - _FOR_SOURCES))
        self._most_for_question = base + int((self._most - base) * _FOR_QUESTION)

    def shortened(self) -> OwnText:
        system = [message for message in self._history if message.role == "system"]
        if self._size(self._question, system) > self._most:
            self._cut_question(self._most_for_question if system else self._most)
            self._cut_system()
        return OwnText(self._question, tuple(self._history), tuple(self._notes))

    def _cut_question(self, most: int) -> None:
        whole = self._question
        if self._size(whole, []) <= most:
            return
        length = longest(word_cuts(whole), lambda n: self._size(whole[:n], []) <= most)
        self._question = whole[:length]
        self._notes.append(
            f"The question was cut to its first {length} of {len(whole)} characters to fit the engine's context."
        )

    def _cut_system(self) -> None:
        places = [i for i, message in enumerate(self._history) if message.role == "system"]
        for place in sorted(places, key=lambda i: -len(self._history[i].content)):
            if self._fits_with_system():
                return
            self._cut_message(place)

    def _cut_message(self, place: int) -> None:
        message = self._history[place]

        def fits(length: int) -> bool:
            self._history[place] = replace(message, content=message.content[:length])
            return self._fits_with_system()

        length = longest(word_cuts(message.content), fits)
        self._history[place] = replace(message, content=message.content[:length])
        self._notes.append(
            f"A system message was cut to its first {length} of {len(message.content)} characters to fit the "
            "engine's context."
        )

    def _fits_with_system(self) -> bool:
        system = [message for message in self._history if message.role == "system"]
        return self._size(self._question, system) <= self._most

    def _size(self, question: str, system: Sequence[ChatMessage]) -> int:
        return self._engine.count_tokens(prompt_messages(question, (), system, self._layout))
