"""Giving a corpus the vectors of another embedder of texts, in one commit that also says which one made them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ragkit.config import IndexConfig
from ragkit.errors import CorpusDamagedError
from ragkit.indexers import kept_model
from ragkit.indexers.catalogue import Catalogue, StoredFile
from ragkit.indexers.embed_steps import EmbedSteps
from ragkit.indexers.embedder_record import (
    EmbedderRecord,
    TextEmbedders,
    remember_text_embedders,
    text_embedders,
)
from ragkit.indexers.manifest import Manifest
from ragkit.indexers.picture_vectors import check_vectors
from ragkit.indexers.shards import space_files
from ragkit.indexers.store import SqlitePassageStore
from ragkit.indexers.unfinished_vectors import UnfinishedVectors, drop_unfinished_vectors
from ragkit.indexers.vectors.shard_index import IndexFacts
from ragkit.indexers.vectors.vector_indexes import IndexUpdate
from ragkit.indexers.vectors.vector_shards import (
    FORMER_TEXTS,
    TEXTS,
    VectorShard,
    check_unaltered,
    living_parts,
    read_shards,
    stored_file,
    write_shard,
)
from ragkit.protocols import Embedder
from ragkit.records import FloatArray, KeyArray

# Passages or seconds after which embedded vectors are put on the disk: what a kill can cost at most.
_PIECE_PASSAGES = 1024
_PIECE_SECONDS = 5.0
_VECTOR_KINDS = {
    TEXTS.keys_kind: FORMER_TEXTS.keys_kind,
    TEXTS.vectors_kind: FORMER_TEXTS.vectors_kind,
    TEXTS.index_kind: FORMER_TEXTS.index_kind,
}
_KINDS = {**_VECTOR_KINDS, kept_model.KIND: kept_model.FORMER_KIND}


@dataclass(frozen=True, slots=True)
class Reembedded:
    """num_passages: of text. num_embedded: those of them that had no vectors of the wanted embedder.

    problems: what could not be had, such as an index that FAISS cannot build.
    """

    num_passages: int
    num_embedded: int
    problems: list[str]


@dataclass(frozen=True, slots=True)
class _NewShard:
    """Files of vectors that no state names yet, and the facts of the index."""

    files: list[StoredFile] = field(default_factory=list)
    index: tuple[StoredFile, IndexFacts] | None = None


class Reembedding:
    """Makes what is missing of another embedder's vectors, then switches. The caller holds the writer's lock.

    The vectors that were in use, their indexes and their model stay in the corpus as the former ones: going back
    needs only the passages embedded that were added since. What was former before is dropped.

    Args:
        made: what manifest.json says.
        target: whose vectors are wanted; not the embedder in use.
        load: gives it; called where something is to be embedded.
        tell: called with how many passages are embedded, of how many.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        made: Manifest,
        index: IndexConfig,
        target: EmbedderRecord,
        load: Callable[[], Embedder],
        tell: Callable[[int, int], None] = lambda _, __: None,
    ) -> None:
        self._corpus = catalogue.folder
        self._catalogue = catalogue
        self._before = text_embedders(catalogue, made)
        self._target = target
        self._load = load
        self._tell = tell
        self._update = IndexUpdate(catalogue, index, lambda _: load(), lambda: None)

    def run(self) -> Reembedded:
        """Embed, and switch. Killed at any moment before its one commit, it has changed no state, and goes on."""
        living = SqlitePassageStore(self._catalogue).keys(kind="text")
        returning = self._returning(living)
        held = _keys_of(returning)
        missing = np.setdiff1d(living, held)
        # No other writer is there, so the next commit is this one.
        number = self._catalogue.generation + 1
        new = self._written(number, missing, len(living)) if len(missing) else _NewShard()
        with self._catalogue.transaction() as generation:
            assert generation == number, "another writer changed the corpus in spite of the lock"
            self._switch(new, dead=np.setdiff1d(held, living), is_returning=bool(returning))
        drop_unfinished_vectors(self._corpus)
        return Reembedded(len(living), len(missing), self._update.problems)

    def _switch(self, new: _NewShard, dead: KeyArray, is_returning: bool) -> None:
        """Inside a transaction: the former files and the current ones change places, and the new ones join."""
        catalogue, target, former = self._catalogue, self._target, self._before.former
        is_known = former is not None and former.facts.fingerprint == target.facts.fingerprint
        if not is_returning:
            self._drop_former(_VECTOR_KINDS if is_known else _KINDS)
        catalogue.swap_kinds(_KINDS)
        for file in new.files:
            catalogue.add_file(file)
        if new.index is not None:
            catalogue.add_file(new.index[0], new.index[1].to_json())
        if not is_known:
            for file in self._model_files(catalogue.generation + 1):
                catalogue.add_file(file)
        # Rows of passages that were removed while these vectors were not in use.
        catalogue.add_dead(dead)
        remember_text_embedders(catalogue, TextEmbedders(target, self._before.current))
        catalogue.set_settings({**catalogue.settings, "embedder": target.settings})

    def _drop_former(self, kinds: dict[str, str]) -> None:
        for kind in kinds.values():
            self._catalogue.drop_files(self._catalogue.files(kind))

    def _model_files(self, generation: int) -> Iterator[StoredFile]:
        if self._target.folder:
            for path in sorted((self._corpus / self._target.folder).rglob("*")):
                if path.is_file():
                    yield stored_file(self._corpus, path, kept_model.KIND, generation)

    def _returning(self, living: KeyArray) -> list[VectorShard]:
        """The former shards where they are the target's and sound, so that only later passages are missing."""
        former = self._before.former
        if former is None or former.facts.fingerprint != self._target.facts.fingerprint:
            return []
        files = space_files(self._catalogue, FORMER_TEXTS)
        try:
            check_unaltered(self._corpus, files)
            shards = read_shards(self._corpus, FORMER_TEXTS, files)
        except (CorpusDamagedError, FileNotFoundError):
            return []
        held = _keys_of(shards)
        missing = np.setdiff1d(living, held)
        follow = not len(missing) or not len(held) or missing[0] > held[-1]
        return shards if follow else []

    def _written(self, number: int, missing: KeyArray, total: int) -> _NewShard:
        """The shard of all missing passages, with the index that the configuration wants."""
        done = self._embedded(missing)
        gone = np.setdiff1d(done.keys, missing)
        parts = (vectors for _, vectors in living_parts(done.pieces, gone))
        files = write_shard(self._corpus, TEXTS, number, missing, parts)
        [shard] = read_shards(self._corpus, TEXTS, files)
        return _NewShard(files, self._update.build(TEXTS, shard, total))

    def _embedded(self, missing: KeyArray) -> UnfinishedVectors:
        """Pieces that hold the vectors of all missing passages; those that an earlier run has made are used."""
        done = UnfinishedVectors(self._corpus, self._target.facts)
        waiting = np.setdiff1d(missing, done.keys)
        if len(waiting) and len(done.keys) and waiting[0] < done.keys[-1]:
            done.forget()
            waiting = missing
        num_done = len(missing) - len(waiting)
        self._tell(num_done, len(missing))
        for keys, vectors in self._pieces(waiting, num_done, len(missing)):
            done.add(keys, vectors)
        return done

    def _pieces(self, waiting: KeyArray, done: int, total: int) -> Iterator[tuple[KeyArray, FloatArray]]:
        """The passages embedded, in pieces of at most so many or so many seconds."""
        if not len(waiting):
            return
        embedder, steps, store = self._load(), EmbedSteps(), SqlitePassageStore(self._catalogue)
        parts: list[FloatArray] = []
        first, start, begun = 0, 0, time.monotonic()
        while start < len(waiting):
            count = min(steps.size, _PIECE_PASSAGES, len(waiting) - start)
            passages = store.passages(waiting[start : start + count].tolist())
            began = time.monotonic()
            vectors = embedder.embed_passages(passages)
            steps.took(time.monotonic() - began, count)
            check_vectors(vectors, count, embedder)
            parts.append(vectors.astype(np.float32, copy=False))
            start += count
            self._tell(done + start, total)
            is_late = time.monotonic() - begun > _PIECE_SECONDS
            if start - first >= _PIECE_PASSAGES or is_late or start == len(waiting):
                yield waiting[first:start], np.concatenate(parts)
                parts, first, begun = [], start, time.monotonic()


def _keys_of(shards: list[VectorShard]) -> KeyArray:
    return np.concatenate([np.zeros(0, np.int64), *(shard.keys for shard in shards)])
