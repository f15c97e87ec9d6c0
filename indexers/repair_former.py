"""Repairing what is kept of the embedder of texts that was in use before: no search needs it."""

from __future__ import annotations

from collections.abc import Collection

from ragkit.indexers.catalogue import Catalogue, StoredFile
from ragkit.indexers.embedder_record import TextEmbedders, remember_text_embedders, text_embedders
from ragkit.indexers.kept_model import FORMER_KIND as FORMER_MODEL_KIND
from ragkit.indexers.manifest import Manifest
from ragkit.indexers.vectors.vector_shards import FORMER_TEXTS

_VECTOR_KINDS = (FORMER_TEXTS.keys_kind, FORMER_TEXTS.vectors_kind, FORMER_TEXTS.index_kind)


def drop_damaged_former(catalogue: Catalogue, made: Manifest, bad: Collection[StoredFile]) -> list[str]:
    """Damaged vectors of the former embedder are made again when wanted; without its model it is gone.

    made: what manifest.json says. bad: files that are not as they were written. Returns what was done.
    """
    kinds = {file.kind for file in bad}
    if FORMER_MODEL_KIND in kinds:
        with catalogue.transaction():
            _drop(catalogue, (*_VECTOR_KINDS, FORMER_MODEL_KIND))
            remember_text_embedders(catalogue, TextEmbedders(text_embedders(catalogue, made).current))
        return ["the former embedder's model was damaged and is dropped: there is no going back to it"]
    if kinds.intersection(_VECTOR_KINDS):
        with catalogue.transaction():
            _drop(catalogue, _VECTOR_KINDS)
        return ["the former embedder's vectors were damaged and are dropped: going back to it embeds again"]
    return []


def _drop(catalogue: Catalogue, kinds: Collection[str]) -> None:
    for kind in kinds:
        catalogue.drop_files(catalogue.files(kind))
