"""Keeping the vector shards few: merging small ones, sweeping files that no state uses."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ragkit.indexers import lexical_files, token_vectors
from ragkit.indexers.catalogue import Catalogue, StoredFile
from ragkit.indexers.store import SqlitePassageStore
from ragkit.indexers.vectors import SPACES, VectorSpace, living, read_shards, write_shard
from ragkit.records import FloatArray, KeyArray


def merge_shards(corpus: Path, catalogue: Catalogue, space: VectorSpace, dim: int) -> None:
    """Merge the newest shards until each is more than twice as large as all newer ones together.

    Every row is thus rewritten a number of times that grows with the logarithm of the corpus, and
    the number of shards does too. Rows of removed passages are left behind.
    """
    files = space_files(catalogue, space)
    generations = sorted({file.generation for file in files})
    counts = [len(keys) for keys, _ in read_shards(corpus, space, files)]
    merged = set(generations[first_to_merge(counts) :])
    if len(merged) < 2:
        return
    old = [file for file in files if file.generation in merged]
    shards = list(read_shards(corpus, space, old))
    alive = np.intersect1d(
        SqlitePassageStore(catalogue).keys(kind=space.passages), np.concatenate([keys for keys, _ in shards])
    )
    with catalogue.transaction() as generation:
        catalogue.drop_files(old)
        for file in write_shard(corpus, space, generation, *living(shards, alive, dim)):
            catalogue.add_file(file)


def first_to_merge(counts: Sequence[int]) -> int:
    """Where the shards to merge begin; counts: passages in each, oldest first."""
    start, total = len(counts), 0
    while start > 0 and (total == 0 or counts[start - 1] <= 2 * total):
        start -= 1
        total += counts[start]
    return start


def sweep(corpus: Path, catalogue: Catalogue) -> None:
    """Delete data files that the current state does not name: left-overs of killed writers and of merges."""
    used = {file.path for file in catalogue.files()}
    for name in (*(space.folder for space in SPACES), token_vectors.FOLDER):
        for path in (corpus / name).glob("*"):
            if path.relative_to(corpus).as_posix() not in used:
                path.unlink()
    for folder in (corpus / lexical_files.FOLDER).glob("*"):
        if not _holds_any(corpus, folder, used):
            shutil.rmtree(folder)


def _holds_any(corpus: Path, folder: Path, used: set[str]) -> bool:
    prefix = folder.relative_to(corpus).as_posix() + "/"
    return any(name.startswith(prefix) for name in used)


def space_files(catalogue: Catalogue, space: VectorSpace) -> list[StoredFile]:
    """The files of all shards of a space in the current state."""
    return catalogue.files(space.keys_kind) + catalogue.files(space.vectors_kind)


def current_vectors(catalogue: Catalogue, space: VectorSpace, dim: int) -> tuple[KeyArray, FloatArray]:
    """Keys, ascending, and vectors of a space in the current state. Raises as `living`."""
    shards = read_shards(catalogue.folder, space, space_files(catalogue, space))
    return living(shards, SqlitePassageStore(catalogue).keys(kind=space.passages), dim)
