"""What a corpus holds, for people and programs to read."""

from __future__ import annotations

from dataclasses import dataclass

from ragkit.attributes import AttributeType
from ragkit.config import IndexConfig
from ragkit.files import num_bytes_below
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.filter_sql import known_attributes
from ragkit.indexers.manifest import EmbedderFacts, Manifest
from ragkit.indexers.vectors.shard_index import IndexFacts
from ragkit.indexers.vectors.vector_indexes import exact_reasons, index_facts
from ragkit.indexers.vectors.vector_shards import SPACES


@dataclass(frozen=True, slots=True)
class CorpusInfo:
    """What a corpus holds.

    num_dead: removed passages of which files still hold rows. num_bytes: of all its files. indexes: by name of
    their file. searched_exactly: for each part of the vectors that has no index, how many and why.
    attributes: name -> type -> number of documents.
    """

    path: str
    format_version: int
    generation: int
    num_documents: int
    num_pages: int
    num_passages: int
    num_dead: int
    num_bytes: int
    embedder: EmbedderFacts | None
    page_embedder: EmbedderFacts | None
    token_embedder: EmbedderFacts | None
    indexes: dict[str, IndexFacts]
    searched_exactly: list[str]
    settings: dict[str, object]
    attributes: dict[str, dict[AttributeType, int]]


def read_info(catalogue: Catalogue, manifest: Manifest, index: IndexConfig) -> CorpusInfo:
    """All of it from one committed state."""
    with catalogue.snapshot() as generation:
        num_documents, num_pages, num_passages = catalogue.counts()
        return CorpusInfo(
            path=str(catalogue.folder),
            format_version=manifest.format_version,
            generation=generation,
            num_documents=num_documents,
            num_pages=num_pages,
            num_passages=num_passages,
            num_dead=len(catalogue.dead_keys()),
            num_bytes=num_bytes_below(catalogue.folder),
            embedder=manifest.embedder,
            page_embedder=manifest.page_embedder,
            token_embedder=manifest.token_embedder,
            indexes={path: facts for space in SPACES for path, facts in index_facts(catalogue, space).items()},
            searched_exactly=[reason for space in SPACES for reason in exact_reasons(catalogue, space, index)],
            settings=catalogue.settings,
            attributes=known_attributes(catalogue),
        )
