"""Text from tokens as they come, ended at stop strings."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class TokenText:
    """Turns tokens into pieces of text; half characters are held back until they are whole.

    decode: turns a list of token ids into text. Two decodings from a fixed place are compared,
    because what a token looks like may depend on the one before it.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._shown = ""

    def push(self, token_id: int) -> str:
        """What the new token adds."""
        self._ids.append(token_id)
        text = self._decode(self._ids)
        if text.endswith("\ufffd"):
            return ""
        piece, self._shown = text[len(self._shown) :], text
        if text.endswith("\n"):
            # A line break is a safe place to begin anew; it keeps the work a token takes constant.
            self._ids, self._shown = [token_id], self._decode([token_id])
        return piece

    def finish(self) -> str:
        """What was held back."""
        return self._decode(self._ids)[len(self._shown) :]


class StopFilter:
    """Passes pieces of text on until the first stop string, which is not passed on."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """What surely comes before any stop string."""
        if self.stopped:
            return ""
        text = self._held + piece
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def finish(self) -> str:
        """The rest, once no more text comes."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of the text that may be the beginning of the stop string."""
    lengths = range(min(len(text), len(stop) - 1), 0, -1)
    return next((length for length in lengths if text.endswith(stop[:length])), 0)
