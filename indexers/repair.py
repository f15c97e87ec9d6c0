"""Repairing a corpus: what its files lost is made again from the catalogue, the documents and the pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ragkit.config import IndexConfig, LexicalConfig
from ragkit.errors import CorpusError
from ragkit.indexers import manifest as manifests
from ragkit.indexers.catalogue import FILE_NAME, Catalogue, StoredFile
from ragkit.indexers.embedder_record import manifest_in_use
from ragkit.indexers.lexical.lexical_files import KIND as LEXICAL_KIND
from ragkit.indexers.lexical.lexical_upkeep import rebuild_lexical
from ragkit.indexers.manifest import EmbedderFacts, Manifest
from ragkit.indexers.page_images import sweep_pictures
from ragkit.indexers.repair_former import drop_damaged_former
from ragkit.indexers.repair_pictures import redraw_pictures
from ragkit.indexers.repair_shards import (
    EmbedderSource,
    Lost,
    Remade,
    drop_lost,
    lost_tokens,
    lost_vectors,
    missing_keys,
    remake,
    restore_keys,
    token_maker,
    token_writer,
    vector_maker,
    vector_writer,
)
from ragkit.indexers.shards import held_keys
from ragkit.indexers.store import SqlitePassageStore
from ragkit.indexers.unfinished import unfinished_picture_names
from ragkit.indexers.upkeep import keep_up
from ragkit.indexers.vectors.token_coding import TokenDtype
from ragkit.indexers.vectors.vector_shards import PICTURES, TEXTS, VectorSpace
from ragkit.indexers.verify import (
    catalogue_problems,
    damaged_files,
    damaged_indexes,
    damaged_pictures,
    lexical_problems,
    living_dead,
    verify_corpus,
)
from ragkit.records import KeyArray


@dataclass(slots=True)
class RepairReport:
    """done: what was made again. left: what is still broken, and what can be done about it."""

    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


class Repairer:
    """Makes again what can be made again, each in commits of its own. The caller holds the writer's lock.

    Args:
        embedders: asked for one when vectors are lost; that raises CorpusError where it is another than the
            corpus was made with.
        token_dtype: of token vectors on disk.
        tell: called as the work goes on.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        manifest: Manifest,
        embedders: EmbedderSource,
        index: IndexConfig,
        lexical: LexicalConfig,
        token_dtype: TokenDtype,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        self._corpus = catalogue.folder
        self._catalogue = catalogue
        self._manifest = manifest
        self._embedders = embedders
        self._index = index
        self._lexical = lexical
        self._token_dtype = token_dtype
        self._tell = tell
        self._report = RepairReport()
        self._reasons: dict[str, str] = {}

    def run(self) -> RepairReport:
        """Repair, and verify: the report's `left` names what is broken still."""
        corpus, catalogue = self._corpus, self._catalogue
        broken = catalogue_problems(catalogue)
        if broken:
            advice = f"{FILE_NAME} cannot be made again: restore it from a backup, or index into a new corpus"
            return RepairReport(left=[*broken, advice])
        self._revive()
        self._redraw()
        bad = set(damaged_files(corpus, catalogue))
        self._report.done += drop_damaged_former(catalogue, self._manifest, bad)
        manifest = manifest_in_use(catalogue, self._manifest)
        for space, facts in ((TEXTS, manifest.embedder), (PICTURES, manifest.page_embedder)):
            if facts is not None:
                self._repair_vectors(space, facts, bad)
        if manifest.token_embedder is not None:
            self._repair_tokens(bad)
        self._repair_lexical(bad)
        self._bury()
        keep_up(corpus, catalogue, self._index, self._lexical, self._embedders.of, self._tell)
        self._sweep_all()
        self._name_what_is_left()
        return self._report

    def _say(self, text: str) -> None:
        self._report.done.append(text)

    def _revive(self) -> None:
        keys = living_dead(self._catalogue)
        if len(keys):
            with self._catalogue.transaction():
                self._catalogue.forget_dead(keys)
            self._say(f"{len(keys)} passages are no longer noted as removed")

    def _redraw(self) -> None:
        done, reasons = redraw_pictures(
            self._corpus, self._catalogue, damaged_pictures(self._corpus, self._catalogue)
        )
        self._reasons.update(reasons)
        if done:
            self._say(f"{done} page pictures were drawn again")

    def _repair_vectors(self, space: VectorSpace, facts: EmbedderFacts, bad: set[StoredFile]) -> None:
        for path in restore_keys(self._corpus, self._catalogue, space, bad):
            self._say(f"{path} was written again from the catalogue")
            bad -= {file for file in bad if file.path == path}
        lost = lost_vectors(self._corpus, self._catalogue, space, bad, facts)
        if self._must_embed(lost):
            embedder = self._embedders.of(space)
            if embedder is None:
                raise CorpusError(
                    f"vectors in {space.folder}/ are lost and no embedder is given to make them again"
                )
            drop_lost(self._catalogue, lost, self._indexes_of(lost, space))
            made = remake(
                self._catalogue, lost, vector_maker(embedder), vector_writer(self._corpus, space), self._tell
            )
            self._note_remade(lost, made)
        else:
            drop_lost(self._catalogue, lost, self._indexes_of(lost, space))
        self._drop_indexes(space, bad)

    def _repair_tokens(self, bad: set[StoredFile]) -> None:
        lost = lost_tokens(self._corpus, self._catalogue, bad)
        if not self._must_embed(lost):
            drop_lost(self._catalogue, lost)
            return
        embedder = self._embedders.tokens
        if embedder is None:
            raise CorpusError("token vectors are lost and no late-interaction model is given to make them again")
        drop_lost(self._catalogue, lost)
        writer = token_writer(self._corpus, self._token_dtype)
        self._note_remade(lost, remake(self._catalogue, lost, token_maker(embedder), writer, self._tell))

    def _must_embed(self, lost: Lost) -> bool:
        return bool(len(missing_keys(self._catalogue, lost)))

    def _note_remade(self, lost: Lost, made: Remade) -> None:
        self._reasons.update(made.left)
        if made.num_passages:
            self._say(f"{lost.where}/: {made.num_passages} passages were embedded again")

    def _indexes_of(self, lost: Lost, space: VectorSpace) -> list[StoredFile]:
        generations = {file.generation for file in lost.files}
        facts = self._catalogue.file_facts()
        return [
            file
            for file in self._catalogue.files(space.index_kind)
            if facts.get(file.path, {}).get("shard") in generations
        ]

    def _drop_indexes(self, space: VectorSpace, bad: set[StoredFile]) -> None:
        """Indexes that are damaged or no shard's are dropped; `keep_up` builds what is wanted."""
        stored = self._catalogue.files(space.index_kind)
        wrong = {file.path for file in stored if file in bad}
        wrong |= damaged_indexes(self._catalogue, space, wrong).keys()
        if wrong:
            with self._catalogue.transaction():
                self._catalogue.drop_files([file for file in stored if file.path in wrong])
            self._say(f"{space.folder}/: {len(wrong)} FAISS indexes were dropped, and built again where wanted")

    def _bury(self) -> None:
        """Rows of no passage are noted as dead: no search finds them, and merging leaves them behind."""
        living = SqlitePassageStore(self._catalogue).keys()
        held = np.unique(np.concatenate([np.zeros(0, np.int64), *held_keys(self._corpus, self._catalogue)]))
        foreign: KeyArray = np.setdiff1d(held, np.union1d(living, self._catalogue.dead_keys()))
        if len(foreign):
            with self._catalogue.transaction():
                self._catalogue.add_dead(foreign)
            self._say(f"{len(foreign)} rows of no passage are noted as removed")

    def _repair_lexical(self, bad: set[StoredFile]) -> None:
        is_bad = any(file.kind == LEXICAL_KIND for file in bad)
        if is_bad or any(lexical_problems(self._corpus, self._catalogue)):
            rebuild_lexical(self._corpus, self._catalogue, self._lexical)
            self._say("the BM25 index was made again from the texts")

    def _sweep_all(self) -> None:
        sweep_pictures(self._corpus, self._catalogue, unfinished_picture_names(self._corpus))
        for path in self._corpus.glob(f".{manifests.FILE_NAME}.*.tmp"):
            path.unlink(missing_ok=True)

    def _name_what_is_left(self) -> None:
        """Documents whose pictures are gone for good are indexed anew once their files are there again."""
        if self._reasons:
            with self._catalogue.transaction():
                self._catalogue.set_incomplete(self._reasons)
        self._report.left += [
            f"{reason}; index its file again, or remove the document" for reason in self._reasons.values()
        ]
        self._report.left += verify_corpus(self._corpus, self._catalogue, self._manifest)


def restore_manifest(corpus: Path) -> list[str]:
    """Write manifest.json again where it is missing or altered and the catalogue remembers it; says so.

    Raises:
        CorpusDamagedError: the catalogue cannot be read.
    """
    if not (corpus / FILE_NAME).exists():
        return []
    catalogue = Catalogue(corpus)
    try:
        remembered = catalogue.manifest
    finally:
        catalogue.close()
    path = corpus / manifests.FILE_NAME
    if not remembered or (path.exists() and manifests.read_manifest_text(corpus) == remembered):
        return []
    manifests.write_manifest_text(corpus, remembered)
    return [f"{manifests.FILE_NAME} was written again from the catalogue"]
