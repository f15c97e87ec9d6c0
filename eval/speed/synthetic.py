"""Made-up texts and vectors to measure speed with; of quality they say nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np

from ragkit.protocols import Embedder
from ragkit.records import FloatArray, Passage

# Words an abstract: log-normal with median 200, as in collections of scientific abstracts.
_MEDIAN_WORDS, _LOG_SPREAD = 200, 0.37
_WORDS_A_SENTENCE = 22
_NUM_CONTENT_WORDS = 4000
_COMMON = ["the", "of", "and", "in", "to", "a", "with", "for", "was", "by", "that", "is", "were", "on"]
# Made-up words cost about three tokens each; this share brings a text to the 1.6 tokens a word of abstracts.
_COMMON_SHARE = 0.72
_ONSETS = ["b", "c", "d", "f", "g", "l", "m", "n", "p", "r", "s", "t", "v", "tr", "pl", "st"]
_RHYMES = ["a", "e", "i", "o", "u", "an", "er", "in", "on", "al", "is", "ent"]
_FEWEST_WORDS, _MOST_WORDS, _BLOCK = 4, 8, 1000
_ENDINGS = ["", "", "s", "ed", "ing", "tion", "ic", "ity"]


def synthetic_texts(count: int, seed: int = 0) -> list[str]:
    """Texts of pronounceable made-up words, as long and as costly in tokens as scientific abstracts."""
    rng = np.random.default_rng(seed)
    words = np.array(_COMMON + _content_words(rng))
    frequency = 1.0 / np.arange(1, _NUM_CONTENT_WORDS + 1)
    shares = np.concatenate(
        [
            np.full(len(_COMMON), _COMMON_SHARE / len(_COMMON)),
            (1 - _COMMON_SHARE) * frequency / frequency.sum(),
        ]
    )
    lengths = np.exp(rng.normal(np.log(_MEDIAN_WORDS), _LOG_SPREAD, count)).round().astype(int).clip(5, 1000)
    return [_sentences(words[rng.choice(len(words), length, p=shares)].tolist()) for length in lengths]


def short_texts(start: int, stop: int, seed: int = 0) -> list[str]:
    """Texts `start` to `stop` of an endless list: one sentence of 4 to 8 words, some common, most rare."""
    words = np.array([*_COMMON, *_content_words(np.random.default_rng(seed))])
    texts: list[str] = []
    for block in range(start // _BLOCK, -(-stop // _BLOCK)):
        rng = np.random.default_rng((seed, block))
        # Log-uniform ranks: Zipf's law.
        ranks = (len(words) ** rng.random((_BLOCK, _MOST_WORDS))).astype(int) - 1
        lengths = rng.integers(_FEWEST_WORDS, _MOST_WORDS + 1, _BLOCK)
        texts += [
            " ".join(row[:length].tolist()).capitalize() + "."
            for row, length in zip(words[ranks], lengths, strict=True)
        ]
    first = start // _BLOCK * _BLOCK
    return texts[start - first : stop - first]


def _content_words(rng: np.random.Generator) -> list[str]:
    syllables = ["".join(parts) for parts in product(_ONSETS, _RHYMES)]
    picks = rng.integers(len(syllables), size=(_NUM_CONTENT_WORDS, 2))
    endings = rng.integers(len(_ENDINGS), size=_NUM_CONTENT_WORDS)
    return [syllables[i] + syllables[j] + _ENDINGS[e] for (i, j), e in zip(picks, endings, strict=True)]


def _sentences(words: list[str]) -> str:
    starts = range(0, len(words), _WORDS_A_SENTENCE)
    return " ".join(" ".join(words[at : at + _WORDS_A_SENTENCE]).capitalize() + "." for at in starts)


class RandomPassageEmbedder:
    """Embeds queries by another embedder and gives passages random unit rows.

    For timing a search over many passages without embedding them all: an exact search takes as long
    over random vectors. The row of a passage depends on its text alone.
    """

    metric: Literal["cosine"] = "cosine"

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def dim(self) -> int:
        return self._embedder.dim

    @property
    def fingerprint(self) -> str:
        return f"random passages, queries by {self._embedder.fingerprint}"

    def embed_queries(self, texts: Sequence[str]) -> FloatArray:
        """float32 (len(texts), dim): the other embedder's."""
        return self._embedder.embed_queries(texts)

    def embed_passages(self, passages: Sequence[Passage]) -> FloatArray:
        """float32 (len(passages), dim), rows of unit length."""
        rows = np.empty((len(passages), self.dim), np.float32)
        for row, passage in zip(rows, passages, strict=True):
            digest = hashlib.sha256(passage.titled_text.encode()).digest()
            row[:] = np.random.default_rng(int.from_bytes(digest[:8])).standard_normal(self.dim, np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows
