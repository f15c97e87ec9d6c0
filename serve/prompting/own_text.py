"""The asker's own words cut to fit: system messages first, the end of the question last."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
        """The longest messages go until the others fit; of the last that goes, as much stays as fits."""
        if self._fits_with_system():
            return
        whole = list(self._history)
        system = [i for i, message in enumerate(whole) if message.role == "system"]
        places = sorted(system, key=lambda i: -len(whole[i].content))

        def fits_without(number: int) -> bool:
            gone = set(places[:number])
            self._history = [message for i, message in enumerate(whole) if i not in gone]
            return self._fits_with_system()

        # Found by halving: each look has all messages counted, and there may be thousands.
        number = len(places) - longest(range(1, len(places)), lambda kept: fits_without(len(places) - kept))
        gone, cut = set(places[: number - 1]), places[number - 1]
        if length := self._cut_message(whole, gone, cut):
            self._notes.append(
                f"A system message was cut to its first {length} of {len(whole[cut].content)} characters to fit "
                "the engine's context."
            )
        if left_out := number - bool(length):
            messages = "system message was" if left_out == 1 else "system messages were"
            self._notes.append(f"The {left_out} longest {messages} left out to fit the engine's context.")

    def _cut_message(self, whole: Sequence[ChatMessage], gone: Collection[int], cut: int) -> int:
        """The history without some messages and with the beginning of one; gives how long that is."""
        content = whole[cut].content

        def fits(length: int) -> bool:
            short = replace(whole[cut], content=content[:length])
            shown = [short if i == cut else message for i, message in enumerate(whole) if i not in gone]
            self._history = shown if length else [message for message in shown if message is not short]
            return self._fits_with_system()

        length = longest(word_cuts(content), fits)
        fits(length)
        return length

    def _fits_with_system(self) -> bool:
        system = [message for message in self._history if message.role == "system"]
        return self._size(self._question, system) <= self._most

    def _size(self, question: str, system: Sequence[ChatMessage]) -> int:
        return self._engine.count_tokens(prompt_messages(question, (), system, self._layout))
