"""Checking a corpus: every file against the catalogue, every passage against its page and its rows."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ragkit.errors import CorpusDamagedError
from ragkit.files import sha256_of
from ragkit.indexers.catalogue import Catalogue, StoredFile
from ragkit.indexers.embedder_record import manifest_in_use
from ragkit.indexers.lexical.lexical_files import KIND as LEXICAL_KIND
from ragkit.indexers.lexical.lexical_files import open_shards
from ragkit.indexers.lexical.lexical_merge import common_settings
from ragkit.indexers.manifest import EmbedderFacts, Manifest, read_manifest_text
from ragkit.indexers.page_images import kept_path
from ragkit.indexers.shards import space_files
from ragkit.indexers.store import SqlitePassageStore
from ragkit.indexers.vectors.shard_index import Effort, IndexFacts, ShardIndex, open_index
from ragkit.indexers.vectors.token_shards import token_files
from ragkit.indexers.vectors.token_vectors import TokenVectors
from ragkit.indexers.vectors.tune_index import TOP, RecallMeter, sample_rows
from ragkit.indexers.vectors.vector_shards import (
    CHUNK_ROWS,
    PICTURES,
    TEXTS,
    VectorShard,
    VectorSpace,
    read_shards,
)
from ragkit.records import FloatArray, KeyArray, PassageKind

_ATTEMPTS = 20
_UNIT = 1e-3
# Of an index, searched with vectors of its own shard.
_SEARCHED_ROWS = 64
_SCORE_ERROR = 1e-3


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
        except CorpusDamagedError as error:
            return [str(error)]
    return [f"a writer kept changing the corpus through {_ATTEMPTS} checks; verify again when it has ended"]


def _problems(corpus: Path, catalogue: Catalogue, made: Manifest) -> list[str]:
    manifest = manifest_in_use(catalogue, made)
    problems = [*_manifest_problems(corpus, catalogue), *catalogue_problems(catalogue)]
    files = damaged_files(corpus, catalogue)
    problems += [*files.values(), *dead_key_problems(catalogue), *damaged_pictures(corpus, catalogue).values()]
    try:
        # What stands in damaged files is not looked at.
        for space, facts in ((TEXTS, manifest.embedder), (PICTURES, manifest.page_embedder)):
            kinds = (space.keys_kind, space.vectors_kind)
            if facts is not None and not any(file.kind in kinds for file in files):
                problems += _vector_problems(catalogue, space, facts)
                problems += damaged_indexes(catalogue, space, {file.path for file in files}).values()
        if manifest.token_embedder is not None and not any(file in files for file in token_files(catalogue)):
            problems += _token_problems(catalogue)
        if not any(file.kind == LEXICAL_KIND for file in files):
            problems += lexical_problems(corpus, catalogue)
    except FileNotFoundError as error:
        problems.append(f"{error.filename} is missing")
    return problems


def _manifest_problems(corpus: Path, catalogue: Catalogue) -> Iterator[str]:
    remembered = catalogue.manifest
    if remembered and read_manifest_text(corpus) != remembered:
        yield "manifest.json was altered: it is not what the catalogue remembers of it"


def catalogue_problems(catalogue: Catalogue) -> list[str]:
    """What is broken in the catalogue itself, which nothing else could tell again."""
    problems = [
        f"the catalogue is damaged: {message}"
        for (message,) in catalogue.rows("PRAGMA integrity_check")
        if message != "ok"
    ]
    for table, *_ in catalogue.rows("PRAGMA foreign_key_check"):
        problems.append(f"the catalogue is damaged: a row of {table} belongs to nothing")
    outside = catalogue.rows(
        "SELECT passages.key FROM passages LEFT JOIN pages ON pages.document = passages.document"
        " AND pages.number = passages.page WHERE pages.text IS NULL OR (passages.kind = 'text' AND"
        ' (passages.start < 0 OR passages."end" <= passages.start OR passages."end" > length(pages.text)))'
    )
    problems += [f"passage {key} lies outside its page" for (key,) in outside]
    uneven = catalogue.rows(
        "SELECT id, num_pages, (SELECT count(*) FROM pages WHERE document = documents.key) AS found"
        " FROM documents WHERE found != num_pages"
    )
    problems += [f"document {id_!r} has {found} of its {expected} pages" for id_, expected, found in uneven]
    problems += [
        f"the catalogue was altered: document {id_!r} is not as it was stored" for id_ in catalogue.unsealed()
    ]
    return problems


def dead_key_problems(catalogue: Catalogue) -> Iterator[str]:
    """Keys that are noted as dead and are passages: these no search would find."""
    living = living_dead(catalogue)
    if len(living):
        yield f"{len(living)} passages are noted as removed (first: passage {living[0]})"


def living_dead(catalogue: Catalogue) -> KeyArray:
    """Ascending keys that are noted as dead although there is such a passage."""
    rows = catalogue.rows("SELECT key FROM dead_passages WHERE key IN (SELECT key FROM passages) ORDER BY key")
    return np.fromiter((row[0] for row in rows), np.int64, len(rows))


def damaged_files(corpus: Path, catalogue: Catalogue) -> dict[StoredFile, str]:
    """Data files that are not as they were written -> what is wrong with each."""
    problems: dict[StoredFile, str] = {}
    for file in catalogue.files():
        path = corpus / file.path
        if not path.is_file():
            problems[file] = f"{file.path} is missing"
        elif path.stat().st_size != file.num_bytes:
            problems[file] = f"{file.path} has {path.stat().st_size} bytes instead of {file.num_bytes}"
        elif (found := sha256_of(path)) != file.sha256:
            problems[file] = f"{file.path} was altered: sha256 {found[:12]}… instead of {file.sha256[:12]}…"
    return problems


def damaged_pictures(corpus: Path, catalogue: Catalogue) -> dict[str, str]:
    """Kept pictures that are missing or altered, by name -> what is wrong; a name is the hash of the file."""
    problems: dict[str, str] = {}
    for (name,) in catalogue.rows("SELECT DISTINCT image FROM pages WHERE image != '' ORDER BY image"):
        path = kept_path(corpus, name)
        if not path.is_file():
            problems[name] = f"the page picture {path.relative_to(corpus)} is missing"
        elif (found := sha256_of(path)) != path.stem:
            problems[name] = (
                f"the page picture {path.relative_to(corpus)} was altered: its sha256 is {found[:12]}…"
            )
    return problems


def _vector_problems(catalogue: Catalogue, space: VectorSpace, facts: EmbedderFacts) -> Iterator[str]:
    shards = read_shards(catalogue.folder, space, space_files(catalogue, space))
    order = [problem for shard in shards for problem in shard_problems(shard, facts)]
    order += [
        f"shards {one.generation} and {other.generation} of {space.folder}/ hold the same passages"
        for one, other in itertools.pairwise(shards)
        if int(one.keys[-1]) >= int(other.keys[0])
    ]
    yield from order
    if not order:
        held = [np.asarray(shard.keys) for shard in shards]
        yield from _row_problems(catalogue, space.passages, space.folder, held)


def shard_problems(shard: VectorShard, facts: EmbedderFacts) -> list[str]:
    """What is wrong with a shard whose files are as they were written."""
    if shard.vectors.shape[1:] != (facts.dim,):
        return [f"shard {shard.generation} has vectors of shape {shard.vectors.shape[1:]}, not ({facts.dim},)"]
    problems: list[str] = []
    if (np.diff(shard.keys) <= 0).any():
        problems.append(f"the keys of shard {shard.generation} are not in order")
    norms = np.concatenate([np.linalg.norm(part, axis=1) for part in _pieces(shard.vectors)])
    bad = ~np.isfinite(norms) if facts.metric == "dot" else ~(np.abs(norms - 1) < _UNIT)
    if bad.any():
        problems.append(f"{int(bad.sum())} vectors are not of unit length (first: passage {shard.keys[bad][0]})")
    return problems


def _pieces(vectors: FloatArray) -> Iterator[FloatArray]:
    return (vectors[start : start + CHUNK_ROWS] for start in range(0, len(vectors), CHUNK_ROWS))


def _row_problems(catalogue: Catalogue, kind: PassageKind, folder: str, held: Iterable[KeyArray]) -> Iterator[str]:
    """Whether the rows in a folder are those of the passages of a kind, and of dead ones."""
    rows = np.concatenate([np.zeros(0, np.int64), *held])
    living = SqlitePassageStore(catalogue).keys(kind=kind)
    missing = np.setdiff1d(living, rows)
    foreign = np.setdiff1d(rows, np.union1d(living, catalogue.dead_keys()))
    if len(missing):
        yield f"{folder}/ has no rows of {len(missing)} of {len(living)} passages (first: {missing[0]})"
    if len(foreign):
        yield f"{folder}/ has rows of {len(foreign)} passages that there are not (first: {foreign[0]})"
    if len(rows) != len(np.unique(rows)):
        yield f"{folder}/ has {len(rows) - len(np.unique(rows))} passages twice"


def damaged_indexes(catalogue: Catalogue, space: VectorSpace, leave_out: Iterable[str] = ()) -> dict[str, str]:
    """FAISS indexes that are not of the vectors they stand beside, by path -> what is wrong. Shards are sound."""
    shards = {
        shard.generation: shard for shard in read_shards(catalogue.folder, space, space_files(catalogue, space))
    }
    known, problems = catalogue.file_facts(), {}
    for file in catalogue.files(space.index_kind):
        if file.path not in set(leave_out):
            problem = _index_problem(catalogue, file, known.get(file.path, {}), shards)
            if problem:
                problems[file.path] = problem
    return problems


def _index_problem(
    catalogue: Catalogue, file: StoredFile, known: dict[str, object], shards: dict[int, VectorShard]
) -> str:
    try:
        facts = IndexFacts(**known)  # type: ignore[arg-type]
        shard = shards[facts.shard]
    except (TypeError, KeyError):
        return f"{file.path} is the index of no shard that there is"
    try:
        index = open_index(catalogue.folder / file.path, shard)
    except CorpusDamagedError as error:
        return str(error).removesuffix("; run ragkit repair")
    return (
        "" if _fits(index, shard, facts) else f"{file.path} is the index of other vectors than shard {facts.shard}"
    )


def _fits(index: ShardIndex, shard: VectorShard, facts: IndexFacts) -> bool:
    """Whether it finds the shard's vectors about as well as when it was built, with their true scores."""
    rows = sample_rows(len(shard))[:_SEARCHED_ROWS]
    queries, effort = shard.vectors[rows], Effort(facts.effort, facts.refine_factor)
    scores, found = index.nearest(queries, min(TOP, len(shard)), effort)
    there = found >= 0
    true = np.einsum("qkd,qd->qk", shard.vectors[found.clip(min=0)], queries)
    if not np.allclose(scores[there], true[there], atol=_SCORE_ERROR):
        return False
    return RecallMeter(shard.vectors, queries, rows).recall(index, effort) >= facts.recall / 2


def _token_problems(catalogue: Catalogue) -> Iterator[str]:
    try:
        keys = TokenVectors.open(catalogue.folder, token_files(catalogue)).keys
    except CorpusDamagedError as error:
        yield str(error).removesuffix("; run ragkit verify")
        return
    yield from _row_problems(catalogue, "image", "token_vectors", [keys])


def lexical_problems(corpus: Path, catalogue: Catalogue) -> Iterator[str]:
    """What is wrong with the shards of the BM25 index, whose files are as they were written."""
    try:
        shards = open_shards(corpus, catalogue.files(LEXICAL_KIND))
        if shards:
            common_settings(shards)
    except CorpusDamagedError as error:
        yield str(error).removesuffix("; run ragkit verify")
        return
    held = [np.asarray(shard.keys) for shard in shards]
    yield from _row_problems(catalogue, "text", "lexical", held)
