"""Keeping the shards of token vectors few, as `ragkit.indexers.shards` does for those of vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ragkit.errors import CorpusDamagedError
from ragkit.indexers.catalogue import Catalogue, StoredFile
from ragkit.indexers.shards import first_to_merge
from ragkit.indexers.store import SqlitePassageStore
from ragkit.indexers.token_coding import CodedRows
from ragkit.indexers.token_vectors import KINDS, TokenShard, TokenVectors, write_coded


def token_files(catalogue: Catalogue) -> list[StoredFile]:
    """The files of all shards of token vectors in the current state."""
    return [file for kind in KINDS for file in catalogue.files(kind)]


def merge_token_shards(corpus: Path, catalogue: Catalogue) -> None:
    """Merge the newest shards until each holds more than twice as many passages as all newer ones together.

    Rows are copied as they are coded, one passage at a time; those of removed passages are left behind.

    Raises:
        CorpusDamagedError: shards are of different types, or a file is damaged.
    """
    files = token_files(catalogue)
    generations = sorted({file.generation for file in files})
    shards = TokenVectors.open(corpus, files).shards
    first = first_to_merge([len(shard.keys) for shard in shards])
    if len(shards) - first < 2:
        return
    merged = shards[first:]
    dtypes = sorted({str(shard.values.dtype) for shard in merged})
    if len(dtypes) > 1:
        raise CorpusDamagedError(f"token vectors are stored as {' and '.join(dtypes)}; index into a new corpus")
    places = _living(merged, catalogue)
    lengths = [int(shard.offsets[place + 1] - shard.offsets[place]) for shard, place in places]
    keys = np.array([shard.keys[place] for shard, place in places], np.int64)
    with catalogue.transaction() as generation:
        catalogue.drop_files([file for file in files if file.generation in generations[first:]])
        if places:
            for file in write_coded(corpus, generation, keys, lengths, _rows(places)):
                catalogue.add_file(file)


def _living(shards: Sequence[TokenShard], catalogue: Catalogue) -> list[tuple[TokenShard, int]]:
    """Shard and place of each passage that is still in the catalogue, by key."""
    alive = SqlitePassageStore(catalogue).keys()
    found = [
        (int(shard.keys[place]), shard, int(place))
        for shard in shards
        for place in np.flatnonzero(np.isin(shard.keys, alive))
    ]
    return [(shard, place) for _, shard, place in sorted(found, key=lambda item: item[0])]


def _rows(places: list[tuple[TokenShard, int]]) -> Iterator[CodedRows]:
    for shard, place in places:
        yield shard.rows(place)
