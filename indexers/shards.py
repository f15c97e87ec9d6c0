"""Keeping the vector shards few and living; sweeping files that no state uses."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ragkit.indexers import kept_model
from ragkit.indexers.catalogue import Catalogue, StoredFile
from ragkit.indexers.lexical import lexical_files
from ragkit.indexers.vectors import token_vectors
from ragkit.indexers.vectors.vector_shards import (
    SPACES,
    VectorShard,
    VectorSpace,
    check_unaltered,
    living_parts,
    read_shards,
    rows_of,
    write_shard,
)
from ragkit.records import FloatArray, KeyArray


def merge_shards(
    corpus: Path, catalogue: Catalogue, space: VectorSpace, share: float, *, keep_indexed: bool = False
) -> None:
    """Rewrite shards as `groups_to_rewrite` says; rows of dead passages are left behind.

    Every row is thus rewritten a number of times that grows with the logarithm of the corpus, and
    the number of shards does too.
    """
    files = space_files(catalogue, space)
    shards = read_shards(corpus, space, files)
    indexes = _indexes_by_shard(catalogue)
    if keep_indexed:
        last = max((i for i, shard in enumerate(shards) if shard.generation in indexes), default=-1)
        shards = shards[last + 1 :]
    for group in groups_to_rewrite([shard.keys for shard in shards], catalogue, share):
        old = [shards[i] for i in group]
        generations = {shard.generation for shard in old}
        check_unaltered(
            corpus, [file for file in files if file.kind != space.index_kind and file.generation in generations]
        )
        useless = {path for generation in generations for path in indexes.get(generation, ())}
        with catalogue.transaction() as generation:
            catalogue.drop_files(
                [
                    file
                    for file in files
                    if (file.path in useless if file.kind == space.index_kind else file.generation in generations)
                ]
            )
            _write_merged(corpus, catalogue, space, generation, old)


def _indexes_by_shard(catalogue: Catalogue) -> dict[int, list[str]]:
    """Generation of a shard -> paths of its index files."""
    found: dict[int, list[str]] = {}
    for path, facts in catalogue.file_facts().items():
        if "shard" in facts:
            found.setdefault(int(facts["shard"]), []).append(path)
    return found


def _write_merged(
    corpus: Path, catalogue: Catalogue, space: VectorSpace, generation: int, old: Sequence[VectorShard]
) -> None:
    dead = catalogue.dead_keys()
    keys = np.concatenate([np.delete(shard.keys, shard.dead_rows(dead)) for shard in old])
    if len(keys):
        parts = (vectors for _, vectors in living_parts(old, dead))
        for file in write_shard(corpus, space, generation, keys, parts):
            catalogue.add_file(file)


def groups_to_rewrite(shards: Sequence[KeyArray], catalogue: Catalogue, share: float) -> list[list[int]]:
    """Which shards are written anew, those of a group as one; `shards`: the keys of each, ascending.

    The newest ones are merged until each is more than twice as large as all newer ones together, and a
    shard of which more rows than `share` are dead is written anew. With a share of 0 all become one.
    """
    counts = [len(keys) for keys in shards]
    first = first_to_merge(counts) if share else 0
    dead = np.zeros(0, np.int64)
    # A quick bound first: dead keys of other kinds of passages lie between.
    if any(_most_dead(catalogue, keys) > share * len(keys) for keys in shards):
        dead = catalogue.dead_keys()
    crowded = [i for i, keys in enumerate(shards) if len(rows_of(keys, dead)) > share * len(keys)]
    newest = list(range(first, len(counts)))
    groups = [[i] for i in crowded if i < first]
    if len(newest) > 1 or (newest and newest[0] in crowded):
        groups.append(newest)
    return groups


def _most_dead(catalogue: Catalogue, keys: KeyArray) -> int:
    return catalogue.num_dead(int(keys[0]), int(keys[-1]))


def first_to_merge(counts: Sequence[int]) -> int:
    """Where the shards to merge begin; counts: passages in each, oldest first."""
    newer = sum(counts)
    for start, count in enumerate(counts):
        newer -= count
        if count <= 2 * newer:
            return start
    return max(0, len(counts) - 1)


def forget_dead(corpus: Path, catalogue: Catalogue) -> None:
    """Forget the dead keys of which no shard holds rows any more."""
    dead = catalogue.dead_keys()
    if not len(dead):
        return
    held = np.zeros(len(dead), bool)
    for keys in map(np.asarray, held_keys(corpus, catalogue)):
        # The few are looked up among the many, not the other way round: a removal must not read all keys.
        held[np.searchsorted(dead, keys[rows_of(keys, dead)])] = True
    if not held.all():
        with catalogue.transaction():
            catalogue.forget_dead(dead[~held])


def held_keys(corpus: Path, catalogue: Catalogue) -> list[KeyArray]:
    """The keys of every shard of every kind, ascending in each."""
    keys = [shard.keys for space in SPACES for shard in read_shards(corpus, space, space_files(catalogue, space))]
    files = [file for kind in token_vectors.KINDS for file in catalogue.files(kind)]
    keys += [shard.keys for shard in token_vectors.TokenVectors.open(corpus, files).shards]
    return keys + [shard.keys for shard in lexical_files.open_shards(corpus, catalogue.files(lexical_files.KIND))]


def sweep(corpus: Path, catalogue: Catalogue) -> None:
    """Delete data files and models that the current state does not name: left by killed writers and by merges."""
    used = {file.path for file in catalogue.files()}
    for name in (*(space.folder for space in SPACES), token_vectors.FOLDER, lexical_files.FOLDER):
        for path in (corpus / name).glob("*"):
            if path.is_dir():
                shutil.rmtree(path)  # Format version 2 kept its BM25 index in folders.
            elif path.relative_to(corpus).as_posix() not in used:
                path.unlink()
    for folder in (corpus / kept_model.FOLDER).glob("*"):
        if not any(path.startswith(f"{folder.relative_to(corpus).as_posix()}/") for path in used):
            shutil.rmtree(folder)


def space_files(catalogue: Catalogue, space: VectorSpace) -> list[StoredFile]:
    """The files of all shards of a space in the current state, and of their indexes."""
    kinds = (space.keys_kind, space.vectors_kind, space.index_kind)
    return [file for kind in kinds for file in catalogue.files(kind)]


def current_vectors(catalogue: Catalogue, space: VectorSpace, dim: int) -> tuple[KeyArray, FloatArray]:
    """Keys, ascending, and vectors float32 (n, dim) of a space in the current state, read into memory."""
    shards = read_shards(catalogue.folder, space, space_files(catalogue, space))
    parts = list(living_parts(shards, catalogue.dead_keys()))
    keys = np.concatenate([np.zeros(0, np.int64), *(keys for keys, _ in parts)])
    vectors = np.concatenate([np.zeros((0, dim), np.float32), *(vectors for _, vectors in parts)])
    return keys, vectors
