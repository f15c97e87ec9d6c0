"""Which language the terms of a corpus are made for.

With language "auto" every passage votes when its shard is written; the living passages of all shards decide
(`terms.elected_language`), so the decision does not depend on how the corpus came to hold them. The first commit
of a corpus decides by its own passages. Later commits write their shards for the language that the shards have;
where a commit changed the decision, all shards are written anew at the end of the run, in one commit.
Until then searches use the language that the shards have, for the query too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ragkit.config import LexicalConfig
from ragkit.indexers.lexical.lexical_shards import LexicalShard, build_shard
from ragkit.indexers.lexical.section_file import damaged
from ragkit.indexers.lexical.terms import VOTES, TermAnalyzer, detect_language, elected_language
from ragkit.records import KeyArray

Batches = Callable[[], Iterable[tuple[KeyArray, Sequence[str]]]]

_NONE = np.zeros(0, np.int64)


def decide_language(shards: Sequence[LexicalShard], dead: KeyArray, config: LexicalConfig) -> str:
    """The language that the configuration and the living passages want; dead: int64 ascending."""
    if config.language != "auto":
        return config.language
    cast = np.zeros(len(VOTES), np.int64)
    for shard in shards:
        cast += np.asarray(shard.vote_counts)
        withdrawn = shard.votes[shard.rows_of(dead)]
        if withdrawn.max(initial=0) >= len(VOTES):
            raise damaged(shard.name, f"it has votes up to {withdrawn.max()}, of {len(VOTES)}")
        cast -= np.bincount(withdrawn, minlength=len(VOTES))
    return elected_language(cast.tolist())


def build_in_language(batches: Batches, config: LexicalConfig) -> list[LexicalShard]:
    """A shard in memory for each batch of keys (ascending) and texts, all in the language that all decide on.

    The first batch makes the guess; where the others prove it wrong, all are read once more.
    """
    language: str | None = None
    while True:
        shards: list[LexicalShard] = []
        for keys, texts in batches():
            language = language or _language_of(texts, config)
            shards.append(build_shard(keys, texts, TermAnalyzer(language, config.ngram)))
        decided = decide_language(shards, _NONE, config)
        if not shards:
            return [build_shard(_NONE, [], TermAnalyzer(decided, config.ngram))]
        if decided == language:
            return shards
        language = decided


def _language_of(texts: Sequence[str], config: LexicalConfig) -> str:
    return detect_language(texts) if config.language == "auto" else config.language
