"""Vectors of an embedder that a corpus is not switched to yet: what a killed run leaves for the next one.

Files beside the corpus's own, and no part of any state: they may be lost at any time, and the work in them is done
again.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
from pathlib import Path

import numpy as np

from ragkit.errors import CorpusDamagedError
from ragkit.indexers.catalogue import StoredFile
from ragkit.indexers.manifest import EmbedderFacts
from ragkit.indexers.vectors.vector_shards import VectorShard, VectorSpace, read_shards, write_shard
from ragkit.indexers.verify import shard_problems
from ragkit.records import FloatArray, KeyArray

FOLDER = "reembedding"


class UnfinishedVectors:
    """Pieces of vectors of one embedder, each written once; the keys of one are all above those before it.

    Only the corpus's writer, under its lock, uses it.
    """

    def __init__(self, corpus: Path, facts: EmbedderFacts) -> None:
        self._corpus = corpus
        self._facts = facts
        # A fingerprint of a user's own embedder may be any string.
        name = hashlib.sha256(facts.fingerprint.encode()).hexdigest()[:16]
        self._space = VectorSpace("text", f"{FOLDER}/{name}", "keys", "vectors", "index")
        self.pieces = self._read()

    @property
    def keys(self) -> KeyArray:
        """Of all pieces, ascending."""
        return np.concatenate([np.zeros(0, np.int64), *(piece.keys for piece in self.pieces)])

    def add(self, keys: KeyArray, vectors: FloatArray) -> None:
        """Keep one more piece, durably. keys: ascending, above all that there are."""
        number = len(self.pieces) + 1
        files = write_shard(self._corpus, self._space, number, keys, [vectors])
        self.pieces += read_shards(self._corpus, self._space, files)

    def forget(self) -> None:
        """Drop the pieces of this embedder."""
        self.pieces = []
        shutil.rmtree(self._corpus / self._space.folder, ignore_errors=True)

    def _read(self) -> list[VectorShard]:
        """The pieces up to the first that is missing, cut off or not what it should be; what lies behind goes."""
        pieces: list[VectorShard] = []
        sound: set[str] = set()
        for number in itertools.count(1):
            files = [self._file(number, kind) for kind in (self._space.keys_kind, self._space.vectors_kind)]
            try:
                [piece] = read_shards(self._corpus, self._space, files)
            except (FileNotFoundError, CorpusDamagedError):
                break
            if shard_problems(piece, self._facts) or (pieces and piece.keys[0] <= pieces[-1].keys[-1]):
                break
            pieces.append(piece)
            sound |= {Path(file.path).name for file in files}
        # New keys beside the old vectors of such a piece could else pass for one, after a kill between the two.
        for path in (self._corpus / self._space.folder).glob("*"):
            if path.name not in sound:
                path.unlink()
        return pieces

    def _file(self, number: int, kind: str) -> StoredFile:
        return StoredFile(f"{self._space.folder}/{number:08d}.{kind}.npy", kind, number, 0, "")


def drop_unfinished_vectors(corpus: Path) -> None:
    """Of all embedders."""
    shutil.rmtree(corpus / FOLDER, ignore_errors=True)
