"""Checking a corpus: every file against the catalogue, every passage against its page and vector."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ragkit.config import IndexConfig, LexicalConfig
from ragkit.errors import CorpusDamagedError
from ragkit.files import sha256_of
from ragkit.indexers.catalogue import Catalogue
from ragkit.indexers.lexical_files import KIND as LEXICAL_KIND
from ragkit.indexers.lexical_files import open_lexical
from ragkit.indexers.manifest import EmbedderFacts, Manifest
from ragkit.indexers.page_images import kept_path
from ragkit.indexers.shards import check_complete, space_files
from ragkit.indexers.store import SqlitePassageStore
from ragkit.indexers.token_shards import token_files
from ragkit.indexers.token_vectors import TokenVectors
from ragkit.indexers.vector_indexes import open_vectors
from ragkit.indexers.vectors import PICTURES, TEXTS, VectorSpace, living_parts, read_shards

_ATTEMPTS = 20


def verify_corpus(corpus: Path, catalogue: Catalogue, manifest: Manifest) -> list[str]:
    """One sentence for each thing that is broken; an empty list for a sound corpus.

    A writer at work may merge and sweep files of the state that is looked at: then the look begins anew.
    """
    for _ in range(_ATTEMPTS):
        try:
            with catalogue.snapshot() as generation:
                problems = _problems(corpus, catalogue, manifest)
            if not problems or catalogue.generation == generation:
                return problems
        except sqlite3.DatabaseError as error:
            return [f"the catalogue cannot be read: {error}"]
    return [f"a writer kept changing the corpus through {_ATTEMPTS} checks; verify again when it has ended"]


def _problems(corpus: Path, catalogue: Catalogue, manifest: Manifest) -> list[str]:
    try:
        problems = [*_catalogue_problems(catalogue), *_file_problems(corpus, catalogue)]
        # What stands in damaged files is not looked at.
        if not problems:
            problems += _vector_problems(catalogue, TEXTS, manifest.embedder)
            problems += _vector_problems(catalogue, PICTURES, manifest.page_embedder)
            problems += _token_problems(catalogue, manifest)
            problems += [*_picture_problems(corpus, catalogue), *_lexical_problems(corpus, catalogue)]
    except FileNotFoundError as error:
        return [f"{error.filename} is missing"]
    return problems


def _catalogue_problems(catalogue: Catalogue) -> Iterator[str]:
    for (message,) in catalogue.rows("PRAGMA integrity_check"):
        if message != "ok":
            yield f"the catalogue is damaged: {message}"
    for table, *_ in catalogue.rows("PRAGMA foreign_key_check"):
        yield f"the catalogue is damaged: a row of {table} belongs to no document"
    outside = catalogue.rows(
        "SELECT passages.key FROM passages LEFT JOIN pages ON pages.document = passages.document"
        " AND pages.number = passages.page WHERE pages.text IS NULL OR (passages.kind = 'text' AND"
        ' (passages.start < 0 OR passages."end" <= passages.start OR passages."end" > length(pages.text)))'
    )
    for (key,) in outside:
        yield f"passage {key} lies outside its page"
    uneven = catalogue.rows(
        "SELECT id, num_pages, (SELECT count(*) FROM pages WHERE document = documents.key) AS found"
        " FROM documents WHERE found != num_pages"
    )
    for document, expected, found in uneven:
        yield f"document {document!r} has {found} of its {expected} pages"


def _file_problems(corpus: Path, catalogue: Catalogue) -> Iterator[str]:
    for file in catalogue.files():
        path = corpus / file.path
        if not path.is_file():
            yield f"{file.path} is missing"
        elif path.stat().st_size != file.num_bytes:
            yield f"{file.path} has {path.stat().st_size} bytes instead of {file.num_bytes}"
        elif (found := sha256_of(path)) != file.sha256:
            yield f"{file.path} was altered: sha256 {found[:12]}… instead of {file.sha256[:12]}…"


def _vector_problems(catalogue: Catalogue, space: VectorSpace, facts: EmbedderFacts | None) -> Iterator[str]:
    if facts is None:
        return
    try:
        shards = read_shards(catalogue.folder, space, space_files(catalogue, space))
        parts = living_parts(shards, catalogue.dead_keys())
        found = [(keys, np.linalg.norm(vectors, axis=1)) for keys, vectors in parts]
        keys = np.concatenate([np.zeros(0, np.int64), *(keys for keys, _ in found)])
        norms = np.concatenate([np.zeros(0, np.float32), *(norms for _, norms in found)])
        check_complete(keys, SqlitePassageStore(catalogue).keys(kind=space.passages))
        open_vectors(catalogue, space, IndexConfig())
    except (CorpusDamagedError, ValueError) as error:
        yield str(error)
        return
    bad = ~np.isfinite(norms) if facts.metric == "dot" else ~(np.abs(norms - 1) < 1e-3)
    if bad.any():
        yield f"{int(bad.sum())} vectors are not of unit length (first: passage {keys[bad][0]})"


def _token_problems(catalogue: Catalogue, manifest: Manifest) -> Iterator[str]:
    if manifest.token_embedder is None:
        return
    try:
        vectors = TokenVectors.open(catalogue.folder, token_files(catalogue))
    except CorpusDamagedError as error:
        yield str(error)
        return
    missing = [key for key in SqlitePassageStore(catalogue).keys(kind="image").tolist() if key not in vectors]
    if missing:
        yield f"{len(missing)} page pictures have no token vectors (first: passage {missing[0]})"


def _picture_problems(corpus: Path, catalogue: Catalogue) -> Iterator[str]:
    """A kept picture is named by the hash of its file."""
    for (name,) in catalogue.rows("SELECT DISTINCT image FROM pages WHERE image != '' ORDER BY image"):
        path = kept_path(corpus, name)
        if not path.is_file():
            yield f"the page picture {path.relative_to(corpus)} is missing"
        elif (found := sha256_of(path)) != path.stem:
            yield f"the page picture {path.relative_to(corpus)} was altered: its sha256 is {found[:12]}…"


def _lexical_problems(corpus: Path, catalogue: Catalogue) -> Iterator[str]:
    stored = catalogue.files(LEXICAL_KIND)
    if not stored or stored[0].generation != catalogue.generation:
        return  # A killed writer left it behind: searches make it in memory, the next writer on disk.
    index = open_lexical(corpus, catalogue, LexicalConfig())
    expected = len(SqlitePassageStore(catalogue).keys(kind="text"))
    if len(index) != expected:
        yield f"the BM25 index holds {len(index)} passages instead of {expected}"
