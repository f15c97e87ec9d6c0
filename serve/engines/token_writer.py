"""The tokens that a transformers model writes, as pieces of a reply."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ragkit.records import ChatDelta, Usage
from ragkit.serve.engines.token_text import StopFilter, TokenText


class TokenWriter:
    """A transformers streamer: tokens in, deltas out.

    logprobs: of the tokens written, where `watch` is among the logits processors of the generation; the
    token that ends the reply is not counted, as in the replies of OpenAI's API.
    """

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        ends: frozenset[int],
        stops: Sequence[str],
        put: Callable[[ChatDelta], None],
    ) -> None:
        self.logprobs: list[float] = []
        self._text = TokenText(decode)
        self._stop = StopFilter(stops)
        self._ends = ends
        self._write = put
        self._has_prompt = False
        self._ended = False
        self._num_tokens = 0
        # Rows wait here for their tokens, which on some devices come one step late.
        self._rows: deque[Any] = deque()

    @property
    def stopped(self) -> bool:
        return self._stop.stopped

    def watch(self, _: Any, scores: Any) -> Any:
        """A logits processor that changes nothing; it sees the scores before temperature and top_p."""
        self._rows.append(scores[0].float().log_softmax(-1))
        return scores

    def put(self, value: Any) -> None:
        """Called first with the whole prompt, then with each token."""
        if not self._has_prompt:
            self._has_prompt = True
            return
        for token_id in value.flatten().tolist():
            row = self._rows.popleft() if self._rows else None
            if token_id in self._ends:
                self._ended = True
                continue
            self._num_tokens += 1
            if row is not None:
                self.logprobs.append(float(row[token_id]))
            self._emit(self._stop.push(self._text.push(token_id)))

    def end(self) -> None:
        """Called once after the last token."""
        self._emit(self._stop.push(self._text.finish()) + self._stop.finish())

    def last(self, prompt_tokens: int) -> ChatDelta:
        """The delta that ends the reply."""
        reason = "stop" if self._ended or self.stopped else "length"
        return ChatDelta(finish_reason=reason, usage=Usage(prompt_tokens, self._num_tokens))

    def _emit(self, piece: str) -> None:
        if piece:
            self._write(ChatDelta(piece))
