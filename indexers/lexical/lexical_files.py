"""The lexical shards of a corpus: written in the commit of their passages, merged, opened, made anew.

One shard a commit, in one file named by its generation. What a corpus's shards are made for (language, ngram)
stands in each of them and is the same for all shards of a state: `lexical_language` says when it changes. k1 and
b are in no file. The caller says which passages are dead: int64 keys, ascending, of passages that the shards hold
and the corpus does not; others among them do no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ragkit.config import LexicalConfig
from ragkit.files import atomic_write
from ragkit.indexers.catalogue import Catalogue, StoredFile
from ragkit.indexers.lexical.bm25_index import Bm25Index
from ragkit.indexers.lexical.lexical_language import build_in_language, decide_language
from ragkit.indexers.lexical.lexical_merge import common_settings, merge_shards
from ragkit.indexers.lexical.lexical_shards import LexicalShard, open_shard, save_shard
from ragkit.indexers.lexical.terms import TermAnalyzer, detect_language
from ragkit.indexers.store import SqlitePassageStore
from ragkit.indexers.vectors.vector_shards import check_unaltered, stored_file
from ragkit.records import KeyArray

FOLDER = "lexical"
KIND = "lexical_shard"
# Passages whose texts are in memory at once while all shards are made anew.
_BATCH = 16_384


def analyzer_for(
    corpus: Path, files: Sequence[StoredFile], texts: Sequence[str], config: LexicalConfig
) -> TermAnalyzer:
    """What makes the next commit's terms: as the shards that there are, else as settings and texts say."""
    if files:
        return TermAnalyzer(*common_settings([_open(corpus, file) for file in files[-1:]]))
    return TermAnalyzer(detect_language(texts) if config.language == "auto" else config.language, config.ngram)


def write_built_shard(corpus: Path, generation: int, shard: LexicalShard) -> StoredFile:
    """Write a shard whose texts were cut into terms before the commit began."""
    path = _path(corpus, generation)
    with atomic_write(path) as file:
        save_shard(shard, file)
    return stored_file(corpus, path, KIND, generation)


def open_shards(corpus: Path, files: Sequence[StoredFile]) -> list[LexicalShard]:
    """The shard of each file, mapped; raises as `open_lexical`."""
    return [_open(corpus, file) for file in files]


def merge_lexical(corpus: Path, generation: int, files: Sequence[StoredFile], dead: KeyArray) -> StoredFile:
    """Write one shard in place of several, without their dead passages.

    Raises:
        CorpusDamagedError: a file is damaged.
    """
    check_unaltered(corpus, files)
    path = _path(corpus, generation)
    with atomic_write(path) as file:
        merge_shards([_open(corpus, old) for old in files], dead, file)
    return stored_file(corpus, path, KIND, generation)


def must_rewrite(corpus: Path, files: Sequence[StoredFile], dead: KeyArray, config: LexicalConfig) -> bool:
    """Whether the shards were made for another language or ngram than settings and living passages want now."""
    shards = [_open(corpus, file) for file in files]
    return bool(shards) and common_settings(shards) != (decide_language(shards, dead, config), config.ngram)


def rewrite_all(corpus: Path, catalogue: Catalogue, generation: int, config: LexicalConfig) -> StoredFile:
    """Write one shard of all passages of text, from nothing but the catalogue.

    For `must_rewrite`, for repair, and for a corpus of a former format. The counts of all passages (about 5 bytes
    a posting) are in memory meanwhile, and the texts of some.
    """
    path = _path(corpus, generation)
    shards = build_in_language(lambda: _texts(catalogue), config)
    with atomic_write(path) as file:
        merge_shards(shards, np.zeros(0, np.int64), file)
    return stored_file(corpus, path, KIND, generation)


def open_lexical(corpus: Path, files: Sequence[StoredFile], dead: KeyArray, config: LexicalConfig) -> Bm25Index:
    """The index of a state; of the files only the heads are read.

    Raises:
        CorpusDamagedError: a file is damaged, or the shards were made with different settings.
        FileNotFoundError: a file is gone, as when another process has merged it away meanwhile.
    """
    shards = [_open(corpus, file) for file in files]
    return Bm25Index(shards, dead, config) if shards else Bm25Index.build(np.zeros(0, np.int64), [], config)


def _texts(catalogue: Catalogue) -> Iterator[tuple[KeyArray, list[str]]]:
    store = SqlitePassageStore(catalogue)
    keys = store.keys(kind="text")
    for start in range(0, len(keys), _BATCH):
        batch = keys[start : start + _BATCH]
        yield batch, [passage.titled_text for passage in store.passages(batch.tolist())]


def _open(corpus: Path, file: StoredFile) -> LexicalShard:
    return open_shard(corpus / file.path)


def _path(corpus: Path, generation: int) -> Path:
    return corpus / FOLDER / f"{generation:08d}.lexical"
