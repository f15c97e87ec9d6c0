"""Merging lexical shards into one file, block by block; passages that are dead are left behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ragkit.errors import CorpusDamagedError
from ragkit.indexers.lexical.lexical_shards import Flags, LexicalShard, shard_writer
from ragkit.indexers.lexical.section_file import damaged
from ragkit.indexers.lexical.vocabulary import IntArray, merge_vocabularies
from ragkit.records import KeyArray

# Postings that are in memory at once (about 100 bytes each while they are placed).
_BLOCK = 2_000_000


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the shards that are merged.

    new_rows: uint32 (rows of the shard,). kept: int64 (t,), numbers of its terms that have living postings;
    sizes: how many each of them has. terms: int64 (t,), their numbers in the merged vocabulary, ascending.
    """

    shard: LexicalShard
    alive: Flags | None
    new_rows: NDArray[np.uint32]
    kept: IntArray
    sizes: IntArray
    terms: IntArray


def merge_shards(shards: Sequence[LexicalShard], dead: KeyArray, file: BinaryIO) -> None:
    """Write one shard that holds the living passages of several; dead: int64, ascending.

    Beside the shards, the passages' keys and the vocabulary are in memory, and a block of postings.

    Raises:
        CorpusDamagedError: a shard makes no sense, or the shards were made with different settings.
    """
    shards = sorted((shard for shard in shards if len(shard)), key=lambda shard: int(shard.keys[0])) or shards[:1]
    like = common_settings(shards)
    for shard in shards:
        if len(shard.rows) and (shard.starts[0] or (np.diff(shard.starts) <= 0).any()):
            raise damaged(shard.name, "its postings are not in order")
    alive = [shard.alive(dead) for shard in shards]
    keys, lengths, votes = (
        np.concatenate([_living(getattr(shard, name), mask) for shard, mask in zip(shards, alive, strict=True)])
        for name in ("keys", "lengths", "votes")
    )
    if (np.diff(keys) <= 0).any():
        raise damaged(", ".join(shard.name for shard in shards), "their keys are not in order")
    sizes = [_living_sizes(shard, mask) for shard, mask in zip(shards, alive, strict=True)]
    vocabulary, terms = merge_vocabularies([shard.vocabulary for shard in shards], [own > 0 for own in sizes])
    parts = _parts(shards, alive, sizes, terms)
    starts = np.zeros(len(vocabulary) + 1, np.int64)
    for part in parts:
        starts[part.terms + 1] += part.sizes
    np.cumsum(starts, out=starts)
    counts_type = np.result_type(*(shard.counts.dtype for shard in shards))
    writer = shard_writer(file, like, keys, lengths, votes, vocabulary, starts, counts_type)
    for rows, counts in _postings(parts, starts, counts_type):
        writer.write("rows", rows)
        writer.write("counts", counts)


def common_settings(shards: Sequence[LexicalShard]) -> tuple[str, int]:
    """Language and ngram that all shards were made with. Raises CorpusDamagedError where they differ."""
    found = {(shard.language, shard.ngram) for shard in shards}
    if len(found) != 1:
        names = ", ".join(f"{shard.name} ({shard.language}, {shard.ngram})" for shard in shards)
        raise CorpusDamagedError(
            f"lexical shards of one state have different settings: {names}; run ragkit verify"
        )
    return found.pop()


def _living(values: NDArray[Any], alive: Flags | None) -> NDArray[Any]:
    return values if alive is None else values[alive]


def _living_sizes(shard: LexicalShard, alive: Flags | None) -> IntArray:
    """Living postings of each term."""
    if alive is None or not len(shard.rows):
        return np.diff(shard.starts)
    sizes = [
        # Every term of a shard has a posting, so no segment of reduceat is empty.
        np.add.reduceat(
            _taken(shard, alive, shard.rows[shard.starts[first] : shard.starts[last]]),
            shard.starts[first:last] - shard.starts[first],
            dtype=np.int64,
        )
        for first, last in _blocks(shard.starts)
    ]
    return np.concatenate(sizes)


def _taken(shard: LexicalShard, values: NDArray[Any], rows: NDArray[np.uint32]) -> NDArray[Any]:
    try:
        return values[rows]
    except IndexError as error:
        raise damaged(shard.name, error) from error


def _parts(
    shards: Sequence[LexicalShard],
    alive: Sequence[Flags | None],
    sizes: Sequence[IntArray],
    terms: Sequence[IntArray],
) -> list[_Part]:
    parts: list[_Part] = []
    first = 0
    for shard, mask, own_sizes, own_terms in zip(shards, alive, sizes, terms, strict=True):
        places = np.arange(len(shard)) if mask is None else np.cumsum(mask) - 1
        kept = np.flatnonzero(own_sizes)
        new_rows = (places + first).astype(np.uint32)
        parts.append(_Part(shard, mask, new_rows, kept, own_sizes[kept], own_terms))
        first += len(shard) if mask is None else int(np.count_nonzero(mask))
    return parts


def _postings(
    parts: Sequence[_Part], starts: IntArray, counts_type: np.dtype[Any]
) -> Iterator[tuple[NDArray[np.uint32], NDArray[Any]]]:
    """Rows and counts of the merged shard, in order, a block of terms at a time."""
    for first, last in _blocks(starts):
        rows = np.empty(starts[last] - starts[first], np.uint32)
        counts = np.empty(len(rows), counts_type)
        # Where in the block the next posting of each term goes.
        nexts = starts[first:last] - starts[first]
        for part in parts:
            begin, end = np.searchsorted(part.terms, [first, last])
            if begin == end:
                continue
            terms, sizes = part.terms[begin:end] - first, part.sizes[begin:end]
            own_rows, own_counts = _postings_of(part, begin, end)
            places = np.repeat(nexts[terms] - (np.cumsum(sizes) - sizes), sizes) + np.arange(len(own_rows))
            rows[places] = own_rows
            counts[places] = own_counts
            nexts[terms] += sizes
        yield rows, counts


def _postings_of(part: _Part, begin: int, end: int) -> tuple[NDArray[np.uint32], NDArray[Any]]:
    """The living postings of a part's kept terms from the begin-th on."""
    shard = part.shard
    span = slice(shard.starts[part.kept[begin]], shard.starts[part.kept[end - 1] + 1])
    rows, counts = shard.rows[span], shard.counts[span]
    if part.alive is not None:
        living = _taken(shard, part.alive, rows)
        rows, counts = rows[living], counts[living]
    return _taken(shard, part.new_rows, rows), counts


def _blocks(starts: IntArray) -> Iterator[tuple[int, int]]:
    """Ranges of terms with about so many postings together as fit a block."""
    first, num_terms = 0, len(starts) - 1
    while first < num_terms:
        last = int(np.searchsorted(starts, starts[first] + _BLOCK, side="right")) - 1
        last = min(max(last, first + 1), num_terms)
        yield first, last
        first = last
