"""What follows a change of a corpus: few and living shards, their indexes, and no left-over files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ragkit.config import IndexConfig, LexicalConfig
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.lexical_files import refresh_lexical
from ragkit.indexers.page_images import sweep_loose_pictures
from ragkit.indexers.shards import forget_dead, merge_shards, sweep
from ragkit.indexers.token_shards import merge_token_shards
from ragkit.indexers.unfinished import unfinished_picture_names
from ragkit.indexers.vector_indexes import update_indexes
from ragkit.indexers.vectors import SPACES


def remove_documents(catalogue: Catalogue, ids: Iterable[str]) -> list[str]:
    """Take documents out of the catalogue in one commit. Returns the ids that were there."""
    known = catalogue.known_documents(ids)
    if known:
        with catalogue.transaction():
            for id_ in known:
                catalogue.remove_document(id_)
    return list(known)


def keep_up(
    corpus: Path,
    catalogue: Catalogue,
    index: IndexConfig,
    lexical: LexicalConfig,
    tell: Callable[[], None] = lambda: None,
) -> None:
    """Bring up to date what is derived from what was committed; `tell` is called before what takes long."""
    sweep_loose_pictures(corpus, catalogue, unfinished_picture_names(corpus))
    for space in SPACES:
        merge_shards(corpus, catalogue, space, index.compact_share)
    merge_token_shards(corpus, catalogue, index.compact_share)
    forget_dead(corpus, catalogue)
    refresh_lexical(corpus, catalogue, lexical)
    if index.kind != "numpy":
        for space in SPACES:
            update_indexes(corpus, catalogue, space, index, tell)
    sweep(corpus, catalogue)
