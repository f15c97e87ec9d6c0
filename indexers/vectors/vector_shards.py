"""Vectors on disk: shards of float32 rows with their passage keys, written once and memory-mapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragkit.errors import CorpusDamagedError
from ragkit.files import atomic_write, sha256_of
from ragkit.indexers.catalogue import StoredFile
from ragkit.records import FloatArray, KeyArray, PassageKind

# Rows that are copied or checked at once: some 100 MB of them at 384 dimensions.
CHUNK_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """The vectors of one embedder: which passages have them, their folder, and the kinds of their files."""

    passages: PassageKind
    folder: str
    keys_kind: str
    vectors_kind: str
    index_kind: str


TEXTS = VectorSpace("text", "vectors", "keys", "vectors", "index")
PICTURES = VectorSpace("image", "page_vectors", "page_keys", "page_vectors", "page_index")
SPACES = (TEXTS, PICTURES)
# What the embedder of texts made that was in use before: kept as it was, and searched by nobody.
FORMER_TEXTS = VectorSpace("text", "vectors", "former_keys", "former_vectors", "former_index")


@dataclass(frozen=True, slots=True)
class VectorShard:
    """keys: int64 (n,), ascending. vectors: float32 (n, dim), memory-mapped. generation: of its files."""

    generation: int
    keys: KeyArray
    vectors: FloatArray

    def __len__(self) -> int:
        return len(self.keys)

    def dead_rows(self, dead: KeyArray) -> NDArray[np.int64]:
        """Ascending numbers of the rows whose key is among `dead`, ascending keys."""
        return rows_of(self.keys, dead)


def rows_of(keys: KeyArray, wanted: KeyArray) -> NDArray[np.int64]:
    """Places in `keys` of those of `wanted` that are there; both ascending."""
    if not len(keys):
        return np.zeros(0, np.int64)
    places = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    rows: NDArray[np.int64] = places[keys[places] == wanted]
    return rows


def places_of(keys: KeyArray, wanted: KeyArray) -> NDArray[np.int64]:
    """int64 (n,): where in ascending `keys` each of the wanted stands, in their order.

    Raises:
        CorpusDamagedError: one is not there.
    """
    places: NDArray[np.int64] = np.searchsorted(keys, wanted)
    is_there = np.isin(wanted, keys[places[places < len(keys)]])
    missing = wanted[~is_there]
    if len(missing):
        raise CorpusDamagedError(
            f"{len(missing)} of {len(wanted)} passages have no vector (first: {missing[0]}); run ragkit verify"
        )
    return places


def write_shard(
    corpus: Path, space: VectorSpace, generation: int, keys: KeyArray, parts: Iterable[FloatArray]
) -> list[StoredFile]:
    """Write ascending keys int64 (n,) and the parts of float32 (n, dim) as two .npy files."""
    folder = corpus / space.folder
    keys_path = folder / f"{generation:08d}.{space.keys_kind}.npy"
    with atomic_write(keys_path) as file:
        np.lib.format.write_array(file, np.asarray(keys, np.int64), allow_pickle=False)
    path = folder / f"{generation:08d}.{space.vectors_kind}.npy"
    with atomic_write(path) as file:
        for i, part in enumerate(parts):
            if i == 0:
                header = {"descr": "<f4", "fortran_order": False, "shape": (len(keys), part.shape[1])}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(part, np.float32).data)
    return [
        stored_file(corpus, keys_path, space.keys_kind, generation),
        stored_file(corpus, path, space.vectors_kind, generation),
    ]


def read_shards(corpus: Path, space: VectorSpace, files: Sequence[StoredFile]) -> list[VectorShard]:
    """The shards, memory-mapped, in the order of their keys; the keys of one are all below those of the next.

    Raises:
        CorpusDamagedError: a file is truncated, is no array, or keys and vectors differ in length.
        FileNotFoundError: a file is gone, as when another process has merged it away meanwhile.
    """
    paths = {(file.kind, file.generation): corpus / file.path for file in files}
    shards: list[VectorShard] = []
    for generation in {file.generation for file in files if file.kind == space.keys_kind}:
        keys = _read(paths[space.keys_kind, generation])
        if (space.vectors_kind, generation) not in paths:
            raise CorpusDamagedError(f"shard {generation} has keys and no vectors; run ragkit verify")
        vectors = _read(paths[space.vectors_kind, generation])
        if len(keys) != len(vectors):
            raise CorpusDamagedError(
                f"shard {generation} has {len(keys)} keys for {len(vectors)} vectors; run ragkit verify"
            )
        shards.append(VectorShard(generation, keys, vectors))
    return sorted(shards, key=lambda shard: int(shard.keys[0]))


def living_parts(shards: Iterable[VectorShard], dead: KeyArray) -> Iterator[tuple[KeyArray, FloatArray]]:
    """Keys and vectors of the rows whose key is not dead, in pieces of at most CHUNK_ROWS."""
    for shard in shards:
        for start in range(0, len(shard), CHUNK_ROWS):
            keys, vectors = shard.keys[start : start + CHUNK_ROWS], shard.vectors[start : start + CHUNK_ROWS]
            alive = np.ones(len(keys), bool)
            alive[rows_of(keys, dead)] = False
            yield (keys, vectors) if alive.all() else (keys[alive], vectors[alive])


def check_unaltered(corpus: Path, files: Iterable[StoredFile]) -> None:
    """Before their content is written anew, with a hash of its own: there any content would pass for sound.

    Raises:
        CorpusDamagedError: a file is not as it was written.
    """
    for file in files:
        if (found := sha256_of(corpus / file.path)) != file.sha256:
            raise CorpusDamagedError(
                f"{corpus / file.path} is damaged (sha256 {found[:12]}… instead of {file.sha256[:12]}…); "
                "run ragkit repair"
            )


def stored_file(corpus: Path, path: Path, kind: str, generation: int) -> StoredFile:
    """Describe a file that has just been written below the corpus folder."""
    name = path.relative_to(corpus).as_posix()
    return StoredFile(name, kind, generation, path.stat().st_size, sha256_of(path))


def _read(path: Path) -> Any:
    try:
        # A plain view: every look-up in a `memmap` makes another `memmap`.
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise CorpusDamagedError(f"{path} is damaged ({error}); run ragkit verify") from error
