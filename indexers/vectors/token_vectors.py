"""Token vectors on disk: shards of many rows a passage, written once and memory-mapped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragkit.errors import CorpusDamagedError
from ragkit.files import atomic_write
from ragkit.indexers.catalogue import StoredFile
from ragkit.indexers.vectors.token_coding import CodedRows, TokenDtype, decode, encode
from ragkit.indexers.vectors.vector_shards import stored_file
from ragkit.records import FloatArray, KeyArray

FOLDER = "token_vectors"
KEYS_KIND = "token_keys"
OFFSETS_KIND = "token_offsets"
VECTORS_KIND = "token_vectors"
SCALES_KIND = "token_scales"
KINDS = (KEYS_KIND, OFFSETS_KIND, VECTORS_KIND, SCALES_KIND)


@dataclass(frozen=True, slots=True)
class TokenShard:
    """keys: int64 (n,), ascending. offsets: int64 (n + 1,); rows offsets[i] to offsets[i + 1] are keys[i]'s."""

    generation: int
    keys: KeyArray
    offsets: KeyArray
    values: NDArray[Any]
    scales: FloatArray | None

    def rows(self, place: int) -> CodedRows:
        """Those of keys[place], still on the disk."""
        here = slice(int(self.offsets[place]), int(self.offsets[place + 1]))
        return CodedRows(self.values[here], None if self.scales is None else self.scales[here])


class TokenVectors:
    """The token vectors of all passages that have them, by key; only what is asked for is read."""

    def __init__(self, shards: Sequence[TokenShard]) -> None:
        self.shards = shards
        keys = np.concatenate([np.zeros(0, np.int64), *(shard.keys for shard in shards)])
        numbers = np.repeat(np.arange(len(shards)), [len(shard.keys) for shard in shards])
        places = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(shard.keys)) for shard in shards)])
        order = np.argsort(keys, kind="stable")
        self.keys: KeyArray = keys[order]
        self._numbers, self._places = numbers[order], places[order]

    @classmethod
    def open(cls, corpus: Path, files: Sequence[StoredFile]) -> TokenVectors:
        """Of these files the shards, memory-mapped.

        Raises:
            CorpusDamagedError: a file is truncated or no array, or the files of a shard do not fit together.
            FileNotFoundError: a file is gone, as when another process has merged it away meanwhile.
        """
        paths = {(file.kind, file.generation): corpus / file.path for file in files if file.kind in KINDS}
        generations = sorted({generation for _, generation in paths})
        shards = [_read_shard(paths, generation) for generation in generations]
        return cls(sorted(shards, key=lambda shard: int(shard.keys[0])))

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: int) -> bool:
        place = int(np.searchsorted(self.keys, key))
        return place < len(self.keys) and int(self.keys[place]) == key

    def rows(self, key: int) -> FloatArray:
        """float32 (t, dim).

        Raises:
            KeyError: the passage has no token vectors.
        """
        if key not in self:
            raise KeyError(f"passage {key} has no token vectors")
        place = int(np.searchsorted(self.keys, key))
        return decode(self.shards[int(self._numbers[place])].rows(int(self._places[place])))


def write_token_shard(
    corpus: Path, generation: int, keys: KeyArray, rows: Sequence[FloatArray], dtype: TokenDtype
) -> list[StoredFile]:
    """Write keys int64 (n,) and for each float32 (t, dim), t at least 1, as .npy files named by the generation.

    Raises:
        ValueError: there are not as many arrays as keys, none at all, or one is empty.
    """
    lengths = [len(row) for row in rows]
    if len(keys) != len(rows) or min(lengths, default=0) == 0:
        raise ValueError(
            f"{len(keys)} keys and {len(rows)} arrays of token vectors, the shortest of "
            f"{min(lengths, default=0)} rows; give each key an array of at least one row"
        )
    return write_coded(corpus, generation, keys, lengths, (encode(row, dtype) for row in rows))


def write_coded(
    corpus: Path, generation: int, keys: KeyArray, lengths: Sequence[int], rows: Iterable[CodedRows]
) -> list[StoredFile]:
    """As `write_token_shard`, of at least one key; `rows` are read one by one, so they need not fit in memory."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    scales: list[FloatArray] = []
    path = _path(corpus, VECTORS_KIND, generation)
    with atomic_write(path) as file:
        for i, coded in enumerate(rows):
            if i == 0:
                _write_header(file, coded.values.dtype, (int(offsets[-1]), coded.values.shape[1]))
            file.write(np.ascontiguousarray(coded.values).tobytes())
            scales += [] if coded.scales is None else [coded.scales]
    vectors = stored_file(corpus, path, VECTORS_KIND, generation)
    arrays: list[tuple[str, Any]] = [(KEYS_KIND, np.asarray(keys, np.int64)), (OFFSETS_KIND, offsets)]
    if scales:
        arrays.append((SCALES_KIND, np.concatenate(scales)))
    return [*(_write(corpus, kind, generation, array) for kind, array in arrays), vectors]


def _write_header(file: Any, dtype: np.dtype[Any], shape: tuple[int, int]) -> None:
    description = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": description, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _write(corpus: Path, kind: str, generation: int, array: Any) -> StoredFile:
    path = _path(corpus, kind, generation)
    with atomic_write(path) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)
    return stored_file(corpus, path, kind, generation)


def _path(corpus: Path, kind: str, generation: int) -> Path:
    return corpus / FOLDER / f"{generation:08d}.{kind}.npy"


def _read_shard(paths: dict[tuple[str, int], Path], generation: int) -> TokenShard:
    missing = [kind for kind in KINDS[:3] if (kind, generation) not in paths]
    if missing:
        raise CorpusDamagedError(f"token shard {generation} has no {', '.join(missing)}; run ragkit verify")
    keys, offsets, values = (_read(paths[kind, generation]) for kind in KINDS[:3])
    scales = _read(paths[SCALES_KIND, generation]) if (SCALES_KIND, generation) in paths else None
    ends = [len(offsets) - 1, int(offsets[0]), int(offsets[-1])] if len(offsets) else []
    if ends != [len(keys), 0, len(values)] or (scales is None) != (values.dtype != np.int8):
        raise CorpusDamagedError(
            f"token shard {generation}: {len(keys)} keys, {len(offsets)} offsets and {len(values)} vectors of "
            f"{values.dtype} do not fit together; run ragkit verify"
        )
    if scales is not None and len(scales) != len(values):
        raise CorpusDamagedError(
            f"token shard {generation} has {len(scales)} scales for {len(values)} vectors; run ragkit verify"
        )
    # Small, and searched at every look-up; the vectors stay on the disk.
    return TokenShard(generation, np.array(keys), np.array(offsets), values, scales)


def _read(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CorpusDamagedError(f"{path} is damaged ({error}); run ragkit verify") from error
