"""Making lost shards of vectors again: their passages are embedded anew; rows of sound shards stay as they are."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ragkit.errors import CorpusDamagedError, DocumentError
from ragkit.files import atomic_write
from ragkit.indexers.catalogue import Catalogue, StoredFile
from ragkit.indexers.manifest import EmbedderFacts
from ragkit.indexers.page_images import Drawing
from ragkit.indexers.picture_vectors import check_tokens, check_vectors
from ragkit.indexers.shards import space_files
from ragkit.indexers.store import SqlitePassageStore
from ragkit.indexers.vectors.token_coding import TokenDtype
from ragkit.indexers.vectors.token_shards import token_files
from ragkit.indexers.vectors.token_vectors import TokenVectors, write_token_shard
from ragkit.indexers.vectors.vector_shards import VectorSpace, read_shards, write_shard
from ragkit.indexers.verify import shard_problems
from ragkit.protocols import Embedder, TokenEmbedder
from ragkit.records import FloatArray, KeyArray, PageImage, Passage, PassageKind

if TYPE_CHECKING:
    from PIL.Image import Image

# Passages embedded at once, and passages a commit: what a kill costs.
_BATCH = {"text": 256, "image": 8}
_COMMIT = {"text": 8192, "image": 256}

Write = Callable[[int, KeyArray, Sequence[FloatArray]], list[StoredFile]]


class EmbedderSource(Protocol):
    """Where embedders come from, loaded when they are asked for."""

    def of(self, space: VectorSpace) -> Embedder | None: ...

    @property
    def tokens(self) -> TokenEmbedder | None: ...


@dataclass(frozen=True, slots=True)
class Lost:
    """What to make again of one kind of vectors.

    passages: which have such vectors. where: the kind's folder. files: of shards that are lost, all that the
    catalogue names. sound: keys of the shards that stay, ascending in each.
    """

    passages: PassageKind
    where: str
    files: Sequence[StoredFile]
    sound: Sequence[KeyArray]


@dataclass(frozen=True, slots=True)
class Remade:
    """Keys of passages with vectors again. left: why others have none, by document."""

    num_passages: int
    left: dict[str, str]


def restore_keys(corpus: Path, catalogue: Catalogue, space: VectorSpace, bad: Collection[StoredFile]) -> list[str]:
    """Write the keys of a shard again where the catalogue tells them; returns the files' paths.

    They are the passages, living and dead, that no other shard holds: the file's hash proves it.
    """
    files = space_files(catalogue, space)
    lost = [file for file in files if file.kind == space.keys_kind and file in bad]
    if len(lost) != 1:
        return []
    others = [np.load(corpus / file.path) for file in files if file.kind == space.keys_kind and file not in bad]
    known = np.union1d(SqlitePassageStore(catalogue).keys(kind=space.passages), catalogue.dead_keys())
    keys = np.setdiff1d(known, np.concatenate([np.zeros(0, np.int64), *others]))
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, keys.astype(np.int64), allow_pickle=False)
    if hashlib.sha256(buffer.getvalue()).hexdigest() != lost[0].sha256:
        return []
    with atomic_write(corpus / lost[0].path) as file:
        file.write(buffer.getvalue())
    return [lost[0].path]


def lost_vectors(
    corpus: Path, catalogue: Catalogue, space: VectorSpace, bad: Collection[StoredFile], facts: EmbedderFacts
) -> Lost:
    """The shards of a space of which a file is bad, or that cannot be right."""
    files = [file for file in space_files(catalogue, space) if file.kind != space.index_kind]
    sound: list[tuple[int, KeyArray]] = []
    for generation in {file.generation for file in files}:
        own = [file for file in files if file.generation == generation]
        if any(file in bad for file in own):
            continue
        try:
            [shard] = read_shards(corpus, space, own)
        except (CorpusDamagedError, ValueError):
            continue
        if not shard_problems(shard, facts):
            sound.append((generation, np.asarray(shard.keys)))
    return _lost(catalogue, space.passages, space.folder, files, sound)


def lost_tokens(corpus: Path, catalogue: Catalogue, bad: Collection[StoredFile]) -> Lost:
    """Likewise of token vectors."""
    files = token_files(catalogue)
    sound: list[tuple[int, KeyArray]] = []
    for generation in {file.generation for file in files}:
        own = [file for file in files if file.generation == generation]
        if any(file in bad for file in own):
            continue
        try:
            sound.append((generation, TokenVectors.open(corpus, own).keys))
        except (CorpusDamagedError, ValueError, IndexError):
            continue
    return _lost(catalogue, "image", "token_vectors", files, sound)


def _lost(
    catalogue: Catalogue,
    passages: PassageKind,
    where: str,
    files: Sequence[StoredFile],
    sound: list[tuple[int, KeyArray]],
) -> Lost:
    """Shards follow one another, and what is missing lies between them: those that others reach into go too."""
    sound = sorted(sound, key=lambda pair: int(pair[1][0]))
    crossed = {
        generation
        for one, other in itertools.pairwise(sound)
        if int(one[1][-1]) >= int(other[1][0])
        for generation in (one[0], other[0])
    }
    held = np.concatenate([np.zeros(0, np.int64), *(keys for _, keys in sound)])
    missing = np.setdiff1d(SqlitePassageStore(catalogue).keys(kind=passages), held)
    for generation, keys in sound:
        if np.searchsorted(missing, keys[0]) != np.searchsorted(missing, keys[-1]):
            crossed.add(generation)
    kept = [(generation, keys) for generation, keys in sound if generation not in crossed]
    generations = {generation for generation, _ in kept}
    return Lost(
        passages,
        where,
        [file for file in files if file.generation not in generations],
        [keys for _, keys in kept],
    )


def missing_keys(catalogue: Catalogue, lost: Lost) -> KeyArray:
    """Ascending keys of the passages without vectors."""
    held = np.concatenate([np.zeros(0, np.int64), *lost.sound])
    return np.setdiff1d(SqlitePassageStore(catalogue).keys(kind=lost.passages), held)


def drop_lost(catalogue: Catalogue, lost: Lost, indexes: Sequence[StoredFile] = ()) -> None:
    """Take the files of lost shards, and their indexes, out of the state."""
    if lost.files:
        with catalogue.transaction():
            catalogue.drop_files([*lost.files, *indexes])


def vector_maker(embedder: Embedder) -> Callable[[Sequence[Passage]], list[FloatArray]]:
    """Gives float32 (dim,) for each passage."""

    def make(passages: Sequence[Passage]) -> list[FloatArray]:
        vectors = embedder.embed_passages(passages)
        check_vectors(vectors, len(passages), embedder)
        return list(vectors.astype(np.float32, copy=False))

    return make


def token_maker(embedder: TokenEmbedder) -> Callable[[Sequence[Passage]], list[FloatArray]]:
    """Gives float32 (t, dim) for each passage."""

    def make(passages: Sequence[Passage]) -> list[FloatArray]:
        tokens = embedder.embed_passage_tokens(passages)
        check_tokens(tokens, len(passages), embedder.dim)
        return [np.asarray(rows, np.float32) for rows in tokens]

    return make


def vector_writer(corpus: Path, space: VectorSpace) -> Write:
    """Writes a shard of a space."""
    return lambda generation, keys, rows: write_shard(corpus, space, generation, keys, [np.stack(rows)])


def token_writer(corpus: Path, dtype: TokenDtype) -> Write:
    """Writes a shard of token vectors."""
    return lambda generation, keys, rows: write_token_shard(corpus, generation, keys, rows, dtype)


def remake(
    catalogue: Catalogue,
    lost: Lost,
    make: Callable[[Sequence[Passage]], list[FloatArray]],
    write: Write,
    tell: Callable[[], None],
) -> Remade:
    """Embed the passages without vectors, and commit them as shards between those that there are."""
    left: dict[str, str] = {}
    done = 0
    for keys in _runs(missing_keys(catalogue, lost), lost):
        found: dict[int, FloatArray] = {}
        for passages in _batches(catalogue, keys, lost.passages, left):
            tell()
            rows = make(passages)
            found.update((passage.key, row) for passage, row in zip(passages, rows, strict=True))
        if found:
            with catalogue.transaction() as generation:
                written = write(generation, np.array(list(found), np.int64), list(found.values()))
                for file in written:
                    catalogue.add_file(file)
        done += len(found)
    return Remade(done, left)


def _runs(missing: KeyArray, lost: Lost) -> Iterator[KeyArray]:
    """The missing keys in pieces: none reaches over a sound shard, none is longer than a commit."""
    firsts = np.sort(np.array([int(keys[0]) for keys in lost.sound], np.int64))
    cuts = np.flatnonzero(np.diff(np.searchsorted(firsts, missing))) + 1
    size = _COMMIT[lost.passages]
    for run in np.split(missing, cuts):
        yield from (run[start : start + size] for start in range(0, len(run), size))


def _batches(
    catalogue: Catalogue, keys: KeyArray, kind: PassageKind, left: dict[str, str]
) -> Iterator[list[Passage]]:
    store, size, drawing = SqlitePassageStore(catalogue), _BATCH[kind], Drawing.from_settings(catalogue.settings)
    for start in range(0, len(keys), size):
        passages = store.passages(keys[start : start + size].tolist())
        if kind == "image":
            loaded = (_loaded(catalogue, drawing, passage, left) for passage in passages)
            passages = [passage for passage in loaded if passage is not None]
        if passages:
            yield passages


def _loaded(catalogue: Catalogue, drawing: Drawing, passage: Passage, left: dict[str, str]) -> Passage | None:
    """The passage with its picture in memory; None where it cannot be had, which `left` then says."""
    try:
        picture = _picture(catalogue, drawing, passage)
    except DocumentError as error:
        left.setdefault(passage.document, f"page {passage.page} of {passage.document!r}: {error}")
        return None
    return replace(passage, image=PageImage(passage.document, passage.page, *picture.size, picture.copy))


def _picture(catalogue: Catalogue, drawing: Drawing, passage: Passage) -> Image:
    """Drawn from the document, as it was embedded once; else as it is kept, which may have lost a little."""
    sql = "SELECT source, media_type, content_hash FROM documents WHERE id = ?"
    [(source, media_type, content_hash)] = catalogue.rows(sql, (passage.document,))
    try:
        return drawing.draw_again(Path(source), media_type, content_hash, passage.page)
    except DocumentError:
        if passage.image is None or not passage.image.path:
            raise
        return passage.image.load()
