"""The BM25 index on disk: a folder named by its generation, made from the catalogue and replaced as a whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import bm25s
import numpy as np

from ragkit.config import LexicalConfig
from ragkit.files import sync
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.store import SqlitePassageStore
from ragkit.indexers.terms import TermAnalyzer, detect_language
from ragkit.indexers.top_k import best_of
from ragkit.indexers.vectors import stored_file
from ragkit.records import FloatArray, KeyArray

FOLDER = "lexical"
KIND = "lexical"


def refresh_lexical(corpus: Path, catalogue: Catalogue, config: LexicalConfig) -> None:
    """Write the BM25 index of the current passages, unless it is there already."""
    settings = json.loads(config.model_dump_json())
    stored = catalogue.files(KIND)
    if stored and stored[0].generation == catalogue.generation and catalogue.settings.get("lexical") == settings:
        return
    index = build_lexical(catalogue, config)
    with catalogue.transaction() as generation:
        catalogue.drop_files(stored)
        catalogue.set_settings({**catalogue.settings, "lexical": settings})
        folder = _save(index, corpus / FOLDER, generation)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                catalogue.add_file(stored_file(corpus, path, KIND, generation))


def build_lexical(catalogue: Catalogue, config: LexicalConfig) -> EagerBm25Index:
    """Make the index of the current passages in memory."""
    passages = SqlitePassageStore(catalogue).all_texts()
    keys = np.fromiter((passage.key for passage in passages), np.int64, len(passages))
    return EagerBm25Index.build(keys, [passage.titled_text for passage in passages], config)


def open_lexical(corpus: Path, catalogue: Catalogue, config: LexicalConfig) -> EagerBm25Index:
    """Open the index on disk; where a killed writer left it behind the catalogue, make it in memory instead."""
    stored = catalogue.files(KIND)
    if stored and stored[0].generation == catalogue.generation:
        return EagerBm25Index.load(corpus / FOLDER / f"{stored[0].generation:08d}")
    remembered = catalogue.settings.get("lexical")
    return build_lexical(catalogue, LexicalConfig.model_validate(remembered) if remembered else config)


def _save(index: EagerBm25Index, parent: Path, generation: int) -> Path:
    final, temporary = parent / f"{generation:08d}", parent / f".{generation:08d}.{os.getpid()}.tmp"
    # Left by a writer that was killed between renaming and committing: no state names it.
    shutil.rmtree(final, ignore_errors=True)
    index.save(temporary)
    for path in (*temporary.rglob("*"), temporary):
        sync(path)
    temporary.rename(final)
    sync(parent)
    sync(parent.parent)
    return final


_KEYS_FILE = "keys.npy"
_SETTINGS_FILE = "settings.json"
_DETECTION_SAMPLE = 500


class EagerBm25Index:
    """A `LexicalIndex` with Lucene's BM25 (Robertson et al. 1995; Kamphuis et al. 2020 on the variants).

    The term weights are computed when the index is built, so a search adds up postings.
    """

    def __init__(self, keys: KeyArray, analyzer: TermAnalyzer, weights: Any | None) -> None:
        self._keys = keys
        self._analyzer = analyzer
        self._weights = weights

    @classmethod
    def build(cls, keys: KeyArray, texts: Sequence[str], config: LexicalConfig) -> EagerBm25Index:
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
    def load(cls, folder: Path) -> EagerBm25Index:
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
