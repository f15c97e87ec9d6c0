"""Keeping the shards of token vectors few, as `ragkit.indexers.shards` does for those of vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ragkit.errors import CorpusDamagedError
from ragkit.indexers.catalogue import Catalogue, StoredFile
from ragkit.indexers.shards import groups_to_rewrite
from ragkit.indexers.vectors.token_coding import CodedRows
from ragkit.indexers.vectors.token_vectors import KINDS, TokenShard, TokenVectors, write_coded
from ragkit.indexers.vectors.vector_shards import check_unaltered
from ragkit.records import KeyArray


def token_files(catalogue: Catalogue) -> list[StoredFile]:
    """The files of all shards of token vectors in the current state."""
    return [file for kind in KINDS for file in catalogue.files(kind)]


def merge_token_shards(corpus: Path, catalogue: Catalogue, share: float) -> None:
    """Rewrite shards as `groups_to_rewrite` says.

    Rows are copied as they are coded, one passage at a time; those of dead passages are left behind.

    Raises:
        CorpusDamagedError: shards are of different types, or a file is damaged.
    """
    files = token_files(catalogue)
    shards = TokenVectors.open(corpus, files).shards
    for group in groups_to_rewrite([shard.keys for shard in shards], catalogue, share):
        _rewrite(corpus, catalogue, files, [shards[i] for i in group])


def _rewrite(corpus: Path, catalogue: Catalogue, files: Sequence[StoredFile], old: Sequence[TokenShard]) -> None:
    dtypes = sorted({str(shard.values.dtype) for shard in old})
    if len(dtypes) > 1:
        raise CorpusDamagedError(f"token vectors are stored as {' and '.join(dtypes)}; index into a new corpus")
    check_unaltered(corpus, [file for file in files if file.generation in {shard.generation for shard in old}])
    places = _living(old, catalogue.dead_keys())
    lengths = [int(shard.offsets[place + 1] - shard.offsets[place]) for shard, place in places]
    keys = np.array([shard.keys[place] for shard, place in places], np.int64)
    generations = {shard.generation for shard in old}
    with catalogue.transaction() as generation:
        catalogue.drop_files([file for file in files if file.generation in generations])
        if places:
            for file in write_coded(corpus, generation, keys, lengths, _rows(places)):
                catalogue.add_file(file)


def _living(shards: Sequence[TokenShard], dead: KeyArray) -> list[tuple[TokenShard, int]]:
    """Shard and place of each passage that is not dead, by key."""
    return [(shard, int(place)) for shard in shards for place in np.flatnonzero(~np.isin(shard.keys, dead))]


def _rows(places: list[tuple[TokenShard, int]]) -> Iterator[CodedRows]:
    for shard, place in places:
        yield shard.rows(place)
