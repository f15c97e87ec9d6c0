"""Cutting a page's text into passages at sentence ends, measured in the embedder's own tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ragkit.records import SpanArray
from ragkit.sentences import sentence_spans

_WORD = re.compile(r"\w+|[^\w\s]")

# A passage cut out of a page may tokenise into a token more at either edge than it did in place.
_EDGE_TOKENS = 2


class WordTokenizer:
    """Words and punctuation marks as tokens: measures passages where the embedder has no tokenizer."""

    max_tokens = 256

    def token_spans(self, texts: Sequence[str]) -> list[SpanArray]:
        return [_as_spans([match.span() for match in _WORD.finditer(text)]) for text in texts]


def split_text(text: str, tokens: SpanArray, max_tokens: int, overlap_tokens: int) -> list[tuple[int, int]]:
    """Spans of `text`, each of at most `max_tokens` tokens, that end at sentence ends where they can.

    A passage begins with the last whole sentences of the one before it, as many as fit into
    `overlap_tokens`. A sentence longer than `max_tokens` is cut between tokens. Every token is in
    at least one span.

    Args:
        tokens: int32 (n, 2), start and end character of each token of `text`, ascending.
    """
    room = max_tokens - _EDGE_TOKENS if max_tokens > 2 * _EDGE_TOKENS else max_tokens
    pieces = _pieces(text, tokens, room)
    spans: list[tuple[int, int]] = []
    first = 0
    while first < len(pieces):
        last = _fill(pieces, first, room)
        spans.append((pieces[first][0], pieces[last][1]))
        if last + 1 == len(pieces):
            break
        first = _overlap_start(pieces, first, last, min(overlap_tokens, room // 2), room)
    return spans


def _pieces(text: str, tokens: SpanArray, room: int) -> list[tuple[int, int, int]]:
    """Sentences as (start, end, number of tokens); those above `room` in several pieces."""
    pieces: list[tuple[int, int, int]] = []
    sentences = np.asarray(sentence_spans(text), np.int32).reshape(-1, 2)
    # All at once, over a copy in one piece: a search a sentence would take time that grows with the square.
    bounds = np.searchsorted(np.ascontiguousarray(tokens[:, 0]), sentences)
    for (start, end), (low, high) in zip(sentences.tolist(), bounds.tolist(), strict=True):
        if high - low <= room:
            if high > low:
                pieces.append((start, end, high - low))
            continue
        for cut in range(low, high, room):
            stop = min(cut + room, high)
            piece_start = start if cut == low else int(tokens[cut, 0])
            piece_end = end if stop == high else int(tokens[stop - 1, 1])
            pieces.append((piece_start, piece_end, stop - cut))
    return pieces


def _fill(pieces: list[tuple[int, int, int]], first: int, room: int) -> int:
    """The last piece of a passage that begins with piece `first`."""
    total, last = pieces[first][2], first
    while last + 1 < len(pieces) and total + pieces[last + 1][2] <= room:
        last += 1
        total += pieces[last][2]
    return last


def _overlap_start(pieces: list[tuple[int, int, int]], first: int, last: int, overlap: int, room: int) -> int:
    """The piece the next passage begins with: after `first`, and such that piece last + 1 still fits."""
    start, shared = last + 1, 0
    budget = min(overlap, room - pieces[last + 1][2])
    while start - 1 > first and shared + pieces[start - 1][2] <= budget:
        start -= 1
        shared += pieces[start][2]
    return start


def _as_spans(spans: list[tuple[int, int]]) -> SpanArray:
    return np.asarray(spans, np.int32).reshape(-1, 2)
