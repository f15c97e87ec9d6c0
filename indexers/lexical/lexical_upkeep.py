"""Keeping the lexical shards few, living, and in the language of the corpus."""

from __future__ import annotations

from pathlib import Path

from ragkit.config import LexicalConfig
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.lexical.lexical_files import KIND, merge_lexical, must_rewrite, open_shards, rewrite_all
from ragkit.indexers.shards import groups_to_rewrite


def keep_lexical(
    corpus: Path, catalogue: Catalogue, config: LexicalConfig, share: float, *, keep_language: bool = False
) -> None:
    """Rewrite lexical shards as `groups_to_rewrite` says; all of them where their language is another now.

    keep_language: not that, as while a run goes on in which the language may change again.
    """
    files, dead = catalogue.files(KIND), catalogue.dead_keys()
    if not keep_language and must_rewrite(corpus, files, dead, config):
        rebuild_lexical(corpus, catalogue, config)
        return
    shards = sorted(zip(open_shards(corpus, files), files, strict=True), key=lambda pair: int(pair[0].keys[0]))
    for group in groups_to_rewrite([shard.keys for shard, _ in shards], catalogue, share):
        old = [shards[i] for i in group]
        has_living = any(len(shard) > len(shard.rows_of(dead)) for shard, _ in old)
        with catalogue.transaction() as generation:
            catalogue.drop_files([file for _, file in old])
            if has_living:
                catalogue.add_file(merge_lexical(corpus, generation, [file for _, file in old], dead))


def rebuild_lexical(corpus: Path, catalogue: Catalogue, config: LexicalConfig) -> None:
    """Make one shard of all texts of the catalogue, in place of all that there are."""
    has_texts = bool(catalogue.rows("SELECT 1 FROM passages WHERE kind = 'text' LIMIT 1"))
    with catalogue.transaction() as generation:
        catalogue.drop_files(catalogue.files(KIND))
        if has_texts:
            catalogue.add_file(rewrite_all(corpus, catalogue, generation, config))
