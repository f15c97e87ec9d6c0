"""What follows a change of a corpus: few and living shards, their indexes, and no left-over files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ragkit.config import IndexConfig, LexicalConfig
from ragkit.files import num_bytes_below
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.lexical.lexical_upkeep import keep_lexical
from ragkit.indexers.page_images import sweep_loose_pictures, sweep_pictures
from ragkit.indexers.shards import forget_dead, merge_shards, sweep
from ragkit.indexers.unfinished import unfinished_picture_names
from ragkit.indexers.unfinished_vectors import drop_unfinished_vectors
from ragkit.indexers.vectors.sample_queries import EmbedderOf
from ragkit.indexers.vectors.token_shards import merge_token_shards
from ragkit.indexers.vectors.vector_indexes import IndexUpdate
from ragkit.indexers.vectors.vector_shards import SPACES


def remove_documents(catalogue: Catalogue, ids: Iterable[str]) -> list[str]:
    """Take documents out of the catalogue in one commit. Returns the ids that were there."""
    known = catalogue.known_documents(ids)
    if known:
        with catalogue.transaction():
            for id_ in known:
                catalogue.remove_document(id_)
    return list(known)


def merge_all(
    corpus: Path, catalogue: Catalogue, index: IndexConfig, lexical: LexicalConfig, *, during_run: bool = False
) -> None:
    """Merge shards of every kind as `groups_to_rewrite` says.

    during_run: leave for its end what would be done again and again: shards that have a FAISS index, and the
    language of the words.
    """
    before = catalogue.generation
    for space in SPACES:
        merge_shards(corpus, catalogue, space, index.compact_share, keep_indexed=during_run)
    merge_token_shards(corpus, catalogue, index.compact_share)
    keep_lexical(corpus, catalogue, lexical, index.compact_share, keep_language=during_run)
    if catalogue.generation != before:
        forget_dead(corpus, catalogue)
        sweep(corpus, catalogue)


def keep_up(
    corpus: Path,
    catalogue: Catalogue,
    index: IndexConfig,
    lexical: LexicalConfig,
    embedder_of: EmbedderOf,
    tell: Callable[[], None] = lambda: None,
) -> list[str]:
    """Bring up to date what is derived from what was committed. Returns what could not be had, a sentence each.

    embedder_of, tell: as `IndexUpdate`.
    """
    sweep_loose_pictures(corpus, catalogue, unfinished_picture_names(corpus))
    merge_all(corpus, catalogue, index, lexical)
    update = IndexUpdate(catalogue, index, embedder_of, tell)
    for space in SPACES:
        update.run(space)
    sweep(corpus, catalogue)
    return update.problems


@dataclass(frozen=True, slots=True)
class CompactReport:
    """num_dropped: removed passages of which files held rows until now. Bytes: of all files of the corpus.

    warnings: what could not be had, such as an index that FAISS cannot build.
    """

    num_dropped: int
    num_bytes_before: int
    num_bytes_after: int
    warnings: list[str]


def compact(
    corpus: Path,
    catalogue: Catalogue,
    index: IndexConfig,
    lexical: LexicalConfig,
    embedder_of: EmbedderOf,
    tell: Callable[[], None] = lambda: None,
) -> CompactReport:
    """Write every kind of shard anew as one, without dead rows, with the index that the configuration wants."""
    before, dropped = num_bytes_below(corpus), len(catalogue.dead_keys())
    whole = index.model_copy(update={"compact_share": 0.0})
    warnings = keep_up(corpus, catalogue, whole, lexical, embedder_of, tell)
    sweep_pictures(corpus, catalogue, unfinished_picture_names(corpus))
    drop_unfinished_vectors(corpus)
    catalogue.shrink()
    return CompactReport(dropped, before, num_bytes_below(corpus), warnings)
