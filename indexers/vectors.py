"""Vectors on disk: shards of float32 rows with their passage keys, written once and memory-mapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragkit.errors import CorpusDamagedError
from ragkit.files import atomic_write, sha256_of
from ragkit.indexers.catalogue import StoredFile
from ragkit.records import FloatArray, KeyArray, PassageKind


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """The vectors of one embedder: which passages have them, their folder, and the kinds of their files."""

    passages: PassageKind
    folder: str
    keys_kind: str
    vectors_kind: str


TEXTS = VectorSpace("text", "vectors", "keys", "vectors")
PICTURES = VectorSpace("image", "page_vectors", "page_keys", "page_vectors")
SPACES = (TEXTS, PICTURES)


def write_shard(
    corpus: Path, space: VectorSpace, generation: int, keys: KeyArray, vectors: FloatArray
) -> list[StoredFile]:
    """Write keys int64 (n,) and vectors float32 (n, dim) as two .npy files named by the generation."""
    folder = corpus / space.folder
    return [
        _write(corpus, folder, space.keys_kind, generation, np.asarray(keys, np.int64)),
        _write(corpus, folder, space.vectors_kind, generation, np.asarray(vectors, np.float32)),
    ]


def read_shards(
    corpus: Path, space: VectorSpace, files: Sequence[StoredFile]
) -> Iterator[tuple[KeyArray, FloatArray]]:
    """Keys and memory-mapped vectors of each shard, oldest first.

    Raises:
        CorpusDamagedError: a file is truncated, is no array, or keys and vectors differ in length.
        FileNotFoundError: a file is gone, as when another process has merged it away meanwhile.
    """
    paths = {(file.kind, file.generation): corpus / file.path for file in files}
    for generation in sorted({file.generation for file in files}):
        keys = _read(paths[space.keys_kind, generation])
        vectors = _read(paths[space.vectors_kind, generation])
        if len(keys) != len(vectors):
            raise CorpusDamagedError(
                f"shard {generation} has {len(keys)} keys for {len(vectors)} vectors; run ragkit verify"
            )
        yield keys, vectors


def living(shards: Iterable[tuple[KeyArray, FloatArray]], keys: KeyArray, dim: int) -> tuple[KeyArray, FloatArray]:
    """Of all shards' rows those whose key is among `keys` (ascending, all of them present), by key.

    Raises:
        CorpusDamagedError: a key has no vector.
    """
    vectors = np.zeros((len(keys), dim), np.float32)
    filled = np.zeros(len(keys), bool)
    for shard_keys, shard_vectors in shards:
        if not len(keys):
            break
        places = np.searchsorted(keys, shard_keys).clip(max=len(keys) - 1)
        alive = keys[places] == shard_keys
        vectors[places[alive]] = shard_vectors if alive.all() else shard_vectors[alive]
        filled[places[alive]] = True
    if not filled.all():
        missing = keys[~filled]
        raise CorpusDamagedError(
            f"{len(missing)} of {len(keys)} passages have no vector (first: {missing[0]}); run ragkit verify"
        )
    return keys, vectors


def stored_file(corpus: Path, path: Path, kind: str, generation: int) -> StoredFile:
    """Describe a file that has just been written below the corpus folder."""
    name = path.relative_to(corpus).as_posix()
    return StoredFile(name, kind, generation, path.stat().st_size, sha256_of(path))


def _write(corpus: Path, folder: Path, kind: str, generation: int, array: KeyArray | FloatArray) -> StoredFile:
    path = folder / f"{generation:08d}.{kind}.npy"
    with atomic_write(path) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)
    return stored_file(corpus, path, kind, generation)


def _read(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CorpusDamagedError(f"{path} is damaged ({error}); run ragkit verify") from error
