"""BM25 over passages, by bm25s."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import bm25s
import numpy as np

from ragkit.config import LexicalConfig
from ragkit.indexers.terms import TermAnalyzer, detect_language
from ragkit.indexers.top_k import best_of
from ragkit.records import FloatArray, KeyArray

_KEYS_FILE = "keys.npy"
_SETTINGS_FILE = "settings.json"
_DETECTION_SAMPLE = 500


class Bm25Index:
    """A `LexicalIndex` with Lucene's BM25 (Robertson et al. 1995; Kamphuis et al. 2020 on the variants).

    The term weights are computed when the index is built, so a search adds up postings.
    """

    def __init__(self, keys: KeyArray, analyzer: TermAnalyzer, weights: Any | None) -> None:
        self._keys = keys
        self._analyzer = analyzer
        self._weights = weights

    @classmethod
    def build(cls, keys: KeyArray, texts: Sequence[str], config: LexicalConfig) -> Bm25Index:
        """Index one text for each key; language "auto" is decided from up to 500 texts spread evenly."""
        language = config.language
        if language == "auto":
            language = detect_language(texts[:: max(1, len(texts) // _DETECTION_SAMPLE)])
        analyzer = TermAnalyzer(language, config.ngram)
        documents, vocabulary = _number_terms(analyzer.terms(text) for text in texts)
        if not vocabulary:
            return cls(keys, analyzer, None)
        weights = bm25s.BM25(k1=config.k1, b=config.b, method="lucene")
        weights.index((documents, vocabulary), show_progress=False)
        return cls(keys, analyzer, weights)

    @property
    def language(self) -> str:
        """The language the texts were taken for."""
        return self._analyzer.language

    def __len__(self) -> int:
        return len(self._keys)

    def search(self, queries: Sequence[str], k: int, among: KeyArray | None = None) -> tuple[FloatArray, KeyArray]:
        """As `LexicalIndex.search`."""
        refused = None if among is None else ~np.isin(self._keys, among)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        keys = np.full((len(queries), k), -1, np.int64)
        for i, query in enumerate(queries):
            all_scores = self._scores(query)
            if refused is not None:
                all_scores[refused] = 0
            found = np.flatnonzero(all_scores > 0)
            scores[i], keys[i] = best_of(all_scores[found], self._keys[found], k)
        return scores, keys

    def _scores(self, query: str) -> FloatArray:
        if self._weights is None:
            return np.zeros(len(self), np.float32)
        terms = self._weights.get_tokens_ids(self._analyzer.terms(query))
        scores: FloatArray = self._weights.get_scores_from_ids(terms)
        return scores

    def save(self, folder: Path) -> None:
        """Write the index into a folder of its own."""
        folder.mkdir(parents=True)
        np.save(folder / _KEYS_FILE, self._keys)
        settings = {"language": self._analyzer.language, "ngram": self._analyzer.ngram}
        (folder / _SETTINGS_FILE).write_text(json.dumps(settings), "utf-8")
        if self._weights is not None:
            self._weights.save(folder / "bm25s", show_progress=False)

    @classmethod
    def load(cls, folder: Path) -> Bm25Index:
        """Open a saved index; the postings stay on disk, memory-mapped."""
        settings = json.loads((folder / _SETTINGS_FILE).read_text("utf-8"))
        weights = None
        if (folder / "bm25s").exists():
            weights = bm25s.BM25.load(folder / "bm25s", mmap=True, show_progress=False)
        return cls(np.load(folder / _KEYS_FILE), TermAnalyzer(**settings), weights)


def _number_terms(documents: Iterable[list[str]]) -> tuple[list[list[int]], dict[str, int]]:
    vocabulary: dict[str, int] = {}
    numbered = [[vocabulary.setdefault(term, len(vocabulary)) for term in terms] for terms in documents]
    return numbered, vocabulary
