"""What a corpus holds, for people and programs to read."""

from __future__ import annotations

from dataclasses import dataclass

from ragkit.attributes import AttributeType
from ragkit.config import IndexConfig
from ragkit.files import num_bytes_below
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.embedder_record import EmbedderRecord, text_embedders
from ragkit.indexers.filter_sql import known_attributes
from ragkit.indexers.kept_model import Trained, trained
from ragkit.indexers.manifest import EmbedderFacts, Manifest
from ragkit.indexers.vectors.shard_index import IndexFacts
from ragkit.indexers.vectors.vector_indexes import exact_reasons, index_facts
from ragkit.indexers.vectors.vector_shards import SPACES


@dataclass(frozen=True, slots=True)
class CorpusInfo:
    """What a corpus holds.

    num_dead: removed passages of which files still hold rows. num_bytes: of all its files. indexes: by name of
    their file. former_embedder: in use before the present one, and to be had again by ragkit train back.
    trained, former_trained: what these say of their training, where they say it. searched_exactly: for each part
    of the vectors that has no index, how many and why. attributes: name -> type -> number of documents.
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
    trained: Trained | None
    former_embedder: EmbedderFacts | None
    former_trained: Trained | None
    indexes: dict[str, IndexFacts]
    searched_exactly: list[str]
    settings: dict[str, object]
    attributes: dict[str, dict[AttributeType, int]]


def read_info(catalogue: Catalogue, manifest: Manifest, index: IndexConfig) -> CorpusInfo:
    """All of it from one committed state. manifest: what manifest.json says."""
    with catalogue.snapshot() as generation:
        texts = text_embedders(catalogue, manifest)
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
            embedder=None if texts.current is None else texts.current.facts,
            page_embedder=manifest.page_embedder,
            token_embedder=manifest.token_embedder,
            trained=_trained(catalogue, texts.current),
            former_embedder=None if texts.former is None else texts.former.facts,
            former_trained=_trained(catalogue, texts.former),
            indexes={path: facts for space in SPACES for path, facts in index_facts(catalogue, space).items()},
            searched_exactly=[reason for space in SPACES for reason in exact_reasons(catalogue, space, index)],
            settings=catalogue.settings,
            attributes=known_attributes(catalogue),
        )


def _trained(catalogue: Catalogue, record: EmbedderRecord | None) -> Trained | None:
    return trained(catalogue.folder / record.folder) if record is not None and record.folder else None
